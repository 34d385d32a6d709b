#include "process.h"

#include "pages.h"

#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/types.h>
#include <unistd.h>

/* Zero, as a wiped page reads, is NEW. */
enum { NEW, STARTING, READY, REFUSED };

struct mark {
    _Atomic int state, pid;
};

static _Atomic(struct mark *) page;

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

enum pt_process_turn pt_process_begin(void)
{
    struct mark *m = mark();
    if (m == NULL) {
        return PT_PROCESS_REFUSED;
    }
    int state = NEW;
    if (atomic_compare_exchange_strong(&m->state, &state, STARTING)) {
        return PT_PROCESS_YOURS;
    }
    while (state == STARTING) {
        sched_yield();
        state = atomic_load(&m->state);
    }
    return state == READY ? PT_PROCESS_READY : PT_PROCESS_REFUSED;
}

void pt_process_done(bool works)
{
    struct mark *m = mark();
    atomic_store(&m->pid, (int)getpid());
    atomic_store(&m->state, works ? READY : REFUSED);
}

bool pt_process_owns(void)
{
    struct mark *m = atomic_load_explicit(&page, memory_order_acquire);
    return m != NULL && atomic_load_explicit(&m->state, memory_order_acquire) == READY;
}

bool pt_process_owns_strictly(void)
{
    return pt_process_owns() && atomic_load(&atomic_load(&page)->pid) == (int)getpid();
}
