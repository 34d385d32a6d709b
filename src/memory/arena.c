#include "memory/arena.h"

#include "base/sandbox.h"
#include "base/thread.h"
#include "memory/pages.h"
#include "memory/segments.h"
#include "memory/spares.h"

#include <errno.h>
#include <jemalloc/jemalloc.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* In place of pthread_atfork(): Makefile.am renames jemalloc's call. */
int pt_jemalloc_atfork(void (*before)(void), void (*parent)(void), void (*child)(void));

#define STACK_ENOUGH 65536

/* Ours alone: jemalloc is linked statically with every name hidden, so a jemalloc that the program uses is
 * another one. No retained-extent growth (our hooks decide how much to lock ahead), no thread caches (they
 * would hide freed blocks from the limits), and no decay but what we ask for. */
const char *malloc_conf = "retain:false,narenas:1,tcache:false,dirty_decay_ms:-1,muzzy_decay_ms:0";

/* jemalloc 5.3.0 does not take its radix tree's lock before a fork: a child forked while another thread grows the tree would
 * wait for it for ever. So no thread is inside jemalloc while this process forks. A writer goes first, or steady traffic
 * would hold fork() up. Calls do not nest. */
static pthread_rwlock_t gate = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

/* This thread forks, hence has the gate for itself. Handlers of the program that were registered before ours run inside of
 * them, and may pin: they pass. So jemalloc must not lock everything for the fork, and need not: nobody else is inside. */
static _Thread_local bool forking;
static void (*jemalloc_in_child)(void);

static void enter(void)
{
    if (!forking) {
        pthread_rwlock_rdlock(&gate);
    }
}

static void leave(void)
{
    if (!forking) {
        pthread_rwlock_unlock(&gate);
    }
}

static void before_fork(void)
{
    pthread_rwlock_wrlock(&gate);
    forking = true;
}

static void after_fork_in_parent(void)
{
    forking = false;
    pthread_rwlock_unlock(&gate);
}

/* Once: when the child begins to use the arena, be it in a handler of the program's that runs before this one. */
static void after_fork_in_child(void)
{
    if (forking) {
        forking = false;
        gate = (pthread_rwlock_t)PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
        if (jemalloc_in_child != NULL) {
            jemalloc_in_child(); /* threads that ended or stayed behind may have held locks of its own */
        }
    }
}

int pt_jemalloc_atfork(void (*before)(void), void (*parent)(void), void (*child)(void))
{
    (void)before;
    (void)parent;
    jemalloc_in_child = child;
    return 0;
}

static void *small_alloc(extent_hooks_t *h, void *at, size_t size, size_t align, bool *zero, bool *commit,
                         unsigned arena)
{
    (void)h;
    (void)arena;
    if (at != NULL) {
        return NULL;
    }
    *zero = *commit = true;
    return pt_segments_take_small(size, align);
}

/* jemalloc's "decommit" is our unlock: a purged run leaves the locked memory, its addresses stay. */
static bool small_commit(extent_hooks_t *h, void *p, size_t size, size_t offset, size_t len, unsigned arena)
{
    (void)h;
    (void)size;
    (void)arena;
    return pt_segments_relock((char *)p + offset, len) != 0;
}

static bool small_decommit(extent_hooks_t *h, void *p, size_t size, size_t offset, size_t len,
                           unsigned arena)
{
    (void)h;
    (void)size;
    (void)arena;
    pt_segments_unlock((char *)p + offset, len);
    return false;
}

/* Never refuse a split: jemalloc 5.3.0 abandons the memory then. */
static bool split(extent_hooks_t *h, void *p, size_t size, size_t a, size_t b, bool committed, unsigned arena)
{
    (void)h;
    (void)p;
    (void)size;
    (void)a;
    (void)b;
    (void)committed;
    (void)arena;
    return false;
}

/* Neighbouring segments are one stretch of addresses; but a copy to or from a device must not cross from one
 * registration into another. */
static bool merge(extent_hooks_t *h, void *a, size_t size_a, void *b, size_t size_b, bool committed, unsigned arena)
{
    (void)h;
    (void)size_a;
    (void)size_b;
    (void)committed;
    (void)arena;
    return !pt_segments_joined(a < b ? b : a);
}

static extent_hooks_t hooks = {
    .alloc = small_alloc, .commit = small_commit, .decommit = small_decommit, .split = split, .merge = merge};

/* Written once, before the first block. */
static struct {
    unsigned arena;
    size_t purge[3], decay[3], idle[3];
    size_t mib_len;
} state;

/* jemalloc's own book-keeping must not come from locked segments: arenas_create_ext (5.3) can say so. Without it
 * (5.2) create with the default hooks, whose memory serves the first book-keeping, and set ours after. */
static int create(unsigned *arena)
{
    struct {
        extent_hooks_t *hooks;
        bool metadata_use_hooks;
    } config = {&hooks, false};
    size_t len = sizeof *arena;
    if (mallctl("experimental.arenas_create_ext", arena, &len, &config, sizeof config) == 0) {
        return 0;
    }
    int error = mallctl("arenas.create", arena, &len, NULL, 0);
    size_t mib[3], mib_len = 3;
    if (error == 0 && (error = mallctlnametomib("arena.0.extent_hooks", mib, &mib_len)) == 0) {
        mib[1] = *arena;
        error = mallctlbymib(mib, mib_len, NULL, NULL, &config.hooks, sizeof config.hooks);
    }
    return -error;
}

