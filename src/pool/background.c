#include "pool/background.h"

#include "base/alone.h"
#include "base/sandbox.h"
#include "base/thread.h"
#include "base/wait.h"

#include <stdatomic.h>

#define START_NS 20000000 /* on a busy machine: nobody has to have it */

enum { ABSENT, PRESENT, STOPPED };
static _Atomic int watcher;
static _Atomic uintptr_t era; /* how often it was resumed: a thread of before that has not noticed its end yet is none */
static bool (*tick)(void);
static void (*work)(void);
static uint64_t idle_seconds;

static struct pt_bell wake, begun;
static _Atomic uint32_t answered; /* how many of the first were, by whichever thread is there */

/* Looks often enough that nothing stays more than a quarter longer than it should. */
static int64_t tick_ns(void)
{
    uint64_t ms = idle_seconds * 1000 / 4;
    ms = ms < 50 ? 50 : ms > 10000 ? 10000 : ms;
    return (int64_t)ms * 1000000;
}

/* Waits until the next look at most, and counts what it waited. The clock is asked only when woken, and believed for
 * what can be: a faked one may stand still, or fly. */
static bool is_woken(int64_t *left_ns)
{
    uint32_t before = atomic_load(&answered);
    int64_t most = *left_ns < PT_ALONE_LOOK_NS ? *left_ns : PT_ALONE_LOOK_NS;
    int64_t began = pt_thread_now(), waited = most;
    if (pt_bell_wait(&wake, before, most)) {
        waited = pt_thread_now() - began;
        waited = waited < 0 ? 0 : waited > most ? most : waited;
    }
    *left_ns -= waited;
    uint32_t rings = pt_bell_rings(&wake);
    atomic_store(&answered, rings);
    return rings != before;
}

enum why { WORK, TICK, ALONE };

static enum why wait_for_work(int64_t *left_ns)
{
    while (*left_ns > 0) {
        if (is_woken(left_ns)) {
            return WORK;
        }
        if (pt_alone()) {
            return ALONE;
        }
    }
    return TICK;
}

static bool claim(void)
{
    int absent = ABSENT;
    return atomic_load_explicit(&watcher, memory_order_relaxed) == ABSENT &&
           atomic_compare_exchange_strong(&watcher, &absent, PRESENT);
}

static bool present(uintptr_t mine)
{
    return atomic_load(&watcher) == PRESENT && atomic_load(&era) == mine;
}

/* Until there is nothing to look after, or nobody to do it for: then it counts as present, so that no other begins. */
static void look_after(uintptr_t mine)
{
    do {
        do {
            int64_t left = tick_ns();
            enum why why;
            while ((why = wait_for_work(&left)) == WORK && present(mine)) {
                work();
            }
            if (why == WORK) {
                pt_bell_ring(&wake); /* it was for the thread that came after this one */
            }
            if (why == ALONE) {
                return;
            }
        } while (present(mine) && tick());
        if (atomic_load(&era) != mine) {
            break;
        }
        int was = PRESENT;
        (void)atomic_compare_exchange_strong(&watcher, &was, ABSENT);
        /* What became idle just before that saw a thread still present: look once more. */
    } while (atomic_load(&watcher) == ABSENT && (work(), tick()) && claim());
}

static void *watch(void *its_era)
{
    (void)pthread_setname_np(pthread_self(), "pintensor");
    pt_alone_begin();
    pt_bell_ring(&begun);
    look_after((uintptr_t)its_era);
    pt_alone_end();
    return NULL;
}

void pt_background_init(bool (*when_it_ticks)(void), void (*when_woken)(void), uint64_t seconds)
{
    tick = when_it_ticks;
    work = when_woken;
    atomic_store(&answered, pt_bell_rings(&wake)); /* a forked child has nothing to do for its parent */
    idle_seconds = seconds;
    atomic_store(&watcher, ABSENT);
}

void pt_background_watch(void)
{
    if (!claim()) {
        return;
    }
    uint32_t before = pt_bell_rings(&begun);
    if (!pt_sandbox_entered() && pt_thread_start(NULL, watch, (void *)atomic_load(&era))) {
        /* A new thread makes a few system calls of its own, for which a program that sandboxes itself right after this
         * would be killed. */
        (void)pt_bell_wait(&begun, before, START_NS);
    } else {
        atomic_store(&watcher, ABSENT); /* then the limits alone bound the cache */
    }
}

bool pt_background_wake(void)
{
    pt_background_watch();
    pt_bell_ring(&wake);
    return atomic_load(&watcher) != ABSENT;
}

void pt_background_stop(void)
{
    atomic_store(&watcher, STOPPED);
}

void pt_background_resume(void)
{
    int stopped = STOPPED;
    atomic_fetch_add(&era, 1);
    (void)atomic_compare_exchange_strong(&watcher, &stopped, ABSENT);
}
