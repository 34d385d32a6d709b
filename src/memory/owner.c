#include "memory/owner.h"

#include "memory/pages.h"

#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* Zero, as a wiped page reads, is NEW. */
enum { NEW, STARTING, READY, REFUSED };

struct mark {
    _Atomic int state, pid;
};

static _Atomic(struct mark *) page;
static _Atomic uint32_t epoch; /* how often this was set up: again in forked children, whose threads have other numbers */

static struct mark *mark(void)
{
    struct mark *m = atomic_load_explicit(&page, memory_order_acquire);
    if (m == NULL) {
        struct mark *fresh = pt_pages_owner_mark();
        if (fresh == NULL) {
            return NULL;
        }
        if (atomic_compare_exchange_strong(&page, &m, fresh)) {
            m = fresh; /* else another thread was faster: its page counts, ours is one page lost */
        }
    }
    return m;
}

enum pt_owner_turn pt_owner_begin(void)
{
    struct mark *m = mark();
    if (m == NULL) {
        return PT_OWNER_REFUSED;
    }
    int state = NEW;
    if (atomic_compare_exchange_strong(&m->state, &state, STARTING)) {
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
    struct mark *m = mark();
    atomic_store(&m->pid, (int)getpid());
    atomic_store(&m->state, works ? READY : REFUSED);
}

bool pt_owner_owns(void)
{
    struct mark *m = atomic_load_explicit(&page, memory_order_acquire);
    return m != NULL && atomic_load_explicit(&m->state, memory_order_acquire) == READY;
}

bool pt_owner_owns_strictly(void)
{
    return pt_owner_owns() && atomic_load(&atomic_load(&page)->pid) == (int)getpid();
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
