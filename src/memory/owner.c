#include "memory/owner.h"

#include "base/sandbox.h"
#include "base/thread.h"
#include "memory/pages.h"

#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* Zero, as a wiped page reads, is NEW. */
enum { NEW, STARTING, READY, REFUSED };

struct mark {
    _Atomic int state, pid;
    char seen_as[16]; /* its pid as /proc tells it: in a child's new namespace numbers begin anew, there they do not */
};

/* Empty where there is no /proc, or one of other processes', or where who looks may be killed for it. */
static void see(char out[static 16])
{
    ssize_t len = !pt_sandbox_may_open() ? 0 : readlink("/proc/self", out, 15);
    out[len > 0 ? len : 0] = '\0';
}

static _Atomic(struct mark *) page;
static _Atomic uint32_t epoch; /* how often this was set up: again in forked children, whose threads have other numbers */

/* Where the kernel does not wipe the page (before 4.14, in some sandboxes), two other proofs stand in: a fork handler, which
 * any fork() of libc's runs, and the pid, for children that were made past libc. */
static _Atomic bool unwiped;

static void forget_in_child(void)
{
    struct mark *m = atomic_load(&page);
    if (m != NULL) {
        atomic_store(&m->state, NEW); /* on this child's own copy of the page */
    }
}

static struct mark *mark(void)
{
    struct mark *m = atomic_load_explicit(&page, memory_order_acquire);
    if (m == NULL) {
        bool wiped;
        struct mark *fresh = pt_pages_owner_mark(&wiped);
        if (fresh == NULL || (!wiped && pt_thread_at_fork(NULL, NULL, forget_in_child) != 0)) {
            return NULL;
        }
        if (!wiped) {
            atomic_store(&unwiped, true);
        }
        if (atomic_compare_exchange_strong(&page, &m, fresh)) {
            m = fresh; /* else another thread was faster: its page counts, ours is one page lost */
        }
    }
    return m;
}

/* Whether what the mark says was said in this process. */
static bool is_mine(const struct mark *m)
{
    return !atomic_load_explicit(&unwiped, memory_order_relaxed) || atomic_load(&m->pid) == (int)getpid();
}

/* A child that was made past libc finds its parent's word: it begins anew. */
static void forget_anothers(struct mark *m)
{
    int state = atomic_load(&m->state);
    if (state != NEW && !is_mine(m)) {
        atomic_store(&m->state, NEW);
    }
}

enum pt_owner_turn pt_owner_begin(void)
{
    struct mark *m = mark();
    if (m == NULL) {
        return PT_OWNER_REFUSED;
    }
    forget_anothers(m);
    int state = NEW;
    if (atomic_compare_exchange_strong(&m->state, &state, STARTING)) {
        atomic_store(&m->pid, (int)getpid());
        see(m->seen_as);
        epoch++;
        return PT_OWNER_YOURS;
    }
    while (state == STARTING) {
        sched_yield();
        state = atomic_load(&m->state);
    }
    return state == READY ? PT_OWNER_READY : PT_OWNER_REFUSED;
}

void pt_owner_done(bool works)
{
    atomic_store(&mark()->state, works ? READY : REFUSED);
}

bool pt_owner_owns(void)
{
    struct mark *m = atomic_load_explicit(&page, memory_order_acquire);
    return m != NULL && atomic_load_explicit(&m->state, memory_order_acquire) == READY && is_mine(m);
}

bool pt_owner_owns_strictly(void)
{
    if (!pt_owner_owns() || atomic_load(&page)->pid != (int)getpid()) {
        return false;
    }
    char now[16];
    const char *then = atomic_load(&page)->seen_as;
    see(now);
    return then[0] == '\0' || now[0] == '\0' || strcmp(then, now) == 0;
}

uint32_t pt_owner_thread(void)
{
    static __thread struct {
        uint32_t epoch, id;
    } mine;
    uint32_t now = atomic_load_explicit(&epoch, memory_order_relaxed);
    if (mine.epoch != now) {
        mine.epoch = now;
        mine.id = (uint32_t)syscall(SYS_gettid);
    }
    return mine.id;
}
