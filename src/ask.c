#include "ask.h"

#include "python.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>

#define WAIT_NS 20000000

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t answered;
    uint64_t number; /* of the question under way; an older helper finds another number and does nothing */
    bool open, done;
    pt_ask_work *work;
    void *thread_state;
    const void *argument;
    uint32_t result;
} question = {.mutex = PTHREAD_MUTEX_INITIALIZER, .answered = PTHREAD_COND_INITIALIZER};

void pt_ask_init(void)
{
    pthread_mutex_init(&question.mutex, NULL);
    pthread_cond_init(&question.answered, NULL);
    question.open = false;
}

/* The asking thread stands still while its question is open, so its frames may be read. */
static void *answer(void *number)
{
    int token, collecting;
    if (!pt_python_enter_alone(&token, &collecting)) {
        return NULL;
    }
    pthread_mutex_lock(&question.mutex);
    if (question.open && !question.done && question.number == (uintptr_t)number) {
        question.result = question.work(question.thread_state, question.argument);
        question.done = true;
        pthread_cond_signal(&question.answered);
    }
    pthread_mutex_unlock(&question.mutex);
    pt_python_leave_alone(token, collecting);
    return NULL;
}

static bool start_helper(uint64_t number)
{
    sigset_t all, before;
    pthread_t thread;
    pthread_attr_t attributes;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    bool started = pthread_create(&thread, &attributes, answer, (void *)(uintptr_t)number) == 0;
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

bool pt_ask(pt_ask_work *work, const void *argument, uint32_t *result)
{
    if (!pt_python_may_ask() || pthread_mutex_trylock(&question.mutex) != 0) {
        return false;
    }
    bool done = false;
    if (!question.open) {
        question.open = true;
        question.done = false;
        question.work = work;
        question.argument = argument;
        question.thread_state = pt_python_thread_state();
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += WAIT_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        bool waiting = start_helper(++question.number);
        while (waiting && !question.done) {
            waiting = pthread_cond_timedwait(&question.answered, &question.mutex, &until) == 0;
        }
        done = question.done;
        *result = question.result;
        question.open = false;
    }
    pthread_mutex_unlock(&question.mutex);
    return done;
}
