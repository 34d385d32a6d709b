#include "cli/native_lines.h"

#ifdef HAVE_LIBDW

#include "base/libraries.h"
#include "ledger/table_load.h"

#include <dlfcn.h>
#include <dwarf.h>
#include <elfutils/libdwfl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- libdw ---- */

#define CALLS(X)                                                                                                       \
    X(dwfl_begin)                                                                                                      \
    X(dwfl_end)                                                                                                        \
    X(dwfl_report_begin)                                                                                               \
    X(dwfl_report_end)                                                                                                 \
    X(dwfl_report_offline)                                                                                             \
    X(dwfl_build_id_find_elf)                                                                                          \
    X(dwfl_standard_find_debuginfo)                                                                                    \
    X(dwfl_offline_section_address)                                                                                    \
    X(dwfl_module_build_id)                                                                                            \
    X(dwfl_module_getelf)                                                                                              \
    X(dwfl_module_addrdie)                                                                                             \
    X(dwfl_module_nextcu)                                                                                              \
    X(dwfl_module_addrname)                                                                                            \
    X(dwarf_haspc)                                                                                                     \
    X(dwarf_getsrc_die)                                                                                                \
    X(dwarf_linesrc)                                                                                                   \
    X(dwarf_lineno)                                                                                                    \
    X(dwarf_getscopes)                                                                                                 \
    X(dwarf_getscopes_die)                                                                                             \
    X(dwarf_getsrcfiles)                                                                                               \
    X(dwarf_filesrc)                                                                                                   \
    X(dwarf_attr)                                                                                                      \
    X(dwarf_formudata)                                                                                                 \
    X(dwarf_diename)                                                                                                   \
    X(dwarf_tag)

#define MEMBER(name) __typeof__(&name) name;
#define NAME(name)   #name,
static const char *const names[] = {CALLS(NAME)};
static union {
    struct {
        CALLS(MEMBER)
    };
    void *call[sizeof names / sizeof names[0]]; /* the same, by number */
} dw;

/* Loads one for good. Symbols are found without dlsym(), which older libcs have by another version. */
static bool load(const char *name, struct pt_library *out)
{
    return dlopen(name, RTLD_NOW | RTLD_LOCAL) != NULL && pt_libraries_named(name, NULL, out) == 0;
}

/* Looked up when it is wanted first: a machine may do without it, and so does who has nothing native to name. */
bool pt_native_lines_can(void)
{
    static enum { UNKNOWN, NO, YES } can;
    if (can == UNKNOWN) {
        struct pt_library library;
        can = load("libdw.so.1", &library) ? YES : NO;
        for (size_t i = 0; can == YES && i < sizeof names / sizeof names[0]; i++) {
            dw.call[i] = pt_elf_symbol(&library.elf, names[i]);
            can = dw.call[i] != NULL ? YES : NO;
        }
        unsetenv("DEBUGINFOD_URLS"); /* nothing is fetched from elsewhere */
    }
    return can == YES;
}

/* ---- objects ---- */

#define OBJECTS_MOST 64

/* Those that were asked for; when they are too many the oldest goes. */
static struct object {
    char *name; /* "BUILD-ID PATH" */
    Dwfl *dwfl;
    Dwfl_Module *module; /* NULL: not to be had, or another one by now */
} objects[OBJECTS_MOST];

static bool has_id(Dwfl_Module *module, const char *hex, size_t length)
{
    const unsigned char *id;
    GElf_Addr where;
    int count = dw.dwfl_module_build_id(module, &id, &where);
    bool same = count > 0 && (size_t)count * 2 == length;
    for (int i = 0; same && i < count; i++) {
        const char byte[] = {hex[2 * i], hex[2 * i + 1], '\0'};
        same = strtoul(byte, NULL, 16) == id[i];
    }
    return same;
}

static bool is_file(const char *path)
{
    struct stat about;
    return path != NULL && stat(path + 1, &about) == 0 && S_ISREG(about.st_mode);
}

static void open_object(struct object *o, const char *name)
{
    static Dwfl_Callbacks calls;
    calls.find_elf = dw.dwfl_build_id_find_elf;
    calls.find_debuginfo = dw.dwfl_standard_find_debuginfo;
    calls.section_address = dw.dwfl_offline_section_address;
    const char *path = strchr(name, ' ');
    dw.dwfl_end(o->dwfl);
    free(o->name);
    *o = (struct object){.name = strdup(name), .dwfl = is_file(path) ? dw.dwfl_begin(&calls) : NULL};
    if (o->dwfl == NULL) {
        return;
    }
    dw.dwfl_report_begin(o->dwfl);
    Dwfl_Module *module = dw.dwfl_report_offline(o->dwfl, "", path + 1, -1);
    dw.dwfl_report_end(o->dwfl, NULL, NULL);
    o->module = module != NULL && has_id(module, name, (size_t)(path - name)) ? module : NULL;
}

