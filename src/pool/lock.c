#include "pool/lock.h"

#include <pthread.h>
#include <time.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
__thread unsigned pt_lock_met;

void pt_lock_reset(void)
{
    pthread_mutex_init(&mutex, NULL);
}

void pt_lock_lock(void)
{
    pthread_mutex_lock(&mutex);
}

void pt_lock_lock_noting(void)
{
    if (pthread_mutex_trylock(&mutex) != 0) {
        pt_lock_met++;
        pthread_mutex_lock(&mutex);
    }
}

void pt_lock_unlock(void)
{
    pthread_mutex_unlock(&mutex);
}

bool pt_lock_lock_at_the_end(void)
{
    for (unsigned i = 0; i < 100; i++) {
        if (pthread_mutex_trylock(&mutex) == 0) {
            return true;
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return false;
}
