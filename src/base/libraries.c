#include "base/libraries.h"

#include <link.h>
#include <stddef.h>
#include <string.h>

struct wanted {
    const char *name; /* or NULL, and then by address */
    uintptr_t address;
    struct pt_library *out;
};

static void measure(const struct dl_phdr_info *info, struct pt_library *out)
{
    uintptr_t from = UINTPTR_MAX, end = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        uintptr_t at = info->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_LOAD) {
            from = at < from ? at : from;
            end = at + part->p_memsz > end ? at + part->p_memsz : end;
        }
    }
    out->from = from;
    out->len = end > from ? end - from : 0;
}

static int match(struct dl_phdr_info *info, size_t size, void *out)
{
    (void)size;
    const struct wanted *w = out;
    const char *slash = strrchr(info->dlpi_name, '/');
    if (w->name != NULL && strncmp(slash != NULL ? slash + 1 : info->dlpi_name, w->name, strlen(w->name)) != 0) {
        return 0;
    }
    measure(info, w->out);
    if (w->name == NULL && w->address - w->out->from >= w->out->len) {
        return 0;
    }
    w->out->path = info->dlpi_name;
    return 1;
}

bool pt_libraries_named(const char *name, struct pt_library *out)
{
    struct wanted w = {.name = name, .out = out};
    return dl_iterate_phdr(match, &w) != 0;
}

bool pt_libraries_around(const void *address, struct pt_library *out)
{
    struct wanted w = {.address = (uintptr_t)address, .out = out};
    return dl_iterate_phdr(match, &w) != 0;
}