/* NULL: nothing is to be had of it. */
static Dwfl_Module *module_of(const char *name)
{
    static unsigned next;
    for (unsigned i = 0; i < OBJECTS_MOST && objects[i].name != NULL; i++) {
        if (strcmp(objects[i].name, name) == 0) {
            return objects[i].module;
        }
    }
    struct object *o = &objects[next++ % OBJECTS_MOST];
    open_object(o, name);
    return o->module;
}

/* ---- names ---- */

/* By the C++ library's own, if the machine has one; the caller frees. */
static char *demangle(const char *symbol)
{
    static char *(*call)(const char *, char *, size_t *, int *);
    static bool looked;
    if (!looked) {
        struct pt_library library;
        *(void **)&call = load("libstdc++.so.6", &library) ? pt_elf_symbol(&library.elf, "__cxa_demangle") : NULL;
        looked = true;
    }
    int status;
    return call != NULL && strncmp(symbol, "_Z", 2) == 0 ? call(symbol, NULL, NULL, &status) : NULL;
}

/* Where the arguments begin: not every parenthesis is one of theirs. */
static size_t length_without_arguments(const char *name)
{
    static const char nameless[] = "(anonymous namespace)", call[] = "()("; /* operator() and what follows */
    size_t at = strcspn(name, "(");
    while (strncmp(name + at, nameless, strlen(nameless)) == 0 || strncmp(name + at, call, strlen(call)) == 0) {
        at += strcspn(name + at, ")") + 1;
        at += strcspn(name + at, "(");
    }
    return at;
}

/* Without arguments, as the lines of Python have it. */
static uint32_t add_name(const char *symbol)
{
    char *plain = demangle(symbol);
    if (plain != NULL) {
        plain[length_without_arguments(plain)] = '\0';
    }
    uint32_t name = pt_table_load_string(plain != NULL ? plain : symbol);
    free(plain);
    return name;
}

/* Below the directory that the command is started in, as seen from there. */
static const char *short_path(const char *path)
{
    static char here[PATH_MAX];
    if (here[0] == '\0' && getcwd(here, sizeof here) == NULL) {
        here[0] = '/';
    }
    size_t length = strlen(here);
    return length > 1 && strncmp(path, here, length) == 0 && path[length] == '/' ? path + length + 1 : path;
}

/* An object, or a source, that is not the user's own. */
static bool is_library(const char *path)
{
    return strncmp(path, "/usr/", 5) == 0 || strncmp(path, "/lib", 4) == 0 || strstr(path, "/site-packages/") != NULL ||
           strstr(path, "/dist-packages/") != NULL;
}

static bool set_frame(struct pt_frame *f, const char *path, int line, const char *function)
{
    *f = (struct pt_frame){0};
    if (path != NULL && line > 0 && function != NULL) {
        f->file = pt_table_load_string(short_path(path));
        f->function = add_name(function);
        f->line = f->file != 0 && f->function != 0 ? (uint32_t)line : 0;
    }
    return f->line != 0;
}

/* Where a function was built in: file and line of the call. */
static const char *called_at(Dwarf_Die *inlined, Dwarf_Die *unit, int *line)
{
    Dwarf_Attribute attribute;
    Dwarf_Files *files;
    Dwarf_Word number = 0, in_file = 0;
    size_t count;
    if (dw.dwarf_formudata(dw.dwarf_attr(inlined, DW_AT_call_line, &attribute), &number) != 0 || number > INT_MAX ||
        dw.dwarf_formudata(dw.dwarf_attr(inlined, DW_AT_call_file, &attribute), &in_file) != 0 ||
        dw.dwarf_getsrcfiles(unit, &files, &count) != 0 || in_file >= count) {
        return NULL;
    }
    *line = (int)number;
    return dw.dwarf_filesrc(files, in_file, NULL, NULL);
}

/* The unit of the program that the address lies in, which `*bias` is to be taken from. clang writes no table of which
 * do. */
