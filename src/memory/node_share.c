#include "memory/node_share.h"

#include "base/process.h"
#include "base/sandbox.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC      0x31444f4e544e4950u /* "PINTNOD1" */
#define SIZE       ((size_t)16 << 10)
#define SLOTS      (SIZE / sizeof(struct slot) - 1)
#define BYTES_MOST ((uint64_t)1 << 46) /* no machine has more: what says so is taken for this much */

/* Whose a slot is: the process's number, and when it was started. Until what its last owner left there is gone, it does
 * not count. 0: nobody's. */
#define COUNTS_NOT_YET ((uint64_t)1 << 63)

struct slot {
    _Atomic uint64_t who, bytes;
};

struct shares {
    _Atomic uint64_t magic, used; /* `used`: slots that were ever taken lie below */
    struct slot slot[SLOTS];
};
_Static_assert(sizeof(struct shares) == SIZE, "the file's size is fixed");

/* Written while one thread sets up; `mine` by each that finds it is another's. */
static struct {
    struct shares *shares;
    uint64_t me;
    _Atomic(struct slot *) mine;
    _Atomic uint64_t bytes; /* what the slot says, or should */
    char path[64];
} state;

const char *pt_node_share_folder = "/dev/shm";

const char *pt_node_share_file(void)
{
    return state.path;
}

/* ---- the file ---- */

/* Processes that do not see each other's numbers have files of their own: nobody could tell who is alive. */
static void name_file(void)
{
    struct stat space;
    struct pt_text t;
    pt_text_init(&t, state.path, sizeof state.path, -1);
    uint64_t number = stat("/proc/self/ns/pid", &space) == 0 ? space.st_ino : 0;
    pt_text_add(&t, "%s/pintensor-%u-%llu", pt_node_share_folder, (unsigned)geteuid(), number);
}

/* Anybody may have put anything there under this name. */
static int check(int fd)
{
    struct stat is;
    if (fstat(fd, &is) != 0) {
        return -errno;
    }
    if (!S_ISREG(is.st_mode) || (is.st_size != 0 && is.st_size != (off_t)SIZE)) {
        return -EBADF;
    }
    return is.st_uid != geteuid() || (is.st_mode & 077) != 0 || is.st_nlink > 1 ? -EACCES : 0;
}

/* What has no room there would kill who writes it; so would going past the limit for files. */
static int make_room(int fd)
{
    struct rlimit most;
    if (getrlimit(RLIMIT_FSIZE, &most) == 0 && most.rlim_cur < SIZE) {
        return -EFBIG;
    }
    return fallocate(fd, 0, 0, (off_t)SIZE) == 0 ? 0 : -errno;
}

static int map(int fd)
{
    int error = check(fd);
    if (error == 0) {
        error = make_room(fd);
    }
    if (error != 0) {
        return error;
    }
    struct shares *s = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (s == MAP_FAILED) {
        return -errno;
    }
    uint64_t none = 0;
    if (!atomic_compare_exchange_strong(&s->magic, &none, MAGIC) && none != MAGIC) {
        munmap(s, SIZE);
        return -EBADF;
    }
    state.shares = s;
    return 0;
}

static int open_file(void)
{
    int fd = open(state.path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
    if (fd < 0) {
        return -errno;
    }
    int error = map(fd);
    close(fd);
    return error;
}

/* ---- slots ---- */

static size_t used(void)
{
    uint64_t n = atomic_load_explicit(&state.shares->used, memory_order_relaxed);
    return n < SLOTS ? n : SLOTS;
}

static void note_used(size_t at)
{
    uint64_t n = atomic_load(&state.shares->used);
    while (n <= at && !atomic_compare_exchange_weak(&state.shares->used, &n, at + 1)) {
    }
}

static uint64_t identity(int pid)
{
    uint64_t ticks = pt_process_start_ticks(pid);
    return ticks != 0 ? ((uint64_t)pid << 32 | (uint32_t)ticks) & ~COUNTS_NOT_YET : 0;
}

/* A free slot, or the one that this process had before it called exec(). */
static struct slot *take_slot(void)
{
    struct slot *slot = state.shares->slot;
    for (size_t i = 0; i < SLOTS; i++) {
        if (atomic_load(&slot[i].who) == state.me) {
            return &slot[i];
        }
    }
    for (size_t i = 0; i < SLOTS; i++) {
        uint64_t nobody = 0;
        if (atomic_compare_exchange_strong(&slot[i].who, &nobody, state.me | COUNTS_NOT_YET)) {
            note_used(i);
            return &slot[i];
        }
    }
    return NULL;
}

static bool have_slot(void)
{
    struct slot *s = take_slot();
    if (s != NULL) {
        atomic_store(&s->bytes, atomic_load(&state.bytes));
        atomic_store(&s->who, state.me);
        atomic_store(&state.mine, s);
    }
    return s != NULL;
}

bool pt_node_share_sweep(void)
{
    bool any = false;
    if (!pt_sandbox_may_open()) {
        return false;
    }
    for (size_t i = 0; i < used(); i++) {
        struct slot *s = &state.shares->slot[i];
        uint64_t who = atomic_load(&s->who), is = who & ~COUNTS_NOT_YET;
        if (who != 0 && is != state.me && identity((int)(is >> 32)) != is) {
            any = atomic_compare_exchange_strong(&s->who, &who, 0) || any;
        }
    }
    return any;
}

/* A parent's mapping is left alone: whoever forked may be in the middle of it. */
int pt_node_share_join(void)
{
    name_file();
    state.shares = NULL;
    state.mine = NULL;
    state.bytes = 0;
    if (!pt_sandbox_may_open()) {
        return -EPERM;
    }
    state.me = identity((int)getpid());
    if (state.me == 0) {
        return -ENOENT; /* no /proc */
    }
    int error = open_file();
    if (error != 0) {
        return error;
    }
    return have_slot() || (pt_node_share_sweep() && have_slot()) ? 0 : -EUSERS;
}

/* If somebody has written over the file, the slot is taken anew, with all that this process has. */
static struct slot *mine(void)
{
    static _Atomic bool taking;
    struct slot *s = atomic_load(&state.mine);
    if (atomic_load(&s->who) == state.me) {
        return s;
    }
    if (!atomic_exchange(&taking, true)) {
        (void)have_slot();
        atomic_store(&taking, false);
    }
    return NULL;
}

void pt_node_share_add(size_t len)
{
    atomic_fetch_add(&state.bytes, len);
    struct slot *s = mine();
    if (s != NULL) {
        atomic_fetch_add(&s->bytes, len);
    }
}

void pt_node_share_sub(size_t len)
{
    atomic_fetch_sub(&state.bytes, len);
    struct slot *s = mine();
    if (s != NULL) {
        atomic_fetch_sub(&s->bytes, len);
    }
}

size_t pt_node_share_all(void)
{
    size_t sum = atomic_load(&state.bytes);
    for (size_t i = 0; i < used(); i++) {
        const struct slot *s = &state.shares->slot[i];
        uint64_t who = atomic_load(&s->who), bytes = atomic_load(&s->bytes);
        bool counts = who != 0 && who != state.me && (who & COUNTS_NOT_YET) == 0;
        sum += !counts ? 0 : bytes < BYTES_MOST ? bytes : BYTES_MOST;
    }
    return sum;
}
