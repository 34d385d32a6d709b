#include "library.h"

#include "base/libraries.h"
#include "base/linker.h"
#include "base/log.h"
#include "base/text.h"
#include "base/torch_versions.h"
#include "base/wait.h"
#include "cache_file.h"
#include "compile.h"
#include "prebuilt.h"
#include "trial.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The bridge's text, in one, and that of the program that tries it, so that one file is all of pintensor. */
#define TEXT(file) ".ascii \"#line 1 \\\"" file "\\\"\\n\"\n.incbin \"" PT_BRIDGE_SOURCES "/" file "\"\n"
__asm__(".pushsection .rodata\n"
        "bridge_text:\n" TEXT("bridge.h") TEXT("host_stats.h") TEXT("old_torch.h") TEXT(
            "host_allocator.cpp") "bridge_text_end: .byte 0\n"
                                  "try_text:\n" TEXT("bridge.h") TEXT(
                                      "try_bridge.cpp") "try_text_end: .byte 0\n"
                                                        ".globl bridge_text, bridge_text_end, try_text, try_text_end\n"
                                                        ".hidden bridge_text, bridge_text_end, try_text, try_text_end\n"
                                                        ".popsection\n");
extern const char bridge_text[], bridge_text_end[], try_text[], try_text_end[];

#define STANDARD    "-std=c++20"
#define API_HEADERS "/include/torch/csrc/api/include"

enum { PATH = 4096 };

/* Filled in from above to below, by one thread. */
static struct {
    char cpu[PATH];     /* libtorch_cpu.so */
    char root[PATH];    /* torch's directory */
    char version[64];   /* all of it: 2.13.0+cu130 */
    char abi[40];       /* how libstdc++'s strings are to look */
    char name[128];     /* what the bridge to it is called */
    uint64_t text;      /* which text the bridge is made of */
    char c10[PATH];     /* libc10.so */
    char library[PATH]; /* the bridge, beside the preload or in the cache */
} torch = {.version = "?"};

void library_complain(const char *why, const char *what_to_do)
{
    pt_log("there is no bridge to torch %s, whose pinned memory stays its own: %s. %s, or set PINTENSOR_TORCH=off to "
           "silence this",
           torch.version, why, what_to_do);
}

/* ---- the torch in this process ---- */

/* "\n__version__ = '2.13.0+cu130'\n", or in a libtorch without Python all of the file. Kept to what a file's name may
 * hold. */
static bool read_version(const char *file, const char *before)
{
    static char path[PATH], text[4096]; /* one thread comes here, once; its stack may be small */
    struct pt_text t;
    pt_text_init(&t, path, sizeof path, -1);
    pt_text_add(&t, "%s/%s", torch.root, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    text[0] = '\n';
    ssize_t n = read(fd, text + 1, sizeof text - 2);
    close(fd);
    text[n > 0 ? n + 1 : 0] = '\0';
    const char *at = strstr(text, before);
    if (at == NULL) {
        return false;
    }
    at += strlen(before);
    size_t len = strspn(at, "0123456789.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-_");
    len = len < sizeof torch.version - 1 ? len : sizeof torch.version - 1;
    memcpy(torch.version, at, len);
    torch.version[len] = '\0';
    return len > 0;
}

static bool is_known(void)
{
    const char *minor = torch.version + 2;
    size_t digits = strspn(minor, "0123456789");
    int n = digits == 1 ? minor[0] - '0' : digits == 2 ? (minor[0] - '0') * 10 + minor[1] - '0' : 0;
    return strncmp(torch.version, "2.", 2) == 0 && n >= PT_TORCH_OLDEST && n <= PT_TORCH_NEWEST;
}

static int find_torch(void)
{
    struct pt_library cpu;
    char *slash;
    int error = pt_libraries_named("libtorch_cpu.so", NULL, &cpu);
    if (error != 0) {
        if (error != -EBUSY) {
            library_complain("libtorch_cpu.so is not loaded", "Report this");
        }
        return error;
    }
    struct pt_text t;
    pt_text_init(&t, torch.cpu, sizeof torch.cpu, -1);
    pt_text_add(&t, "%s", cpu.path);
    memcpy(torch.root, torch.cpu, sizeof torch.root);
    for (int up = 0; up < 2 && (slash = strrchr(torch.root, '/')) != NULL; up++) {
        *slash = '\0';
    }
    if (!read_version("version.py", "\n__version__ = '") && !read_version("build-version", "\n")) {
        library_complain("neither version.py nor build-version is in its directory", "Install torch from its wheel");
        return -ENOENT;
    }
    if (!is_known()) {
        library_complain("its host allocator was not looked at (that of torch 2.8 to 2.14 was)",
                         "Use a newer pintensor");
        return -ENOENT;
    }
    return 0;
}

/* ---- building ---- */

/* A name that another torch, another build of it, or another pintensor does not share. */
static bool name_bridge(void)
{
    struct stat s;
    if (stat(torch.cpu, &s) != 0) {
        library_complain("libtorch_cpu.so is not where it was loaded from", "Start the program anew");
        return false;
    }
    struct pt_library c10;
    bool new_strings = pt_libraries_named("libc10.so", "_ZN3c106detail14torchCheckFailEPKcS2_jRKSs", &c10) != 0;
    struct pt_text t;
    pt_text_init(&t, torch.abi, sizeof torch.abi, -1);
    pt_text_add(&t, "-D_GLIBCXX_USE_CXX11_ABI=%d", new_strings);

    static char key[PATH + 256];
    pt_text_init(&t, key, sizeof key, -1);
    pt_text_add(&t, "%s %llu %llu %llu %s %s", torch.cpu, (uint64_t)s.st_size, (uint64_t)s.st_mtim.tv_sec,
                (uint64_t)s.st_mtim.tv_nsec, torch.abi, STANDARD);
    uint64_t hash = cache_file_hash(CACHE_FILE_HASH, key, t.len);
    hash = cache_file_hash(hash, bridge_text, (size_t)(try_text_end - bridge_text));
    torch.text = cache_file_hash(CACHE_FILE_HASH, bridge_text, (size_t)(bridge_text_end - bridge_text));
    pt_text_init(&t, torch.name, sizeof torch.name, -1);
    pt_text_add(&t, "bridge-%s-%x", torch.version, hash);
    return true;
}

static bool write_source(const char *path, const char *text, const char *end)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool written = fd >= 0 && cache_file_write(fd, text, (size_t)(end - text));
    if (fd >= 0) {
        close(fd);
    }
    return written;
}

