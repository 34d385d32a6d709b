#include "base/libraries.h"

#include "base/linker.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

/* glibc's dl_find_object(), as of 2.35: takes no lock, and knows objects that are relocated, and no others. */
struct found {
    unsigned long long flags;
    void *from, *end;
    struct link_map *map;
    unsigned long long rest[8];
};
static int (*find_object)(void *address, struct found *out);

static unsigned at_start;  /* so many objects the program was started with; they stay first in the list */
static struct pt_elf ours; /* this library */

/* ---- the list ---- */

struct walk {
    bool (*match)(struct walk *w, const struct pt_library *object);
    const char *name, *symbol; /* NULL: any will do */
    uintptr_t address;
    struct {
        enum pt_objects which;
        const char *const *names;
        void **values;
        unsigned count;
    } many;
    bool after_us, passed_us;
    bool half_loaded; /* there is one, but it is being loaded just now */
    unsigned index;
    void *value;
    struct pt_library *out;
};

static const char *file_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static int visit(struct dl_phdr_info *info, size_t size, void *p)
{
    (void)size;
    struct walk *w = p;
    struct pt_library object = {.path = info->dlpi_name};
    bool found = (w->name == NULL || strncmp(file_of(object.path), w->name, strlen(w->name)) == 0) &&
                 pt_elf_of_headers(info->dlpi_addr, info->dlpi_phdr, info->dlpi_phnum, &object.elf) &&
                 w->match(w, &object);
    w->index++;
    if (found && w->out != NULL) {
        *w->out = object;
    }
    return found;
}

static void look_around(void);

static int walk(struct walk *w)
{
    look_around();
    if (!pt_linker_list_begin()) {
        return -EBUSY;
    }
    bool found = dl_iterate_phdr(visit, w) != 0;
    pt_linker_list_end();
    return found ? 0 : w->half_loaded ? -EBUSY : -ENOENT;
}

/* Relocated, as far as this libc tells. */
static bool is_set_up(const struct pt_library *library)
{
    struct found f;
    return find_object == NULL || find_object((void *)library->elf.dynamic, &f) == 0;
}

static bool defines(struct walk *w, const struct pt_library *object)
{
    if (w->symbol != NULL && pt_elf_find(&object->elf, w->symbol) == NULL) {
        return false;
    }
    if (!is_set_up(object)) {
        w->half_loaded = true;
        return false;
    }
    w->value = w->symbol != NULL ? pt_elf_symbol(&object->elf, w->symbol) : NULL;
    return true;
}

int pt_libraries_named(const char *name, const char *symbol, struct pt_library *out)
{
    return walk(&(struct walk){.match = defines, .name = name, .symbol = symbol, .out = out});
}

int pt_libraries_with(const char *symbol, struct pt_library *out)
{
    return walk(&(struct walk){.match = defines, .symbol = symbol, .out = out});
}

static bool fills(struct walk *w, const struct pt_library *object)
{
    bool all = true, us = w->many.which != PT_ALL_OBJECTS && pt_libraries_is_ours(object);
    w->passed_us = w->passed_us || us;
    if (us || (w->many.which == PT_BEHIND_US && !w->passed_us)) {
        return false;
    }
    for (unsigned i = 0; i < w->many.count; i++) {
        if (w->many.values[i] == NULL) {
            w->many.values[i] = pt_elf_symbol(&object->elf, w->many.names[i]);
            all = all && w->many.values[i] != NULL;
        }
    }
    return all;
}

int pt_libraries_find_all(enum pt_objects which, const char *const *names, void **values, unsigned count)
{
    return walk(&(struct walk){.match = fills, .many = {which, names, values, count}});
}

static bool lies_around(struct walk *w, const struct pt_library *object)
{
    return w->address - object->elf.from < object->elf.len;
}

