#include "pool/lock.h"

#include "base/wait.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TRIES 16 /* of a lock that is held for a microsecond as a rule */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
__thread unsigned pt_lock_met;

/* From before this thread takes the lock until after it has let it go: a signal handler must not wait for it then. */
static __thread volatile bool near;

#ifdef PT_DEBUG
static __thread bool held;

void pt_lock_broken(const char *who, const char *rule)
{
    char line[256];
    int n = snprintf(line, sizeof line, "pintensor: %s: broken: %s\n", who, rule);
    (void)!write(STDERR_FILENO, line, (size_t)n);
    abort();
}

bool pt_lock_is_mine(void)
{
    return held;
}

#define HELD(now) (held = (now))
#else
#define HELD(now) ((void)0)
#endif

void pt_lock_reset(void)
{
    pthread_mutex_init(&mutex, NULL);
    near = false;
    HELD(false);
}

void pt_lock_enter(void)
{
    PT_ASSERT_UNLOCKED();
    near = true;
    pthread_mutex_lock(&mutex);
    HELD(true);
}

void pt_lock_enter_noting(void)
{
    PT_ASSERT_UNLOCKED();
    near = true;
    if (pthread_mutex_trylock(&mutex) != 0) {
        pt_lock_met++;
        pthread_mutex_lock(&mutex);
    }
    HELD(true);
}

void pt_lock_leave(void)
{
    PT_ASSERT_LOCKED();
    HELD(false);
    pthread_mutex_unlock(&mutex);
    near = false;
}

bool pt_lock_try(void)
{
    if (near) {
        return false;
    }
    near = true;
    for (unsigned i = 0; i < TRIES; i++) {
        if (pthread_mutex_trylock(&mutex) == 0) {
            HELD(true);
            return true;
        }
        sched_yield();
    }
    near = false;
    return false;
}

bool pt_lock_enter_at_the_end(void)
{
    for (unsigned i = 0; i < 100; i++) {
        if (pthread_mutex_trylock(&mutex) == 0) {
            near = true;
            HELD(true);
            return true;
        }
        pt_wait_pause(1000000);
    }
    return false;
}