/* Under torch's directory. `out` has room for PATH bytes. */
static void path_in_torch(char *out, const char *rest)
{
    struct pt_text t;
    pt_text_init(&t, out, PATH, -1);
    pt_text_add(&t, "%s%s", torch.root, rest);
}

/* The files of a build; those of the program that tries it are called the same. */
struct files {
    char source[PATH], made[PATH], said[PATH], try_source[PATH], try[PATH];
};

static enum compile_end compile_bridge(const struct files *f, int lock)
{
    static char include[PATH], api[PATH], version[96];
    struct pt_text t;
    path_in_torch(include, "/include");
    path_in_torch(api, API_HEADERS);
    pt_text_init(&t, version, sizeof version, -1);
    pt_text_add(&t, "-DPT_TORCH_VERSION=\"%s\"", torch.version);
    const char *arguments[] = {STANDARD,   "-O2",     torch.abi,  version, "-shared", "-fPIC", "-fvisibility=hidden",
                               "-isystem", include,   "-isystem", api,     f->source, "-o",    f->made,
                               torch.cpu,  torch.c10, NULL};
    return compile_run(arguments, f->said, lock);
}

/* A bridge that does not fit the torch it is for, whatever the compiler took for its headers, would take the program
 * down. */
static bool fits(const struct files *f, int lock)
{
    const char *arguments[] = {STANDARD, f->try_source, "-o", f->try, "-ldl", NULL};
    const char *argv[] = {f->try, f->made, torch.cpu, torch.c10, NULL};
    return compile_run(arguments, f->said, lock) == COMPILE_DONE && trial_run(argv, f->said, lock) != TRIAL_FAILED;
}