int pt_libraries_around(const void *address, struct pt_library *out)
{
    struct found f;
    look_around();
    if (find_object == NULL) {
        return walk(&(struct walk){.match = lies_around, .address = (uintptr_t)address, .out = out});
    }
    if (find_object((void *)address, &f) != 0) {
        return -ENOENT;
    }
    out->path = f.map->l_name;
    bool known = pt_elf_of_map(f.map, (uintptr_t)f.from, (uintptr_t)f.end - (uintptr_t)f.from, &out->elf);
    return known ? 0 : -ENOENT;
}

bool pt_libraries_is_ours(const struct pt_library *library)
{
    return library->elf.dynamic == ours.dynamic;
}

/* ---- what a call would reach ---- */

static bool is_reached(struct walk *w, const struct pt_library *object)
{
    if (pt_libraries_is_ours(object)) {
        w->passed_us = true;
        return false;
    }
    return w->index < at_start && (w->passed_us || !w->after_us) && defines(w, object);
}

/* By the name that the linker goes by, which begins the file's as a rule. */
static int look_in_needed(const char *symbol, const struct pt_library *user, void **out)
{
    const Elf64_Dyn *last = NULL;
    const char *name;
    while ((name = pt_elf_next_needed(&user->elf, &last)) != NULL) {
        struct walk w = {.match = defines, .name = name, .symbol = symbol};
        int error = walk(&w);
        if (error == -EBUSY) {
            return error;
        }
        if (error == 0) {
            *out = w.value;
            return 0;
        }
    }
    return -ENOENT;
}

int pt_libraries_reached(const char *symbol, bool after_us, const struct pt_library *user, void **out)
{
    struct walk w = {.match = is_reached, .symbol = symbol, .after_us = after_us};
    int error = walk(&w);
    *out = w.value;
    if (error == -ENOENT && user != NULL && !pt_libraries_is_ours(user)) {
        *out = pt_elf_symbol(&user->elf, symbol);
        error = *out != NULL ? 0 : look_in_needed(symbol, user, out);
    }
    return error;
}

static bool calls_itself(struct walk *w, const struct pt_library *object)
{
    return w->index >= at_start && !pt_libraries_is_ours(object) && defines(w, object) &&
           pt_elf_bound(&object->elf, w->symbol) == w->value;
}

int pt_libraries_bound_to_itself(const char *symbol, struct pt_library *out)
{
    return walk(&(struct walk){.match = calls_itself, .symbol = symbol, .out = out});
}

/* ---- the rest ---- */

static int count_adds(struct dl_phdr_info *info, size_t size, void *out)
{
    (void)size;
    *(unsigned long long *)out = info->dlpi_adds;
    return 1;
}

int pt_libraries_loaded(unsigned long long *out)
{
    if (!pt_linker_list_begin()) {
        return -EBUSY;
    }
    (void)dl_iterate_phdr(count_adds, out);
    pt_linker_list_end();
    return 0;
}

bool pt_libraries_keep(const struct pt_library *library)
{
    return library->path[0] == '\0' || /* the program */
           dlopen(library->path, RTLD_NOLOAD | RTLD_LAZY | RTLD_NODELETE) != NULL;
}

int pt_libraries_open(const char *path, struct pt_elf *out)
{
    struct pt_library object;
    struct link_map *map;
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (handle == NULL || dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0 || pt_libraries_around(map->l_ld, &object) != 0) {
        return -ENOENT;
    }
    *out = object.elf;
    return 0;
}

static bool counts(struct walk *w, const struct pt_library *object)
{
    if (w->address - object->elf.from < object->elf.len) {
        ours = object->elf;
    }
    return false;
}

/* In a constructor, behind that of linker.c; or before, for another library's. */
__attribute__((constructor(102))) static void look_around(void)
{
    static _Atomic bool done;
    static const char here;
    struct walk w = {.match = counts, .address = (uintptr_t)&here};
    struct pt_library with;
    if (atomic_load_explicit(&done, memory_order_relaxed) || atomic_exchange(&done, true)) {
        return;
    }
    (void)walk(&w);
    at_start = w.index;
    if (pt_libraries_with("_dl_find_object", &with) == 0) {
        *(void **)&find_object = pt_elf_symbol(&with.elf, "_dl_find_object");
    }
}
