#include "trace/symbol.h"

#include "base/libraries.h"
#include "base/sandbox.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static char directory[PT_SYMBOL_MOST]; /* where the program was when it first pinned */

void pt_symbol_init(void)
{
    /* The system call: glibc's getcwd may allocate. */
    if (pt_sandbox_entered() || syscall(SYS_getcwd, directory, sizeof directory) <= 0) {
        directory[0] = '\0';
    }
}

bool pt_symbol_is_library(const char *file)
{
    return strstr(file, "/site-packages/") != NULL || strstr(file, "/dist-packages/") != NULL ||
           strstr(file, "/lib/python3") != NULL || strncmp(file, "<frozen", 7) == 0;
}

/* What a person calls the file: relative to the packages or to the working directory. */
const char *pt_symbol_short_path(const char *file)
{
    const char *packages = strstr(file, "-packages/");
    size_t here = strlen(directory);
    if (packages != NULL) {
        return packages + strlen("-packages/");
    }
    if (here > 1 && strncmp(file, directory, here) == 0 && file[here] == '/') {
        return file + here + 1;
    }
    return file;
}

/* "_ZN3foo3barEv" as "foo::bar"; anything more involved stays as it is. */
static void plain_name(const char *symbol, char *out, size_t size)
{
    const char *s = symbol;
    struct pt_text t;
    pt_text_init(&t, out, size, -1);
    if (strncmp(s, "_ZN", 3) == 0) {
        s += 3;
        s += *s == 'K';
        while (*s >= '1' && *s <= '9') {
            size_t len = 0;
            while (*s >= '0' && *s <= '9') {
                len = len * 10 + (size_t)(*s++ - '0');
            }
            char part[PT_SYMBOL_MOST];
            if (len >= sizeof part || strlen(s) < len) {
                break;
            }
            memcpy(part, s, len);
            part[len] = '\0';
            pt_text_add(&t, t.len > 0 ? "::%s" : "%s", part);
            s += len;
        }
        if (t.len > 0 && (*s == 'E' || *s == 'C' || *s == 'D')) {
            return;
        }
        pt_text_init(&t, out, size, -1);
    }
    pt_text_add(&t, "%s", symbol);
}

/* Of the program the linker tells no path, but libc its name. */
static const char *file_of(const struct pt_library *object)
{
    const char *path = object->path[0] != '\0' ? object->path : program_invocation_name;
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

void pt_symbol_native(const void *pc, char *symbol, char *object, size_t size)
{
    struct pt_library around;
    struct pt_text t;
    uintptr_t begins;
    symbol[0] = object[0] = '\0';
    if (pc == NULL || pt_libraries_around((const char *)pc - 1, &around) != 0) {
        return;
    }
    pt_text_init(&t, object, size, -1);
    pt_text_add(&t, "%s", file_of(&around));
    const char *name = pt_elf_name_of(&around.elf, (uintptr_t)pc - 1, &begins);
    if (name != NULL) {
        plain_name(name, symbol, size - 20);
        pt_text_init(&t, symbol + strlen(symbol), 20, -1);
        pt_text_add(&t, "+0x%x", (uint64_t)((uintptr_t)pc - begins));
    } else {
        pt_text_init(&t, symbol, size, -1);
        pt_text_add(&t, "+0x%x", (uint64_t)((uintptr_t)pc - around.elf.from));
    }
}
