/* libc's calls that change how memory is treated. Those on blocks of ours are remembered, so that the next user of the
 * memory does not meet what another one asked for; all others go on to libc's own, at the price of a comparison. */
#include "pool/attributes.h"
#include "stock.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DOOR __attribute__((visibility("default")))

/* Looked up before others can be at it; whoever calls earlier, or where libc has no such function, gets the kernel's.
 */
enum { MADVISE, MPROTECT, PKEY_MPROTECT, MBIND, MUNLOCK, MUNLOCKALL, COUNT };
static const char *const names[COUNT] = {"madvise", "mprotect", "pkey_mprotect", "mbind", "munlock", "munlockall"};
static void *next[COUNT];

__attribute__((constructor)) static void look_up(void)
{
    (void)stock_next(names, next, COUNT);
}

#define CALL(which, type, number, ...)                                                                                 \
    (next[which] != NULL ? ((type *)next[which])(__VA_ARGS__) : syscall(number, __VA_ARGS__))

typedef int madvise_function(void *, size_t, int);
typedef int mprotect_function(void *, size_t, int);
typedef int pkey_mprotect_function(void *, size_t, int, int);
typedef long mbind_function(void *, unsigned long, int, const unsigned long *, unsigned long, unsigned);
typedef int munlock_function(const void *, size_t);

static bool begin(const void *p, size_t len)
{
    return pt_attributes_concern(p, len) && pt_attributes_begin((void *)p, len);
}

static void end(bool rest, const void *p, size_t len)
{
    if (rest) {
        int error = errno;
        pt_attributes_end((void *)p, len);
        errno = error;
    }
}

/* Those that concern what lies in the memory, and leave no trace. */
static bool is_passing(int advice)
{
    enum { COLD = 20, PAGEOUT = 21, POPULATE_READ = 22, POPULATE_WRITE = 23, DONTNEED_LOCKED = 24, COLLAPSE = 25 };
    switch (advice) {
    case MADV_WILLNEED:
    case MADV_DONTNEED:
    case MADV_FREE:
    case MADV_REMOVE:
    case COLD:
    case PAGEOUT:
    case POPULATE_READ:
    case POPULATE_WRITE:
    case DONTNEED_LOCKED:
    case COLLAPSE: return true;
    default: return false;
    }
}

DOOR int madvise(void *p, size_t len, int advice)
{
    bool rest = !is_passing(advice) && begin(p, len);
    int result = (int)CALL(MADVISE, madvise_function, SYS_madvise, p, len, advice);
    end(rest, p, len);
    return result;
}

DOOR int mprotect(void *p, size_t len, int protection)
{
    bool rest = begin(p, len);
    int result = (int)CALL(MPROTECT, mprotect_function, SYS_mprotect, p, len, protection);
    end(rest, p, len);
    return result;
}

DOOR int pkey_mprotect(void *p, size_t len, int protection, int key)
{
    bool rest = begin(p, len);
    int result = (int)CALL(PKEY_MPROTECT, pkey_mprotect_function, SYS_pkey_mprotect, p, len, protection, key);
    end(rest, p, len);
    return result;
}

/* libnuma's. */
DOOR long mbind(void *p, unsigned long len, int mode, const unsigned long *nodes, unsigned long most, unsigned flags);
long mbind(void *p, unsigned long len, int mode, const unsigned long *nodes, unsigned long most, unsigned flags)
{
    bool rest = begin(p, len);
    long result = CALL(MBIND, mbind_function, SYS_mbind, p, len, mode, nodes, most, flags);
    end(rest, p, len);
    return result;
}

DOOR int munlock(const void *p, size_t len)
{
    bool rest = begin(p, len);
    int result = (int)CALL(MUNLOCK, munlock_function, SYS_munlock, p, len);
    end(rest, p, len);
    return result;
}

DOOR int munlockall(void)
{
    int result = next[MUNLOCKALL] != NULL ? ((int (*)(void))next[MUNLOCKALL])() : (int)syscall(SYS_munlockall);
    int error = errno;
    pt_attributes_unlocked_all();
    errno = error;
    return result;
}
