#include "cli/op_file.h"

#include <elf.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LARGEST ((off_t)1 << 30)
#define ALLOC   "_ZN22deepspeed_pin_tensor_t5allocElRKN3c1013TensorOptionsE"

struct file {
    char *bytes; /* with a NUL behind it */
    size_t len;
};

/* Read and not mapped: it may be written just now. */
static bool read_file(const char *path, struct file *f)
{
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    *f = (struct file){NULL, 0};
    if (fd >= 0 && fstat(fd, &about) == 0 && S_ISREG(about.st_mode) && about.st_size < LARGEST &&
        (f->bytes = malloc((size_t)about.st_size + 1)) != NULL) {
        ssize_t n;
        while (f->len < (size_t)about.st_size &&
               (n = read(fd, f->bytes + f->len, (size_t)about.st_size - f->len)) > 0) {
            f->len += (size_t)n;
        }
        f->bytes[f->len] = '\0';
    }
    if (fd >= 0) {
        close(fd);
    }
    return f->bytes != NULL;
}

/* `count` things of `size` bytes; NULL: they do not lie in it. */
static const void *part(const struct file *f, uint64_t at, uint64_t count, uint64_t size)
{
    return at <= f->len && at % sizeof(uint64_t) == 0 && count <= (f->len - at) / size ? f->bytes + at : NULL;
}

static const Elf64_Ehdr *header_of(const struct file *f)
{
    const Elf64_Ehdr *h = part(f, 0, 1, sizeof *h);
    return h != NULL && memcmp(h->e_ident, ELFMAG, SELFMAG) == 0 && h->e_ident[EI_CLASS] == ELFCLASS64 ? h : NULL;
}

static const Elf64_Shdr *sections_of(const struct file *f, unsigned *count)
{
    const Elf64_Ehdr *h = header_of(f);
    *count = h != NULL && h->e_shentsize == sizeof(Elf64_Shdr) ? h->e_shnum : 0;
    return *count > 0 ? part(f, h->e_shoff, *count, sizeof(Elf64_Shdr)) : NULL;
}

/* The number of the exported function in its symbol table; 0: there is none. */
static uint64_t find_symbol(const struct file *f, const Elf64_Shdr *table, const Elf64_Shdr *names)
{
    uint64_t count = table->sh_size / sizeof(Elf64_Sym);
    const Elf64_Sym *symbols = part(f, table->sh_offset, count, sizeof *symbols);
    for (uint64_t i = 1; symbols != NULL && i < count; i++) {
        uint64_t at = names->sh_offset + symbols[i].st_name;
        if (symbols[i].st_shndx != SHN_UNDEF && at >= names->sh_offset && at < f->len &&
            strcmp(f->bytes + at, ALLOC) == 0) {
            return i;
        }
    }
    return 0;
}

static bool is_bound_by(const struct file *f, const Elf64_Shdr *s, uint64_t symbol)
{
    uint64_t count = s->sh_size / sizeof(Elf64_Rela);
    const Elf64_Rela *bound = s->sh_type == SHT_RELA ? part(f, s->sh_offset, count, sizeof *bound) : NULL;
    for (uint64_t i = 0; bound != NULL && i < count; i++) {
        if (ELF64_R_SYM(bound[i].r_info) == symbol) {
            return true;
        }
    }
    return false;
}

static enum pt_op judge(const struct file *f)
{
    unsigned count;
    const Elf64_Shdr *sections = sections_of(f, &count);
    uint64_t symbol = 0;
    for (unsigned i = 0; sections != NULL && i < count && symbol == 0; i++) {
        if (sections[i].sh_type == SHT_DYNSYM && sections[i].sh_link < count) {
            symbol = find_symbol(f, &sections[i], &sections[sections[i].sh_link]);
        }
    }
    if (symbol == 0) {
        return PT_OP_NONE;
    }
    for (unsigned i = 0; i < count; i++) {
        if (is_bound_by(f, &sections[i], symbol)) {
            return PT_OP_REACHED;
        }
    }
    return PT_OP_UNREACHABLE;
}

enum pt_op pt_op_file(const char *path)
{
    struct file f;
    enum pt_op op = read_file(path, &f) ? judge(&f) : PT_OP_NONE;
    free(f.bytes);
    return op;
}

bool pt_op_file_interpreter(const char *path, char *out, size_t cap)
{
    struct file f;
    const Elf64_Ehdr *h = read_file(path, &f) ? header_of(&f) : NULL;
    unsigned count = h != NULL && h->e_phentsize == sizeof(Elf64_Phdr) ? h->e_phnum : 0;
    const Elf64_Phdr *parts = count > 0 ? part(&f, h->e_phoff, count, sizeof *parts) : NULL;
    bool found = false;
    for (unsigned i = 0; parts != NULL && i < count && !found; i++) {
        found =
            parts[i].p_type == PT_INTERP && parts[i].p_offset < f.len && parts[i].p_filesz <= f.len - parts[i].p_offset;
        if (found) {
            size_t len = parts[i].p_filesz < cap ? parts[i].p_filesz : cap - 1;
            memcpy(out, f.bytes + parts[i].p_offset, len);
            out[len] = '\0';
        }
    }
    free(f.bytes);
    return found;
}
