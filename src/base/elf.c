#include "base/elf.h"

#include <stddef.h>
#include <string.h>

enum { HIDDEN_VERSION = 0x8000 };

/* glibc puts addresses into the dynamic section of what it loads; other linkers leave them as they are in the file. */
static const void *at(const struct pt_elf *elf, uintptr_t value)
{
    return (const void *)(value - elf->from < elf->len ? value : value + elf->base);
}

static bool read_dynamic(struct pt_elf *out)
{
    for (const Elf64_Dyn *d = out->dynamic; d != NULL && d->d_tag != DT_NULL; d++) {
        const void *p = at(out, d->d_un.d_ptr);
        switch (d->d_tag) {
        case DT_SYMTAB: out->symbols = p; break;
        case DT_STRTAB: out->strings = p; break;
        case DT_GNU_HASH: out->gnu_hash = p; break;
        case DT_HASH: out->hash = p; break;
        case DT_VERSYM: out->versions = p; break;
        case DT_JMPREL: out->calls = p; break;
        case DT_PLTRELSZ: out->calls_bytes = d->d_un.d_val; break;
        default: break;
        }
    }
    return out->symbols != NULL && out->strings != NULL && (out->gnu_hash != NULL || out->hash != NULL);
}

bool pt_elf_of_headers(uintptr_t base, const Elf64_Phdr *headers, unsigned count, struct pt_elf *out)
{
    uintptr_t from = UINTPTR_MAX, end = 0;
    *out = (struct pt_elf){.base = base};
    for (unsigned i = 0; i < count; i++) {
        uintptr_t begins = base + headers[i].p_vaddr;
        if (headers[i].p_type == PT_LOAD) {
            from = begins < from ? begins : from;
            end = begins + headers[i].p_memsz > end ? begins + headers[i].p_memsz : end;
        } else if (headers[i].p_type == PT_DYNAMIC) {
            out->dynamic = (const Elf64_Dyn *)begins;
        }
    }
    out->from = from;
    out->len = end > from ? end - from : 0;
    return read_dynamic(out);
}

bool pt_elf_of_map(const struct link_map *map, uintptr_t from, uintptr_t len, struct pt_elf *out)
{
    *out = (struct pt_elf){.base = map->l_addr, .from = from, .len = len, .dynamic = map->l_ld};
    return read_dynamic(out);
}

/* ---- by name ---- */

static bool is_it(const struct pt_elf *elf, uint32_t i, const char *name)
{
    const Elf64_Sym *s = &elf->symbols[i];
    unsigned type = ELF64_ST_TYPE(s->st_info);
    return s->st_shndx != SHN_UNDEF && s->st_value != 0 && (type <= STT_FUNC || type == STT_GNU_IFUNC) &&
           (elf->versions == NULL || (elf->versions[i] & HIDDEN_VERSION) == 0) &&
           strcmp(elf->strings + s->st_name, name) == 0;
}

/* Both hashes' tables begin with words: of the newer one how many buckets, the first symbol, the words and the shift of
 * a filter; of the older one how many buckets and symbols. 0: there is none. */
static uint32_t find_by_gnu_hash(const struct pt_elf *elf, const char *name)
{
    const uint32_t *t = elf->gnu_hash, buckets = t[0], first = t[1];
    const uint32_t *bucket = t + 4 + t[2] * (sizeof(Elf64_Addr) / sizeof *t), *chain = bucket + buckets;
    uint32_t hash = 5381;
    for (const char *c = name; *c != '\0'; c++) {
        hash = hash * 33 + (unsigned char)*c;
    }
    uint32_t i = buckets != 0 ? bucket[hash % buckets] : 0;
    for (; i >= first && i != 0; i++) {
        uint32_t other = chain[i - first];
        if ((other | 1) == (hash | 1) && is_it(elf, i, name)) {
            return i;
        }
        if ((other & 1) != 0) {
            break; /* the last of its bucket */
        }
    }
    return 0;
}

static uint32_t find_by_hash(const struct pt_elf *elf, const char *name)
{
    const uint32_t *t = elf->hash, buckets = t[0], *chain = t + 2 + buckets;
    uint32_t hash = 0;
    for (const char *c = name; *c != '\0'; c++) {
        hash = (hash << 4) + (unsigned char)*c;
        hash = (hash ^ (hash & 0xf0000000) >> 24) & 0x0fffffff;
    }
    for (uint32_t i = buckets != 0 ? t[2 + hash % buckets] : 0; i != 0; i = chain[i]) {
        if (is_it(elf, i, name)) {
            return i;
        }
    }
    return 0;
}

const Elf64_Sym *pt_elf_find(const struct pt_elf *elf, const char *name)
{
    uint32_t i = elf->gnu_hash != NULL ? find_by_gnu_hash(elf, name) : find_by_hash(elf, name);
    return i != 0 ? &elf->symbols[i] : NULL;
}