/* With the lock held, if there can be one here. */
static bool build(const char *log, int lock)
{
    static struct files f;
    static char why[PATH + 128], fix[PATH + 128];
    struct pt_text w, x;
    path_in_torch(f.source, API_HEADERS);
    if (access(f.source, R_OK) != 0) {
        library_complain("its C++ headers are not there", "Install torch with its headers, as its wheel has them");
        return false;
    }
    cache_file_temporary(f.source, torch.name, "cpp", lock);
    cache_file_temporary(f.made, torch.name, "so", lock);
    cache_file_temporary(f.said, torch.name, "log", lock);
    cache_file_temporary(f.try_source, torch.name, "try.cpp", lock);
    cache_file_temporary(f.try, torch.name, "try", lock);
    (void)unlink(f.made);
    bool written =
        write_source(f.source, bridge_text, bridge_text_end) && write_source(f.try_source, try_text, try_text_end);
    enum compile_end end = written ? compile_bridge(&f, lock) : COMPILE_FAILED;
    bool compiled = end == COMPILE_DONE && access(f.made, R_OK) == 0, good = compiled && fits(&f, lock);
    good = good && cache_file_seal(f.made) && rename(f.made, torch.library) == 0;
    pt_text_init(&w, why, sizeof why, -1);
    pt_text_init(&x, fix, sizeof fix, -1);
    if (!written) {
        pt_text_add(&w, "%s cannot be written", f.source);
        pt_text_add(&x, "Make room, or set XDG_CACHE_HOME to a directory of yours");
    } else if (end == COMPILE_NO_COMPILER) {
        pt_text_add(&w, "no C++ compiler was found to build it with");
        pt_text_add(&x, "Install g++, or set CXX");
    } else if (end == COMPILE_NOT_STARTED) {
        pt_text_add(&w, "the C++ compiler could not be started");
        pt_text_add(&x, "Allow the program another process (`ulimit -u`)");
    } else if (!good) {
        (void)rename(f.said, log); /* which also keeps others from trying */
        pt_text_add(&w, "%s: see %s",
                    compiled                  ? "what the C++ compiler made does not fit it"
                    : end == COMPILE_TOO_LONG ? "the C++ compiler took longer than 2 minutes"
                                              : "the C++ compiler failed",
                    log);
        pt_text_add(&x, "Delete that file to try again");
    }
    const char *const left[] = {f.source, f.made, f.said, f.try_source, f.try};
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        (void)unlink(left[i]);
    }
    if (!good) {
        library_complain(why, fix);
    }
    return good;
}

/* ---- having it ---- */

static int open_bridge(struct pt_elf *out)
{
    if (!pt_linker_begin()) {
        return -EBUSY;
    }
    int error = pt_libraries_open(torch.library, out);
    const char *why = error != 0 ? dlerror() : NULL;
    if (error != 0) {
        library_complain(why != NULL ? why : "it cannot be loaded",
                         "Delete it to have it built anew, if need be by the compiler in CXX");
    }
    pt_linker_end();
    return error;
}

static int find_or_build(struct pt_elf *out)
{
    static char log[PATH], why[PATH + 128]; /* one thread comes here, once */
    struct pt_text t;
    pt_text_init(&t, why, sizeof why, -1);
    int error = find_torch();
    if (error != 0 || !name_bridge()) {
        return error != 0 ? error : -ENOENT;
    }
    path_in_torch(torch.c10, "/lib/libc10.so");
    error = prebuilt_find(torch.library, torch.version, torch.text);
    if (error == 0 && prebuilt_fits(torch.library, torch.name, torch.cpu, torch.c10)) {
        return open_bridge(out);
    }
    if (error == -EBUSY) {
        return error;
    }
    const char *fix = cache_file_directory(&t);
    if (fix == NULL) {
        cache_file_path(torch.library, torch.name, "so");
        cache_file_path(log, torch.name, "log");
        fix = cache_file_check(torch.library, &t);
    }
    if (fix != NULL) {
        library_complain(why, fix);
        return -ENOENT;
    }
    if (cache_file_is_whole(torch.library)) {
        return open_bridge(out);
    }
    int lock = cache_file_lock();
    bool there = cache_file_is_whole(torch.library);
    if (!there && access(log, F_OK) == 0) {
        pt_text_add(&t, "building it failed before: see %s", log);
        library_complain(why, "Delete that file to try again");
    } else if (!there && lock == -ETIMEDOUT) {
        library_complain("another process has been building it for 3 minutes",
                         "Start the program anew when that is done");
    } else if (!there) {
        there = build(log, lock);
    }
    if (lock >= 0) {
        close(lock);
    }
    return there ? open_bridge(out) : -ENOENT;
}

int library_of_bridge(struct pt_elf *out)
{
    enum { NEW = 0, DONE = -1 };
    static _Atomic int state; /* else the process that is at it */
    static struct pt_elf bridge;
    static _Atomic int result = -ENOENT;
    int now = NEW, self = (int)getpid();
    if (atomic_compare_exchange_strong(&state, &now, self)) {
        result = find_or_build(&bridge);
        state = result == -EBUSY ? NEW : DONE;
    }
    while ((now = state) == self) {
        pt_wait_pause(10000000);
    }
    int error = now == DONE ? result : now == NEW ? -EBUSY : -ENOENT;
    if (error == 0) {
        *out = bridge;
    }
    return error;
}
