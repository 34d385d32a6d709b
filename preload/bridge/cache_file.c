#include "cache_file.h"

#include "base/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PATH = 4096, PATIENCE_S = 180 };

struct seal {
    char magic[8];
    uint64_t size, sum;
};
#define MAGIC "pintensr"

static char directory[PATH - 256];

uint64_t cache_file_hash(uint64_t hash, const void *p, size_t n)
{
    for (const unsigned char *byte = p; n > 0; n--) {
        hash = (hash ^ *byte++) * 0x100000001b3u;
    }
    return hash;
}

static const char *unsafe(const struct stat *s, const char *path, struct pt_text *why)
{
    if (s->st_uid != geteuid() && s->st_uid != 0) {
        pt_text_add(why, "%s is another user's", path);
    } else if ((s->st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        pt_text_add(why, "others may write to %s", path);
    } else {
        return NULL;
    }
    return "Remove it, or set XDG_CACHE_HOME to a directory of yours";
}

const char *cache_file_directory(struct pt_text *why)
{
    const char *cache = secure_getenv("XDG_CACHE_HOME"), *home = secure_getenv("HOME");
    bool absolute = cache != NULL && cache[0] == '/';
    struct pt_text t;
    struct stat s;
    if (!absolute && (home == NULL || home[0] != '/')) {
        pt_text_add(why, "neither XDG_CACHE_HOME nor HOME says where to keep it");
        return "Set one of them";
    }
    pt_text_init(&t, directory, sizeof directory, -1);
    pt_text_add(&t, absolute ? "%s/pintensor" : "%s/.cache/pintensor", absolute ? cache : home);
    if (t.len >= sizeof directory - 1) {
        pt_text_add(why, "the path of the cache directory is too long");
        return "Set XDG_CACHE_HOME to a shorter one";
    }
    for (char *slash = directory + 1; slash != NULL && (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        (void)mkdir(directory, 0700);
        *slash = '/';
    }
    int error = mkdir(directory, 0700) != 0 ? errno : 0;
    if (stat(directory, &s) != 0 || !S_ISDIR(s.st_mode)) {
        pt_text_add(why, "%s cannot be made (errno %d)", directory, error);
        return "Set XDG_CACHE_HOME to a directory of yours";
    }
    return unsafe(&s, directory, why);
}

void cache_file_path(char *out, const char *name, const char *ending)
{
    struct pt_text t;
    pt_text_init(&t, out, PATH, -1);
    pt_text_add(&t, "%s/%s.%s", directory, name, ending);
}

void cache_file_temporary(char *out, const char *name, const char *ending, int lock)
{
    static uint64_t id;
    if (lock < 0 && id == 0) {
        (void)syscall(SYS_getrandom, &id, sizeof id, 0);
    }
    struct pt_text t;
    pt_text_init(&t, out, PATH, -1);
    pt_text_add(&t, "%s/%s.making-%x.%s", directory, name, lock < 0 ? id : 0, ending);
}

const char *cache_file_check(const char *path, struct pt_text *why)
{
    struct stat s;
    return lstat(path, &s) == 0 ? unsafe(&s, path, why) : NULL;
}

int cache_file_lock(void)
{
    static char path[PATH]; /* the one thread that wants the bridge comes here */
    cache_file_path(path, "bridge", "lock");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return -ENOLCK;
    }
    for (unsigned i = 0; i < PATIENCE_S * 50; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            return fd;
        }
        if (errno != EWOULDBLOCK && errno != EINTR) {
            close(fd);
            return -ENOLCK; /* some file systems of clusters */
        }
        pt_wait_pause(20000000);
    }
    close(fd);
    return -ETIMEDOUT;
}

bool cache_file_write(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno != EINTR) {
            return false;
        }
        p += done > 0 ? done : 0;
        n -= done > 0 ? (size_t)done : 0;
    }
    return true;
}

/* The checksum of a file's first `size` bytes: by words, in four rows that do not wait for each other, as a job's first block
 * waits for it. */
static bool sum(int fd, uint64_t size, uint64_t *out)
{
    static uint64_t buf[2048]; /* as above */
    uint64_t row[4] = {CACHE_FILE_HASH, CACHE_FILE_HASH + 1, CACHE_FILE_HASH + 2, CACHE_FILE_HASH + 3};
    for (uint64_t at = 0; at < size;) {
        size_t want = size - at < sizeof buf ? (size_t)(size - at) : sizeof buf, have = 0;
        for (ssize_t n; have < want; have += (size_t)n) {
            if ((n = pread(fd, (char *)buf + have, want - have, (off_t)(at + have))) <= 0) {
                return false;
            }
        }
        memset((char *)buf + have, 0, sizeof buf - have);
        for (size_t i = 0; i < sizeof buf / sizeof buf[0]; i++) {
            row[i % 4] = (row[i % 4] ^ buf[i] ^ row[i % 4] >> 32) * 0x9e3779b97f4a7c15u;
        }
        at += have;
    }
    *out = cache_file_hash(CACHE_FILE_HASH, row, sizeof row);
    return true;
}

bool cache_file_seal(const char *path)
{
    struct stat s;
    struct seal seal = {.magic = MAGIC};
    int fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC);
    bool sealed = fd >= 0 && fstat(fd, &s) == 0 && s.st_size > 0 && sum(fd, (uint64_t)s.st_size, &seal.sum);
    if (sealed) {
        seal.size = (uint64_t)s.st_size;
        sealed = fchmod(fd, 0700) == 0 && cache_file_write(fd, (const char *)&seal, sizeof seal);
    }
    if (fd >= 0) {
        close(fd);
    }
    return sealed;
}

bool cache_file_is_whole(const char *path)
{
    struct stat s;
    struct seal seal;
    uint64_t now;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    bool whole = fd >= 0 && fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && (uint64_t)s.st_size > sizeof seal &&
                 pread(fd, &seal, sizeof seal, s.st_size - (off_t)sizeof seal) == sizeof seal &&
                 memcmp(seal.magic, MAGIC, sizeof seal.magic) == 0 && seal.size == (uint64_t)s.st_size - sizeof seal &&
                 sum(fd, seal.size, &now) && now == seal.sum;
    if (fd >= 0) {
        close(fd);
    }
    return whole;
}
