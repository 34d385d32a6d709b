#include "pool/background.h"

#include "base/alone.h"
#include "base/sandbox.h"
#include "base/thread.h"

#include <stdatomic.h>

#define START_NS 20000000 /* on a busy machine: nobody has to have it */

enum { ABSENT, PRESENT, STOPPED };
static _Atomic int watcher;
static _Atomic uintptr_t era; /* how often it was resumed: a thread of before that has not noticed its end yet is none */
static bool (*tick)(void);
static void (*work)(void);
static uint64_t idle_seconds;

/* `works` is how often the thread was woken and has not been at it yet; the mutex guards it, and nothing is taken under it. */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t woken, begun;
    unsigned works, starts; /* that nobody has waited for to the end */
} bell = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* Looks often enough that nothing stays more than a quarter longer than it should. */
static int64_t next_tick(void)
{
    uint64_t ms = idle_seconds * 1000 / 4;
    ms = ms < 50 ? 50 : ms > 10000 ? 10000 : ms;
    return pt_thread_now() + (int64_t)ms * 1000000;
}

static bool woken_before(int64_t until)
{
    pthread_mutex_lock(&bell.mutex);
    bool in_time = true;
    while (bell.works == 0 && in_time) {
        in_time = pt_thread_wait_until(&bell.woken, &bell.mutex, until);
    }
    bool woken = bell.works > 0;
    bell.works = 0;
    pthread_mutex_unlock(&bell.mutex);
    return woken;
}

enum why { WORK, TICK, ALONE };

static enum why wait_for_work(int64_t until)
{
    int64_t look;
    do {
        int64_t now = pt_thread_now();
        look = until < now + PT_ALONE_LOOK_NS ? until : now + PT_ALONE_LOOK_NS;
        if (woken_before(look)) {
            return WORK;
        }
        if (pt_alone()) {
            return ALONE;
        }
    } while (look < until);
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
            int64_t until = next_tick();
            enum why why;
            while ((why = wait_for_work(until)) == WORK && present(mine)) {
                work();
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
    pthread_mutex_lock(&bell.mutex);
    bell.starts++;
    pthread_cond_signal(&bell.begun);
    pthread_mutex_unlock(&bell.mutex);
    look_after((uintptr_t)its_era);
    pt_alone_end();
    return NULL;
}

void pt_background_init(bool (*when_it_ticks)(void), void (*when_woken)(void), uint64_t seconds)
{
    tick = when_it_ticks;
    work = when_woken;
    pthread_mutex_init(&bell.mutex, NULL); /* in a forked child another thread may have held it */
    pt_thread_init_condition(&bell.woken);
    pt_thread_init_condition(&bell.begun);
    bell.works = bell.starts = 0;
    idle_seconds = seconds;
    atomic_store(&watcher, ABSENT);
}

/* A new thread makes a few system calls of its own, for which a program that sandboxes itself right after this would be
 * killed.
 */
static void wait_for_start(void)
{
    int64_t until = pt_thread_now() + START_NS;
    bool in_time = true;
    pthread_mutex_lock(&bell.mutex);
    while (bell.starts == 0 && in_time) {
        in_time = pt_thread_wait_until(&bell.begun, &bell.mutex, until);
    }
    bell.starts -= bell.starts > 0;
    pthread_mutex_unlock(&bell.mutex);
}

void pt_background_watch(void)
{
    if (!claim()) {
        return;
    }
    if (!pt_sandbox_entered() && pt_thread_start(NULL, watch, (void *)atomic_load(&era))) {
        wait_for_start();
    } else {
        atomic_store(&watcher, ABSENT); /* then the limits alone bound the cache */
    }
}

bool pt_background_wake(void)
{
    pt_background_watch();
    pthread_mutex_lock(&bell.mutex);
    bell.works++;
    pthread_cond_signal(&bell.woken);
    pthread_mutex_unlock(&bell.mutex);
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