static Dwarf_Die *unit_of(Dwfl_Module *module, GElf_Addr address, Dwarf_Addr *bias)
{
    Dwarf_Die *unit = dw.dwfl_module_addrdie(module, address, bias);
    if (unit == NULL) {
        do {
            unit = dw.dwfl_module_nextcu(module, unit, bias);
        } while (unit != NULL && dw.dwarf_haspc(unit, address - *bias) <= 0);
    }
    return unit;
}

/* The call and, where its function was built into others, those that call it: `most` frames, innermost first. */
static unsigned name_call(const struct pt_native *native, struct pt_frame *out, unsigned most, bool *library)
{
    GElf_Addr bias = 0;
    const char *name = pt_table_string(native->object);
    Dwfl_Module *module = module_of(name);
    if (module == NULL || dw.dwfl_module_getelf(module, &bias) == NULL) {
        return 0;
    }
    int line = 0;
    unsigned named = 0;
    GElf_Addr address = native->at + bias;
    Dwarf_Addr unit_bias = 0;
    Dwarf_Die *unit = unit_of(module, address, &unit_bias), *around = NULL, *scopes = NULL;
    Dwarf_Line *found = unit != NULL ? dw.dwarf_getsrc_die(unit, address - unit_bias) : NULL;
    const char *path = found != NULL && dw.dwarf_lineno(found, &line) == 0 ? dw.dwarf_linesrc(found, NULL, NULL) : NULL;
    *library = is_library(strchr(name, ' ') + 1) || (path != NULL && is_library(path));
    int count = unit != NULL ? dw.dwarf_getscopes(unit, address - unit_bias, &around) : 0;
    /* Past one that was built in those are around where it is written, not around where it is built in. */
    count = count > 0 ? dw.dwarf_getscopes_die(&around[0], &scopes) : 0;
    for (int i = 0; i < count && named + 1 < most && dw.dwarf_tag(&scopes[i]) != DW_TAG_subprogram; i++) {
        if (dw.dwarf_tag(&scopes[i]) == DW_TAG_inlined_subroutine) {
            named += set_frame(&out[named], path, line, dw.dwarf_diename(&scopes[i]));
            path = called_at(&scopes[i], unit, &line);
        }
    }
    free(scopes);
    free(around);
    /* The symbol tells class and namespace as well. */
    return named + set_frame(&out[named], path, line, dw.dwfl_module_addrname(module, address));
}

/* Each native frame becomes one or more, as far as there is room; the caller that is known alone becomes frames. */
static void name_site(struct pt_site *s, struct pt_natives *natives)
{
    struct pt_frame named[PT_SITE_FRAMES];
    struct pt_native words[PT_SITE_FRAMES] = {0};
    uint32_t count = 0, libraries = 0;
    bool alone = s->frames_count == 0;
    for (uint32_t i = 0; count < PT_SITE_FRAMES && i < s->frames_count + alone; i++) {
        const struct pt_native *native = alone ? &natives->caller : &natives->frame[i];
        bool library = alone || (s->library >> i & 1) != 0;
        unsigned more = native->object != 0 ? name_call(native, named + count, PT_SITE_FRAMES - count, &library) : 0;
        for (unsigned k = 0; k < more; k++) {
            bool first = k == 0 && !alone;
            words[count + k] = first ? (struct pt_native){s->frames[i].function, s->frames[i].file}
                                     : (struct pt_native){PT_NATIVE_MORE, PT_NATIVE_MORE};
        }
        if (more == 0 && !alone) {
            named[count] = s->frames[i];
            more = 1;
        }
        for (unsigned last = count + more; count < last; count++) {
            libraries |= (uint32_t)library << count;
        }
    }
    s->frames_count = count;
    s->library = libraries;
    memcpy(s->frames, named, count * sizeof *named);
    memcpy(natives->frame, words, sizeof words);
}

void pt_native_lines_add(void)
{
    struct pt_table *t = pt_table();
    for (uint32_t row = 0; row < t->sites; row++) {
        struct pt_site *s = pt_table_site(row);
        struct pt_natives *natives = pt_table_natives(row);
        bool native = s->frames_count == 0 && natives->caller.object != 0;
        for (uint32_t i = 0; i < s->frames_count; i++) {
            native = native || natives->frame[i].object != 0;
        }
        if (native && pt_native_lines_can()) {
            name_site(s, natives);
        }
    }
}

#else

bool pt_native_lines_can(void)
{
    return false;
}

void pt_native_lines_add(void)
{
}

#endif