void *pt_elf_symbol(const struct pt_elf *elf, const char *name)
{
    const Elf64_Sym *s = pt_elf_find(elf, name);
    if (s == NULL) {
        return NULL;
    }
    void *found = (void *)(elf->base + s->st_value);
    /* One of several functions, and this one tells which. */
    return ELF64_ST_TYPE(s->st_info) == STT_GNU_IFUNC ? ((void *(*)(void))found)() : found;
}

void *pt_elf_bound(const struct pt_elf *elf, const char *name)
{
    for (uintptr_t i = 0; elf->calls != NULL && i < elf->calls_bytes / sizeof *elf->calls; i++) {
        const Elf64_Sym *s = &elf->symbols[ELF64_R_SYM(elf->calls[i].r_info)];
        if (strcmp(elf->strings + s->st_name, name) == 0) {
            return *(void **)(elf->base + elf->calls[i].r_offset);
        }
    }
    return NULL;
}

/* ---- by address ---- */

/* One more than the last symbol that a hash leads to. */
static uint32_t count(const struct pt_elf *elf)
{
    if (elf->gnu_hash == NULL) {
        return elf->hash[1];
    }
    const uint32_t *t = elf->gnu_hash, buckets = t[0], first = t[1];
    const uint32_t *bucket = t + 4 + t[2] * (sizeof(Elf64_Addr) / sizeof *t), *chain = bucket + buckets;
    uint32_t last = 0;
    for (uint32_t i = 0; i < buckets; i++) {
        last = bucket[i] > last ? bucket[i] : last;
    }
    while (last >= first && last != 0 && (chain[last - first] & 1) == 0) {
        last++;
    }
    return last + 1;
}

const char *pt_elf_name_of(const struct pt_elf *elf, uintptr_t address, uintptr_t *begins)
{
    const Elf64_Sym *best = NULL;
    uint32_t n = count(elf);
    for (uint32_t i = 1; i < n; i++) {
        const Elf64_Sym *s = &elf->symbols[i];
        uintptr_t from = elf->base + s->st_value;
        bool around = address == from || address - from < s->st_size;
        if (s->st_shndx != SHN_UNDEF && s->st_value != 0 && ELF64_ST_TYPE(s->st_info) != STT_TLS && around &&
            (best == NULL || s->st_value > best->st_value)) {
            best = s;
        }
    }
    *begins = best != NULL ? elf->base + best->st_value : 0;
    return best != NULL ? elf->strings + best->st_name : NULL;
}

const char *pt_elf_next_needed(const struct pt_elf *elf, const Elf64_Dyn **last)
{
    const Elf64_Dyn *d = *last != NULL ? *last + 1 : elf->dynamic;
    while (d->d_tag != DT_NULL && d->d_tag != DT_NEEDED) {
        d++;
    }
    *last = d;
    return d->d_tag == DT_NEEDED ? elf->strings + d->d_un.d_val : NULL;
}

/* ---- what it is ---- */

/* In a segment of notes: name, type, and the bytes; each begins at a multiple of four. */
static unsigned find_id(const char *note, size_t len, const uint8_t **id)
{
    for (size_t at = 0; len - at >= sizeof(Elf64_Nhdr);) {
        const Elf64_Nhdr *n = (const Elf64_Nhdr *)(note + at);
        size_t name = sizeof *n + at, bytes = name + (((size_t)n->n_namesz + 3) & ~(size_t)3);
        size_t end = bytes + (((size_t)n->n_descsz + 3) & ~(size_t)3);
        if (end > len) {
            break;
        }
        if (n->n_type == NT_GNU_BUILD_ID && n->n_namesz == 4 && memcmp(note + name, "GNU", 4) == 0) {
            *id = (const uint8_t *)note + bytes;
            return n->n_descsz <= 32 ? n->n_descsz : 32;
        }
        at = end;
    }
    return 0;
}

unsigned pt_elf_build_id(const struct pt_elf *elf, const uint8_t **id)
{
    const Elf64_Ehdr *head = (const Elf64_Ehdr *)elf->from; /* unless the linker left it out */
    unsigned length = 0;
    if (elf->len < sizeof *head || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 || head->e_phoff > elf->len ||
        head->e_phnum > (elf->len - head->e_phoff) / sizeof(Elf64_Phdr)) {
        return 0;
    }
    const Elf64_Phdr *p = (const Elf64_Phdr *)((const char *)head + head->e_phoff);
    for (unsigned i = 0; i < head->e_phnum && length == 0; i++) {
        uintptr_t begins = elf->base + p[i].p_vaddr - elf->from;
        if (p[i].p_type == PT_NOTE && begins <= elf->len && p[i].p_memsz <= elf->len - begins) {
            length = find_id((const char *)elf->from + begins, p[i].p_memsz, id);
        }
    }
    return length;
}
