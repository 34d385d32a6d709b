/* The library, the Python of the job, and what it would import; the bridge apart. */
#include "cli/doctor.h"

#include "base/torch_versions.h"
#include "cli/native_lines.h"
#include "cli/op_file.h"
#include "cli/preload.h"
#include "cli/python_there.h"

#include <ftw.h>
#include <gnu/libc-version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum pt_doctor_state pt_doctor_library(struct pt_doctor_finding *f)
{
    char path[PATH_MAX];
    if (!pt_preload_find(path)) {
        pt_text_add(&f->words, PT_PRELOAD " is neither beside this command nor in " PINTENSOR_LIBDIR);
        return PT_DOCTOR_STOPS;
    }
    pt_text_add(&f->words, "%s", path);
    if (!pt_preload_can_be_named(path)) {
        pt_text_add(&f->words, ", which LD_PRELOAD cannot name");
        return PT_DOCTOR_STOPS;
    }
    return PT_DOCTOR_OK;
}

/* What counts is the libc of the program that is to be served. */
enum pt_doctor_state pt_doctor_libc(struct pt_doctor_finding *f)
{
    const struct pt_python_there *python = pt_python_there();
    char interpreter[256];
    if (python->program[0] == '\0') {
        pt_text_add(&f->words, "glibc %s", gnu_get_libc_version());
        return PT_DOCTOR_OK;
    }
    if (!pt_op_file_interpreter(python->program, interpreter, sizeof interpreter)) {
        pt_text_add(&f->words, "%s is linked statically, or no program of 64 bits", python->program);
        return PT_DOCTOR_STOPS;
    }
    if (strstr(interpreter, "ld-musl") != NULL) {
        pt_text_add(&f->words, "%s runs with musl, where the library does nothing", python->program);
        return PT_DOCTOR_STOPS;
    }
    pt_text_add(&f->words, "glibc %s, and Python is started by %s", gnu_get_libc_version(), interpreter);
    return PT_DOCTOR_OK;
}

enum pt_doctor_state pt_doctor_rights(struct pt_doctor_finding *f)
{
    const char *program = pt_python_there()->program;
    struct stat about;
    if (getauxval(AT_SECURE) != 0) {
        pt_text_add(&f->words, "this command itself has rights that its caller has not");
        return PT_DOCTOR_STOPS;
    }
    if (program[0] != '\0' && stat(program, &about) == 0 &&
        (((about.st_mode & S_ISUID) != 0 && about.st_uid != getuid()) ||
         ((about.st_mode & S_ISGID) != 0 && about.st_gid != getgid()) ||
         (getuid() != 0 && getxattr(program, "security.capability", NULL, 0) > 0))) {
        pt_text_add(&f->words, "%s has rights that its caller has not", program);
        return PT_DOCTOR_STOPS;
    }
    pt_text_add(&f->words, "those of the caller");
    return PT_DOCTOR_OK;
}

enum pt_doctor_state pt_doctor_python(struct pt_doctor_finding *f)
{
    const struct pt_python_there *python = pt_python_there();
    if (python->program[0] == '\0') {
        pt_text_add(&f->words, "%s", python->why[0] != '\0' ? python->why : "none on PATH");
        return PT_DOCTOR_NOTE;
    }
    pt_text_add(&f->words, "%s, %s", python->version, python->program);
    return PT_DOCTOR_OK;
}

enum pt_doctor_state pt_doctor_torch(struct pt_doctor_finding *f)
{
    const struct pt_python_there *python = pt_python_there();
    if (python->torch[0] == '\0') {
        pt_text_add(&f->words, "this Python has none");
        return PT_DOCTOR_OK;
    }
    bool known = python->torch_version[0] != '\0';
    pt_text_add(&f->words, "%s in %s", known ? python->torch_version : "an unknown version", python->torch);
    if (!pt_python_torch_is_served()) {
        pt_text_add(&f->words, "; served are 2.%d to 2.%d", PT_TORCH_OLDEST, PT_TORCH_NEWEST);
        return PT_DOCTOR_STOPS;
    }
    return PT_DOCTOR_OK;
}

enum pt_doctor_state pt_doctor_deepspeed(struct pt_doctor_finding *f)
{
    const struct pt_python_there *python = pt_python_there();
    if (python->deepspeed[0] == '\0') {
        pt_text_add(&f->words, "this Python has none");
        return PT_DOCTOR_OK;
    }
    bool known = python->deepspeed_version[0] != '\0';
    pt_text_add(&f->words, "%s in %s", known ? python->deepspeed_version : "an unknown version", python->deepspeed);
    return known ? PT_DOCTOR_OK : PT_DOCTOR_NOTE;
}

static struct {
    unsigned reached, unreachable;
    char first[PATH_MAX]; /* of those that cannot be reached */
} ops;

static int look_at_file(const char *path, const struct stat *about, int type, struct FTW *place)
{
    const char *ending = strrchr(path, '.');
    (void)place;
    if (type == FTW_F && S_ISREG(about->st_mode) && ending != NULL && strcmp(ending, ".so") == 0) {
        enum pt_op op = pt_op_file(path);
        if (op == PT_OP_UNREACHABLE && ops.unreachable++ == 0) {
            (void)snprintf(ops.first, sizeof ops.first, "%s", path);
        }
        ops.reached += op == PT_OP_REACHED;
    }
    return 0;
}

/* Those that torch built at first use, and those that were built when DeepSpeed was installed. */
enum pt_doctor_state pt_doctor_ops(struct pt_doctor_finding *f)
{
    enum { FOLDERS_AT_ONCE = 16 };
    const char *own = getenv("TORCH_EXTENSIONS_DIR"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char built[PATH_MAX], installed[PATH_MAX];
    if (own != NULL && own[0] != '\0') {
        (void)snprintf(built, sizeof built, "%s", own);
    } else {
        bool set = cache != NULL && cache[0] != '\0';
        (void)snprintf(built, sizeof built, set ? "%s/torch_extensions" : "%s/.cache/torch_extensions",
                       set            ? cache
                       : home != NULL ? home
                                      : "");
    }
    (void)snprintf(installed, sizeof installed, "%s/ops", pt_python_there()->deepspeed);
    (void)nftw(built, look_at_file, FOLDERS_AT_ONCE, FTW_PHYS);
    if (pt_python_there()->deepspeed[0] != '\0') {
        (void)nftw(installed, look_at_file, FOLDERS_AT_ONCE, FTW_PHYS);
    }
    if (ops.unreachable > 0) {
        pt_text_add(&f->words, "%u linked with -Bsymbolic-functions, which no preload reaches: %s%s", ops.unreachable,
                    ops.first, ops.unreachable > 1 ? " and others" : "");
        return PT_DOCTOR_STOPS;
    }
    if (ops.reached > 0) {
        pt_text_add(&f->words, "%u with pinned tensors, all of which can be reached", ops.reached);
    } else {
        pt_text_add(&f->words, "none built yet in %s", built);
    }
    return PT_DOCTOR_OK;
}

enum pt_doctor_state pt_doctor_debug_info(struct pt_doctor_finding *f)
{
    bool can = pt_native_lines_can();
    pt_text_add(&f->words, can ? "libdw reads it: `pintensor report` tells file and line of C and C++"
                               : "no libdw: `pintensor report` tells symbols of C and C++, not lines");
    return can ? PT_DOCTOR_OK : PT_DOCTOR_NOTE;
}
