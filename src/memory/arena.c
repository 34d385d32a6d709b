#include "memory/arena.h"

#include "base/sandbox.h"
#include "base/thread.h"
#include "memory/jemalloc_thread.h"
#include "memory/pages.h"
#include "memory/segments.h"
#include "memory/spares.h"

#include <errno.h>
#include <jemalloc/jemalloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define STACK_ENOUGH 65536

/* Ours alone: jemalloc is linked statically with every name hidden, so a jemalloc that the program uses is
 * another one. No retained-extent growth (our hooks decide how much to lock ahead), no thread caches (they
 * would hide freed blocks from the limits), and no decay but what we ask for. */
const char *malloc_conf = "retain:false,narenas:1,tcache:false,dirty_decay_ms:-1,muzzy_decay_ms:0";

/* No thread is inside jemalloc while this process forks, nor in the middle of setting us up: the child would wait for
 * ever for a lock that nobody holds there, or go on with what is half made. A writer goes first, or steady traffic would
 * hold fork() up. */
static pthread_rwlock_t gate = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

/* How often this thread has entered: a signal handler that forks in there must not wait. */
static __thread volatile int inside;

/* This thread forks, and has the gate for itself. Handlers of the program that were registered before ours run meanwhile,
 * and may pin: they pass. */
static __thread volatile bool shut;

/* Between the handlers before and after a fork, in either process. */
static bool forking;

/* This process was forked from the inside, by such a handler or past libc: there is no jemalloc here. */
static bool cut_off;

static _Atomic int gate_of; /* pid; 0: nobody's so far */

/* Of jemalloc's own handlers the one for the child is called, which makes its locks anew. The others would lock all of
 * them (but the radix tree's, in 5.3.0) while handlers of the program run; and nobody is inside. */
static void (*jemalloc_in_child)(void);

int pt_jemalloc_atfork(void (*before)(void), void (*parent)(void), void (*child)(void)); /* Makefile.am: pthread_atfork */
int pt_jemalloc_atfork(void (*before)(void), void (*parent)(void), void (*child)(void))
{
    (void)before;
    (void)parent;
    jemalloc_in_child = child;
    return 0;
}

static void pass_gate(void)
{
    if (!shut && inside++ == 0) {
        pthread_rwlock_rdlock(&gate);
    }
}

static void leave_gate(void)
{
    if (!shut && inside == 1) {
        pthread_rwlock_unlock(&gate);
    }
    if (!shut && inside > 0) { /* only now may a handler's fork wait; 0: in a child that one made here and returned in */
        inside--;
    }
}

static void enter(void)
{
    pass_gate();
    pt_jemalloc_thread_enter();
}

static void leave(void)
{
    pt_jemalloc_thread_leave();
    leave_gate();
}

static void before_fork(void)
{
    shut = inside == 0 && !cut_off && pthread_rwlock_wrlock(&gate) == 0;
    forking = true;
}

static void after_fork(void)
{
    forking = false;
    if (shut) {
        shut = false;
        pthread_rwlock_unlock(&gate);
    }
}

/* Once: when the child begins to use the arena, be it in a handler of the program's that runs before this one. */
static void after_fork_in_child(void)
{
    if (!forking) {
        return;
    }
    forking = false;
    if (shut && jemalloc_in_child != NULL) {
        jemalloc_in_child();
    }
    cut_off = cut_off || !shut;
    shut = false;
    inside = 0;
    gate = (pthread_rwlock_t)PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
    gate_of = (int)getpid();
}

/* A child that was made past libc has its parent's gate as it was at that moment. */
static int own_gate(void)
{
    int pid = (int)getpid(), before = atomic_exchange(&gate_of, pid);
    bool other = before != 0 && before != pid;
    if (other && shut) {
        after_fork_in_child();
    } else if (other) {
        cut_off = cut_off || pthread_rwlock_trywrlock(&gate) != 0;
        inside = 0;
        gate = (pthread_rwlock_t)PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
    }
    return cut_off ? -EDEADLK : 0;
}

int pt_arena_shut_out_forks(void)
{
    static bool done; /* children inherit it */
    int error = done ? 0 : pt_thread_at_fork(before_fork, after_fork, after_fork_in_child);
    done = done || error == 0;
    error = error != 0 ? -error : own_gate();
    if (error == 0) {
        pass_gate();
    }
    return error;
}

void pt_arena_let_forks_in(void)
{
    leave_gate();
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

static bool small_decommit(extent_hooks_t *h, void *p, size_t size, size_t offset, size_t len, unsigned arena)
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

static void *wake(void *unused)
{
    const char *version;
    size_t len = sizeof version;
    pt_jemalloc_thread_enter(); /* who waits for this has passed the gate */
    (void)mallctl("version", &version, &len, NULL, 0);
    pt_jemalloc_thread_leave();
    return unused;
}

/* A thread that is not the first may have a stack of 16 KiB, and a limit may leave the first one no more. */
static bool may_have_a_small_stack(void)
{
    struct rlimit stack;
    return syscall(SYS_gettid) != getpid() || (getrlimit(RLIMIT_STACK, &stack) == 0 && stack.rlim_cur < STACK_ENOUGH);
}

/* jemalloc's first call takes 8 KiB of stack, all others less than 2. Another thread does it where that may be too
 * much, unless the program may be killed for a thread. */
static void wake_on_a_large_stack(void)
{
    pthread_t other;
    if (!pt_sandbox_entered() && may_have_a_small_stack() && pt_thread_start(&other, wake, NULL)) {
        (void)pthread_join(other, NULL);
    }
}

int pt_arena_init(void)
{
    pt_spares_init();
    wake_on_a_large_stack();
    enter();
    int error = create(&state.arena);
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

/* It takes no lock of jemalloc's, once that knows the thread. */
static size_t usable_size(size_t size, int flags)
{
    if (pt_jemalloc_thread_is_known()) {
        return nallocx(size, flags);
    }
    enter();
    size_t usable = nallocx(size, flags);
    leave();
    return usable;
}

void *pt_arena_small(size_t size, size_t align, size_t *usable)
{
    int flags = MALLOCX_ARENA(state.arena) | MALLOCX_TCACHE_NONE | MALLOCX_ALIGN(align);
    *usable = usable_size(size, flags);
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
