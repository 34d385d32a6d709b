#include "memory/pages.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

static struct {
    char *base;
    size_t len;
} shared;

void *pt_pages_reserve(size_t len)
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
    return p + skip;
}

void *pt_pages_reserve_shared(size_t len)
{
    char *p = pt_pages_reserve(len);
    if (p == NULL) {
        return NULL;
    }
    /* Over the aligned range, so that offset 0 lies at an aligned address. */
    int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    if (mmap(p, len, PROT_NONE, flags, -1, 0) == MAP_FAILED) {
        munmap(p, len);
        return NULL;
    }
    shared.base = p;
    shared.len = len;
    return p;
}

bool pt_pages_is_shared(const void *p)
{
    return (size_t)((const char *)p - shared.base) < shared.len;
}

int pt_pages_open(void *p, size_t len)
{
    return mprotect(p, len, PROT_READ | PROT_WRITE) == 0 ? 0 : -errno;
}

void *pt_pages_book(size_t len)
{
    void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        return NULL;
    }
    (void)madvise(p, len, MADV_WIPEONFORK);
    return p;
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
    (void)madvise(p, len, MADV_HUGEPAGE);
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
    (void)madvise((void *)first, (size_t)(end - first), MADV_COLLAPSE);
}

void pt_pages_make_present(void *p, size_t len)
{
    (void)madvise(p, len, MADV_POPULATE_WRITE);
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
    pt_pages_unlock(p, len);
    return error;
}

void pt_pages_unlock(void *p, size_t len)
{
    if (len > 0) {
        (void)syscall(SYS_munlock, p, len);
        pt_pages_discard(p, len);
    }
}

void pt_pages_discard(void *p, size_t len)
{
    (void)madvise(p, len, pt_pages_is_shared(p) ? MADV_REMOVE : MADV_DONTNEED);
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
    *wiped = p != MAP_FAILED && madvise(p, PT_PAGE, MADV_WIPEONFORK) == 0;
    return p != MAP_FAILED ? p : NULL;
}
