/* The symbols of a loaded object, read from its own tables: no call of the dynamic linker, which takes locks,
 * allocates, and may be wrapped by somebody else. The object has to stay loaded meanwhile. A leaf. */
#ifndef PT_ELF_H
#define PT_ELF_H

#include <link.h>
#include <stdbool.h>
#include <stdint.h>

struct pt_elf {
    uintptr_t base;      /* what its addresses count from */
    uintptr_t from, len; /* all of its segments lie there */
    const Elf64_Dyn *dynamic;
    const Elf64_Sym *symbols;
    const char *strings;
    /* These may be NULL. */
    const uint32_t *gnu_hash, *hash; /* not both */
    const Elf64_Half *versions;
    const Elf64_Rela *calls; /* where it keeps the addresses of functions that it calls */
    uintptr_t calls_bytes;
};

/* False: it has no symbols. `from` and `len` are told all the same. */
bool pt_elf_of_headers(uintptr_t base, const Elf64_Phdr *headers, unsigned count, struct pt_elf *out);

/* Likewise, of an object whose place is known. */
bool pt_elf_of_map(const struct link_map *map, uintptr_t from, uintptr_t len, struct pt_elf *out);

/* What it defines under that name, of several versions the default one; or NULL. */
const Elf64_Sym *pt_elf_find(const struct pt_elf *elf, const char *name);

/* The address of that function or object; or NULL. */
void *pt_elf_symbol(const struct pt_elf *elf, const char *name);

/* The name and the beginning of what it exports around this address; NULL: there is none. */
const char *pt_elf_name_of(const struct pt_elf *elf, uintptr_t address, uintptr_t *begins);

/* What the linker marked the object with, to tell it from others of its name: so many bytes, 32 at most; 0: it has none. */
unsigned pt_elf_build_id(const struct pt_elf *elf, const uint8_t **id);

/* What its own calls of a function that others may define too go to; NULL: it has none, or none that somebody decides
 * on. */
void *pt_elf_bound(const struct pt_elf *elf, const char *name);

/* The names of what it was linked with: the one after `last`, which is NULL at first; NULL: that was all. */
const char *pt_elf_next_needed(const struct pt_elf *elf, const Elf64_Dyn **last);

#endif
