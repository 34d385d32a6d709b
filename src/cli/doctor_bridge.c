/* The bridge to torch: there already, or what it takes to build it. */
#include "cli/doctor.h"

#include "cli/preload.h"
#include "cli/python_there.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The first file of that pattern. */
static bool find_file(const char *pattern, char *out, size_t cap)
{
    glob_t files;
    bool found = glob(pattern, 0, NULL, &files) == 0 && files.gl_pathc > 0;
    if (found) {
        (void)snprintf(out, cap, "%s", files.gl_pathv[0]);
        globfree(&files);
    }
    return found;
}

/* As the preload does it; an empty one: nobody says where. */
static void name_cache(char *out, size_t cap)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache != NULL && cache[0] == '/') {
        (void)snprintf(out, cap, "%s/pintensor", cache);
    } else {
        bool known = home != NULL && home[0] == '/';
        (void)snprintf(out, cap, "%s%s", known ? home : "", known ? "/.cache/pintensor" : "");
    }
}

static bool find_bridge_beside_library(char *out, size_t cap)
{
    char library[PATH_MAX], pattern[PATH_MAX + 64], *slash;
    if (!pt_preload_find(library) || (slash = strrchr(library, '/')) == NULL) {
        return false;
    }
    *slash = '\0';
    (void)snprintf(pattern, sizeof pattern, "%s/pintensor/bridge-torch-2.%d-*.so", library, pt_python_torch_minor());
    return find_file(pattern, out, cap);
}

static bool find_in_cache(const char *ending, char *out, size_t cap)
{
    char cache[PATH_MAX], pattern[PATH_MAX + 128];
    name_cache(cache, sizeof cache);
    (void)snprintf(pattern, sizeof pattern, "%s/bridge-%s-*.%s", cache, pt_python_there()->torch_version, ending);
    return cache[0] != '\0' && find_file(pattern, out, cap);
}

/* On PATH, or a path. Flags may follow its name. */
static bool is_program(const char *name)
{
    char first[PATH_MAX], candidate[2 * PATH_MAX];
    if (snprintf(first, sizeof first, "%.*s", (int)strcspn(name, " \t"), name) >= (int)sizeof first ||
        first[0] == '\0') {
        return false;
    }
    if (strchr(first, '/') != NULL) {
        return access(first, X_OK) == 0;
    }
    const char *path = getenv("PATH");
    for (const char *at = path != NULL ? path : ""; *at != '\0'; at += strspn(at, ":")) {
        size_t len = strcspn(at, ":");
        (void)snprintf(candidate, sizeof candidate, "%.*s/%s", (int)len, at, first);
        if (access(candidate, X_OK) == 0) {
            return true;
        }
        at += len;
    }
    return false;
}

static const char *find_compiler(void)
{
    const char *const names[] = {getenv("CXX"), "c++", "g++", "clang++"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i] != NULL && is_program(names[i])) {
            return names[i];
        }
    }
    return NULL;
}

enum pt_doctor_state pt_doctor_bridge(struct pt_doctor_finding *f)
{
    char path[PATH_MAX], headers[PATH_MAX];
    if (!pt_python_torch_is_served()) {
        pt_text_add(&f->words, "none needed");
        return PT_DOCTOR_OK;
    }
    if (find_bridge_beside_library(path, sizeof path)) {
        pt_text_add(&f->words, "ready made: %s", path);
        return PT_DOCTOR_OK;
    }
    if (find_in_cache("so", path, sizeof path)) {
        pt_text_add(&f->words, "built before: %s", path);
        return PT_DOCTOR_OK;
    }
    if (find_in_cache("log", path, sizeof path)) {
        pt_text_add(&f->words, "building it failed before: see %s", path);
        return PT_DOCTOR_STOPS;
    }
    const char *compiler = find_compiler();
    (void)snprintf(headers, sizeof headers, "%s/include/torch/csrc/api/include", pt_python_there()->torch);
    if (compiler == NULL || access(headers, R_OK) != 0) {
        pt_text_add(&f->words, "not there, and %s to build it with",
                    compiler == NULL ? "there is no C++ compiler" : "torch has no C++ headers");
        return PT_DOCTOR_STOPS;
    }
    pt_text_add(&f->words, "will be built at first use, by %s", compiler);
    return PT_DOCTOR_OK;
}

/* The deepest folder of it that is there: the rest can be made. */
static void go_up(char *folder)
{
    char *slash;
    while (access(folder, F_OK) != 0 && (slash = strrchr(folder, '/')) != NULL && slash != folder) {
        *slash = '\0';
    }
}

enum pt_doctor_state pt_doctor_cache(struct pt_doctor_finding *f)
{
    char cache[PATH_MAX], there[PATH_MAX], bridge[PATH_MAX];
    struct stat about;
    if (!pt_python_torch_is_served() || find_bridge_beside_library(bridge, sizeof bridge)) {
        pt_text_add(&f->words, "none needed");
        return PT_DOCTOR_OK;
    }
    name_cache(cache, sizeof cache);
    if (cache[0] == '\0') {
        pt_text_add(&f->words, "neither XDG_CACHE_HOME nor HOME says where");
        return PT_DOCTOR_STOPS;
    }
    (void)snprintf(there, sizeof there, "%s", cache);
    go_up(there);
    pt_text_add(&f->words, "%s", cache);
    if (stat(there, &about) != 0 || !S_ISDIR(about.st_mode) || access(there, W_OK) != 0) {
        pt_text_add(&f->words, " cannot be written to");
        return PT_DOCTOR_STOPS;
    }
    if (strcmp(there, cache) == 0 && about.st_uid != geteuid() && about.st_uid != 0) {
        pt_text_add(&f->words, " is another user's");
        return PT_DOCTOR_STOPS;
    }
    if (strcmp(there, cache) == 0 && (about.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        pt_text_add(&f->words, " may be written to by others");
        return PT_DOCTOR_STOPS;
    }
    return PT_DOCTOR_OK;
}
