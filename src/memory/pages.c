#include "memory/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

/* Where the kernel puts what it is free to choose grows by terabytes at most. */
#define FAR_AWAY   ((uintptr_t)16 << 40)
#define LOWEST     ((uintptr_t)64 << 30) /* below, programs and drivers choose addresses themselves */
#define FURTHER    ((uintptr_t)64 << 30)
#define TRIES_MOST 64

static struct {
    char *base;
    size_t len;
} shared;

static _Atomic uintptr_t reserved; /* all that is reserved lies above, for this process and those it was forked from */
static _Atomic bool by_mapping;

/* libc's own functions may be the preload's doors. */
static int advise(void *p, size_t len, int how)
{
    return syscall(SYS_madvise, p, len, how) == 0 ? 0 : -errno;
}

static int map_file_at(void *p, size_t len, int protection, int flags, int fd, off_t offset)
{
    flags |= by_mapping ? MAP_FIXED : MAP_FIXED_NOREPLACE;
    char *got = mmap(p, len, protection, flags, fd, offset);
    if (got == MAP_FAILED) {
        return -errno;
    }
    if (got != p) { /* kernels before 4.17 take the address for a hint */
        munmap(got, len);
        return -EEXIST;
    }
    return 0;
}

static int map_at(void *p, size_t len, int protection, int flags)
{
    return map_file_at(p, len, protection, flags | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static uintptr_t far_away(void)
{
    char here; /* the stack, or libc: whichever lies higher, the kernel gives out addresses around */
    uintptr_t top = (uintptr_t)&here > (uintptr_t)&mmap ? (uintptr_t)&here : (uintptr_t)&mmap;
    return (top - (top / 4 < FAR_AWAY ? top / 4 : FAR_AWAY)) & ~(PT_HUGE - 1);
}

/* Returns 0; -EEXIST: somebody has some of it; another errno: what was mapped to see that stays. */
static int look_whether_free(char *p, size_t len)
{
    int error = map_at(p, len, PROT_NONE, MAP_PRIVATE);
    if (error == 0 && munmap(p, len) != 0) {
        return -errno;
    }
    return error == -ENOMEM || error == -EAGAIN ? 0 : error; /* a limit refuses what is free */
}

static void *reserve(size_t len)
{
    for (unsigned tries = 0; tries < TRIES_MOST; tries++) {
        uintptr_t end = atomic_load(&reserved), from = end != 0 ? end : far_away();
        if (from < LOWEST || from - LOWEST < len) {
            return NULL;
        }
        if (!atomic_compare_exchange_strong(&reserved, &end, from - len)) {
            continue;
        }
        int error = look_whether_free((char *)from - len, len);
        if (error != -EEXIST) {
            return error == 0 ? (char *)from - len : NULL;
        }
        end = from - len;
        (void)atomic_compare_exchange_strong(&reserved, &end, end - (end < FURTHER ? 0 : FURTHER));
    }
    return NULL;
}

static void *reserve_by_mapping(size_t len)
{
    char *p = mmap(NULL, len + PT_HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        return NULL;
    }
    size_t skip = pt_pages_up((uintptr_t)p, PT_HUGE) - (uintptr_t)p;
    if (skip > 0) {
        munmap(p, skip);
    }
    if (skip < PT_HUGE) {
        munmap(p + skip + len, PT_HUGE - skip);
    }
    (void)advise(p + skip, len, MADV_DONTDUMP);
    return p + skip;
}

void *pt_pages_reserve(size_t len)
{
    len = pt_pages_up(len, PT_HUGE);
    return by_mapping ? reserve_by_mapping(len) : reserve(len);
}

void pt_pages_reserve_by_mapping(void)
{
    by_mapping = true;
}

void pt_pages_share(void *p, size_t len)
{
    shared.base = p;
    shared.len = len;
}

bool pt_pages_is_shared(const void *p)
{
    return (size_t)((const char *)p - shared.base) < shared.len;
}

int pt_pages_open(void *p, size_t len, bool dumped)
{
    int error = map_at(p, len, PROT_NONE, pt_pages_is_shared(p) ? MAP_SHARED : MAP_PRIVATE);
    if (error != 0) {
        return error;
    }
    /* After mlockall(MCL_FUTURE) it is marked as locked, and would be populated once it can be read. */
    (void)syscall(SYS_munlock, p, len);
    if (!dumped) {
        (void)advise(p, len, MADV_DONTDUMP);
    }
    if (syscall(SYS_mprotect, p, len, PROT_READ | PROT_WRITE) != 0) {
        error = -errno;
        munmap(p, len);
    }
    return error;
}

int pt_pages_open_book(void *p, size_t len)
{
    int error = map_at(p, len, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    if (error == 0) {
        (void)advise(p, len, MADV_DONTDUMP);
    }
    return error;
}

int pt_pages_open_wiped_book(void *p, size_t len)
{
    int error = pt_pages_open_book(p, len);
    if (error == 0) {
        (void)advise(p, len, MADV_WIPEONFORK);
    }
    return error;
}

int pt_pages_open_file(void *p, size_t len, int fd, off_t offset)
{
    /* What has no room on the disk would kill who writes it; so would going past the limit for files. */
    struct rlimit most;
    if (getrlimit(RLIMIT_FSIZE, &most) == 0 && (rlim_t)offset + len > most.rlim_cur) {
        return -EFBIG;
    }
    if (fallocate(fd, 0, offset, (off_t)len) != 0) {
        return -errno;
    }
    int error = map_file_at(p, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
    if (error == 0) {
        (void)advise(p, len, MADV_DONTDUMP);
    }
    return error;
}

void pt_pages_renew(void *p, size_t len)
{
    (void)mmap(p, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

void *pt_pages_scratch(size_t len)
{
    void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p != MAP_FAILED ? p : NULL;
}

void pt_pages_scratch_end(void *p, size_t len)
{
    munmap(p, len);
}

void pt_pages_want_huge(void *p, size_t len)
{
    (void)advise(p, len, MADV_HUGEPAGE);
}

void pt_pages_make_huge(void *p, size_t len)
{
    volatile char *first = (char *)pt_pages_up((uintptr_t)p, PT_HUGE);
    char *end = (char *)(((uintptr_t)p + len) & ~(PT_HUGE - 1));
    if (end <= first) {
        return;
    }
    for (volatile char *at = first; at < end; at += PT_HUGE) {
        *at = 0; /* only what is present can be collapsed */
    }
    (void)advise((void *)first, (size_t)(end - first), MADV_COLLAPSE);
}

void pt_pages_make_present(void *p, size_t len)
{
    (void)advise(p, len, MADV_POPULATE_WRITE);
}

int pt_pages_claim(void *p, size_t len)
{
    return syscall(SYS_mlock2, p, len, MLOCK_ONFAULT) == 0 ? 0 : -errno;
}

int pt_pages_lock(void *p, size_t len)
{
    if (len == 0 || syscall(SYS_mlock, p, len) == 0) {
        return 0;
    }
    int error = -errno;
    /* A lock that failed half way leaves the range marked as locked and partly populated. */
    (void)pt_pages_unlock(p, len);
    return error;
}

int pt_pages_lock_again(void *p, size_t len)
{
    return syscall(SYS_mlock, p, len) == 0 ? 0 : -errno;
}

int pt_pages_plain(void *p, size_t len, bool dumped)
{
    enum { READ_WRITE = PROT_READ | PROT_WRITE, MERGE_NO_MORE = 13, GUARD_REMOVE = 103 };
    if (syscall(SYS_pkey_mprotect, p, len, READ_WRITE, 0) != 0 && syscall(SYS_mprotect, p, len, READ_WRITE) != 0) {
        return -errno;
    }
    (void)advise(p, len, MADV_NORMAL);
    (void)advise(p, len, MADV_HUGEPAGE);
    (void)advise(p, len, MERGE_NO_MORE);
    (void)advise(p, len, GUARD_REMOVE);
    (void)advise(p, len, dumped ? MADV_DODUMP : MADV_DONTDUMP);
    (void)advise(p, len, MADV_KEEPONFORK);
    (void)syscall(SYS_mbind, p, len, 0, NULL, 0, 0); /* MPOL_DEFAULT */
    return advise(p, len, MADV_DOFORK);
}

/* Other pages in the place of these, whose lock goes with them. */
static int replace(void *p, size_t len)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    if (pt_pages_is_shared(p) || mmap(p, len, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED) {
        return -ENOMEM;
    }
    (void)advise(p, len, MADV_DONTDUMP);
    (void)advise(p, len, MADV_HUGEPAGE);
    return 0;
}

int pt_pages_unlock(void *p, size_t len)
{
    if (len == 0) {
        return 0;
    }
    if (syscall(SYS_munlock, p, len) != 0) {
        return replace(p, len);
    }
    pt_pages_discard(p, len);
    return 0;
}

void pt_pages_discard(void *p, size_t len)
{
    (void)advise(p, len, pt_pages_is_shared(p) ? MADV_REMOVE : MADV_DONTNEED);
}

void pt_pages_unlock_keep(void *p, size_t len)
{
    if (len > 0) {
        (void)syscall(SYS_munlock, p, len);
    }
}

void *pt_pages_owner_mark(bool *wiped)
{
    void *p = mmap(NULL, PT_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *wiped = p != MAP_FAILED && advise(p, PT_PAGE, MADV_WIPEONFORK) == 0;
    return p != MAP_FAILED ? p : NULL;
}
