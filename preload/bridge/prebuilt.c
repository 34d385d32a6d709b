#include "prebuilt.h"

#include "base/libraries.h"
#include "base/text.h"
#include "cache_file.h"
#include "trial.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH = 4096 };

#define DIGITS "0123456789"

/* "2.13" of "2.13.0" or "2.13.0+cu130"; 0 of what is no release, such as "2.13.0a0+git1234": the headers of those may
 * be any. */
static size_t minor_of_release(const char *version)
{
    size_t minor = strcspn(version, ".") + 1;
    minor += strspn(version + minor, DIGITS);
    const char *rest = version + minor + (version[minor] == '.');
    rest += strspn(rest, DIGITS);
    return *rest == '\0' || *rest == '+' ? minor : 0;
}

/* Where the file really is. realpath() would do, but it may call malloc. */
static bool follow_links(char *out, const char *path)
{
    char link[32];
    struct pt_text t;
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    pt_text_init(&t, link, sizeof link, -1);
    pt_text_add(&t, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, PATH - 1);
    close(fd);
    out[n > 0 ? n : 0] = '\0';
    return n > 0 && n < PATH - 1;
}

/* Where the file lies that we were loaded from, wherever a link to it may. One thread at a time comes here. */
static char directory[PATH];

static int find_directory(void)
{
    struct pt_library us;
    int error = pt_libraries_around(find_directory, &us);
    char *slash;
    if (error != 0 || !follow_links(directory, us.path) || (slash = strrchr(directory, '/')) == NULL) {
        return error != 0 ? error : -ENOENT;
    }
    *slash = '\0';
    return 0;
}

static void path_beside_us(char *out, const char *name)
{
    struct pt_text t;
    pt_text_init(&t, out, PATH, -1);
    pt_text_add(&t, "%s/pintensor/%s", directory, name);
}

int prebuilt_find(char *out, const char *torch_version, uint64_t text)
{
    static char linked[PATH];
    char name[128], minor[32] = "";
    size_t len = minor_of_release(torch_version);
    if (len == 0 || len >= sizeof minor) {
        return -ENOENT;
    }
    int error = find_directory();
    if (error != 0) {
        return error;
    }
    memcpy(minor, torch_version, len);
    struct pt_text t;
    pt_text_init(&t, name, sizeof name, -1);
    pt_text_add(&t, "bridge-torch-%s-%x.so", minor, text);
    path_beside_us(linked, name);
    return follow_links(out, linked) && cache_file_is_whole(out) ? 0 : -ENOENT;
}

/* The cache's note that this very file was tried. */
static void note_of(char *out, const char *bridge, const char *name)
{
    char key[64], note[192];
    struct stat s = {0};
    struct pt_text t;
    (void)stat(bridge, &s);
    pt_text_init(&t, key, sizeof key, -1);
    pt_text_add(&t, "%llu %llu", (uint64_t)s.st_size, (uint64_t)s.st_mtim.tv_sec);
    uint64_t hash = cache_file_hash(CACHE_FILE_HASH, key, t.len);
    hash = cache_file_hash(hash, bridge, strlen(bridge));
    pt_text_init(&t, note, sizeof note, -1);
    pt_text_add(&t, "%s-%x", name, hash);
    cache_file_path(out, note, "fits");
}

static bool try_it(const char *bridge, const char *name, const char *cpu, const char *c10)
{
    static char try[PATH], note[PATH], said[PATH], why[256];
    struct pt_text t;
    int memory = -1;
    pt_text_init(&t, why, sizeof why, -1);
    bool remembers = cache_file_directory(&t) == NULL;
    if (remembers) {
        note_of(note, bridge, name);
        if (access(note, F_OK) == 0 && cache_file_check(note, &t) == NULL) {
            return true;
        }
        cache_file_temporary(said, name, "fits", -1);
    } else {
        memory = (int)syscall(SYS_memfd_create, "pintensor", MFD_CLOEXEC);
        pt_text_init(&t, said, sizeof said, -1);
        pt_text_add(&t, "/proc/self/fd/%d", memory);
    }
    path_beside_us(try, "try-bridge");
    const char *argv[] = {try, bridge, cpu, c10, NULL};
    enum trial_end end = trial_run(argv, said, -1);
    if (memory >= 0) {
        close(memory);
    }
    if (remembers && (end != TRIAL_FITS || rename(said, note) != 0)) {
        (void)unlink(said);
    }
    return end != TRIAL_FAILED;
}

bool prebuilt_fits(const char *bridge, const char *name, const char *cpu, const char *c10)
{
    static enum { NEW, FITS, FAILS } known;
    if (known == NEW) {
        known = try_it(bridge, name, cpu, c10) ? FITS : FAILS;
    }
    return known == FITS;
}