static int name_to_mib(const char *name, size_t mib[3])
{
    state.mib_len = 3;
    int error = mallctlnametomib(name, mib, &state.mib_len);
    mib[1] = state.arena;
    return -error;
}

static int watch_forks(void)
{
    static bool done; /* children inherit it */
    int error = done ? 0 : pt_thread_at_fork(before_fork, after_fork_in_parent, after_fork_in_child);
    done = done || error == 0;
    return -error;
}

static void *wake(void *unused)
{
    const char *version;
    size_t len = sizeof version;
    (void)mallctl("version", &version, &len, NULL, 0);
    return unused;
}

/* A thread that is not the first may have a stack of 16 KiB, and a limit may leave the first one no more. */
static bool may_have_a_small_stack(void)
{
    struct rlimit stack;
    return syscall(SYS_gettid) != getpid() || (getrlimit(RLIMIT_STACK, &stack) == 0 && stack.rlim_cur < STACK_ENOUGH);
}

/* jemalloc's first call takes 8 KiB of stack, all others less than 2. Another thread does it where that may be too much, unless
 * the program may be killed for a thread. */
static void wake_on_a_large_stack(void)
{
    pthread_t other;
    if (!pt_sandbox_entered() && may_have_a_small_stack() && pt_thread_start(&other, wake, NULL)) {
        (void)pthread_join(other, NULL);
    }
}

int pt_arena_init(void)
{
    after_fork_in_child();
    pt_spares_init();
    int error = watch_forks();
    if (error != 0) {
        return error;
    }
    enter();
    wake_on_a_large_stack();
    error = create(&state.arena);
    if (error == 0) {
        error = name_to_mib("arena.0.purge", state.purge);
    }
    if (error == 0) {
        error = name_to_mib("arena.0.decay", state.decay);
    }
    if (error == 0) {
        error = name_to_mib("arena.0.dirty_decay_ms", state.idle);
    }
    leave();
    return error;
}

/* ---- allocating ---- */

struct request {
    size_t size;
    int flags;
    void *got;
};

static void *ask(void *request)
{
    struct request *q = request;
    enter();
    q->got = mallocx(q->size, q->flags);
    leave();
    return NULL;
}

static bool is_ours(const void *p)
{
    const struct pt_range *r = pt_segments_range();
    return (size_t)((const char *)p - r->base) < r->small;
}

/* In a thread whose thread-specific data are being destroyed jemalloc takes no notice of the arena that is asked for: what it
 * gives then is not ours. A thread of our own asks instead. */
static void *allocate(size_t size, int flags)
{
    struct request q = {.size = size, .flags = flags};
    ask(&q);
    if (q.got == NULL || is_ours(q.got)) {
        return q.got;
    }
    enter();
    dallocx(q.got, MALLOCX_TCACHE_NONE);
    leave();
    pthread_t thread;
    q.got = NULL;
    if (!pt_sandbox_entered() && pt_thread_start(&thread, ask, &q)) {
        pthread_join(thread, NULL);
    }
    return q.got != NULL && is_ours(q.got) ? q.got : NULL;
}

void *pt_arena_small(size_t size, size_t align, size_t *usable)
{
    int flags = MALLOCX_ARENA(state.arena) | MALLOCX_TCACHE_NONE | MALLOCX_ALIGN(align);
    *usable = nallocx(size, flags);
    void *p = pt_spares_take(*usable, align);
    p = p != NULL ? p : allocate(size, flags);
    *usable = p != NULL ? *usable : 0;
    return p;
}

static void release(void *p)
{
    enter();
    dallocx(p, MALLOCX_ARENA(state.arena) | MALLOCX_TCACHE_NONE);
    leave();
}

void pt_arena_small_free(void *p)
{
    enter();
    size_t usable = sallocx(p, 0);
    leave();
    if (usable > PT_ARENA_SLAB_MOST || !pt_spares_put(p, usable)) {
        release(p);
    }
}

static void release_spares(void)
{
    for (void *p; (p = pt_spares_take_any()) != NULL;) {
        release(p);
    }
}

void pt_arena_small_decay(void)
{
    release_spares();
    enter();
    (void)mallctlbymib(state.decay, state.mib_len, NULL, NULL, NULL, 0);
    leave();
    pt_segments_sweep(false);
}

void pt_arena_small_purge(void)
{
    release_spares();
    enter();
    (void)mallctlbymib(state.purge, state.mib_len, NULL, NULL, NULL, 0);
    leave();
    pt_segments_sweep(true);
}

void pt_arena_small_idle(size_t seconds)
{
    ssize_t ms = (ssize_t)(seconds * 1000);
    enter();
    (void)mallctlbymib(state.idle, state.mib_len, NULL, NULL, &ms, sizeof ms);
    leave();
}
