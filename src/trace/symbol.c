#include "trace/symbol.h"

#include "base/libraries.h"
#include "base/sandbox.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static char directory[PT_SYMBOL_MOST]; /* where the program was when it first pinned */
static char program[PT_SYMBOL_MOST];   /* its path; empty: unknown, or too long */

void pt_symbol_init(void)
{
    /* The system call: glibc's getcwd may allocate. */
    if (pt_sandbox_entered() || syscall(SYS_getcwd, directory, sizeof directory) <= 0) {
        directory[0] = '\0';
    }
    ssize_t n = pt_sandbox_entered() ? -1 : readlink("/proc/self/exe", program, sizeof program);
    program[n > 0 && n < (ssize_t)sizeof program ? n : 0] = '\0';
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

/* Adds n bytes to the len that out has; what does not fit is cut off. */
static size_t append(char *out, size_t size, size_t len, const char *s, size_t n)
{
    n = n < size - 1 - len ? n : size - 1 - len;
    memcpy(out + len, s, n);
    out[len + n] = '\0';
    return len + n;
}

/* "_ZN3foo3barEv" as "foo::bar"; anything more involved stays as it is. In `out` alone: a thread's stack may be small.
 */
static void plain_name(const char *symbol, char *out, size_t size)
{
    const char *s = symbol;
    size_t used = 0;
    if (strncmp(s, "_ZN", 3) == 0) {
        s += 3;
        s += *s == 'K';
        while (*s >= '1' && *s <= '9') {
            size_t len = 0;
            while (*s >= '0' && *s <= '9' && len < size) {
                len = len * 10 + (size_t)(*s++ - '0');
            }
            if (len >= size || strnlen(s, len) < len) {
                break;
            }
            used = append(out, size, used, "::", used > 0 ? 2 : 0);
            used = append(out, size, used, s, len);
            s += len;
        }
        if (used > 0 && (*s == 'E' || *s == 'C' || *s == 'D')) {
            return;
        }
    }
    append(out, size, 0, symbol, strlen(symbol));
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

bool pt_symbol_place(const void *pc, char *object, size_t size, uint32_t *at)
{
    struct pt_library around;
    struct pt_text t;
    const uint8_t *id;
    if (pc == NULL || pt_libraries_around((const char *)pc - 1, &around) != 0) {
        return false;
    }
    const char *path = around.path[0] != '\0' ? around.path : program;
    unsigned length = pt_elf_build_id(&around.elf, &id);
    uintptr_t offset = (uintptr_t)pc - 1 - around.elf.base;
    bool relative = path[0] != '/';
    if (length == 0 || path[0] == '\0' || (relative && directory[0] == '\0') || offset > UINT32_MAX) {
        return false;
    }
    pt_text_init(&t, object, size, -1);
    for (unsigned i = 0; i < length; i++) {
        static const char digits[] = "0123456789abcdef";
        pt_text_add(&t, "%s", (char[]){digits[id[i] >> 4], digits[id[i] & 15], '\0'});
    }
    pt_text_add(&t, relative ? " %s/%s" : " %s%s", relative ? directory : "", path);
    *at = (uint32_t)offset;
    return t.len < size - 1;
}
