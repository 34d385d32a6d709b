#include "pool/background.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

enum { ABSENT, PRESENT, STOPPED };
static _Atomic int watcher;
static bool (*tick)(void);
static void (*work)(void);
static uint64_t idle_seconds;
static sem_t works;

/* Looks often enough that nothing stays more than a quarter longer than it should. */
static struct timespec next_tick(void)
{
    uint64_t ms = idle_seconds * 1000 / 4;
    ms = ms < 50 ? 50 : ms > 10000 ? 10000 : ms;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    uint64_t ns = (uint64_t)t.tv_nsec + ms % 1000 * 1000000;
    return (struct timespec){.tv_sec = t.tv_sec + (time_t)(ms / 1000 + ns / 1000000000),
                             .tv_nsec = (long)(ns % 1000000000)};
}

static bool claim(void)
{
    int absent = ABSENT;
    return atomic_load_explicit(&watcher, memory_order_relaxed) == ABSENT &&
           atomic_compare_exchange_strong(&watcher, &absent, PRESENT);
}

static void *watch(void *unused)
{
    (void)unused;
    do {
        do {
            struct timespec until = next_tick();
            while (sem_timedwait(&works, &until) == 0 && atomic_load(&watcher) == PRESENT) {
                work();
            }
        } while (atomic_load(&watcher) == PRESENT && tick());
        int present = PRESENT;
        (void)atomic_compare_exchange_strong(&watcher, &present, ABSENT);
        /* What became idle just before that saw a thread still present: look once more. */
    } while (atomic_load(&watcher) == ABSENT && (work(), tick()) && claim());
    return NULL;
}

void pt_background_init(bool (*when_it_ticks)(void), void (*when_woken)(void), uint64_t seconds)
{
    tick = when_it_ticks;
    work = when_woken;
    sem_init(&works, 0, 0);
    idle_seconds = seconds;
    atomic_store(&watcher, ABSENT);
}

void pt_background_watch(void)
{
    if (!claim()) {
        return;
    }
    /* The program's signals are not this thread's business. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attributes, watch, NULL) == 0) {
        (void)pthread_setname_np(thread, "pintensor-idle");
    } else {
        atomic_store(&watcher, ABSENT); /* then the limits alone bound the cache */
    }
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

bool pt_background_wake(void)
{
    pt_background_watch();
    sem_post(&works);
    return atomic_load(&watcher) != ABSENT;
}

void pt_background_stop(void)
{
    atomic_store(&watcher, STOPPED);
}
