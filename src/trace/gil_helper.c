#include "trace/gil_helper.h"

#include "trace/python.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>

#define SECOND  1000000000
#define WAIT_NS 20000000
/* Of all time, so much may be spent on questions that nobody answers; this much at once, where the machine is only
 * slow; and one in so long a time as the GIL is not to be had at all. */
#define SHARE       5
#define CREDIT_MOST (5 * WAIT_NS)
#define PAUSE_NS    100000000

struct question {
    pt_gil_helper_work *work;
    void *thread_state;
    const void *argument;
    uint32_t result;
    bool done;
    struct question *next;
};

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t answered;
    struct question *open;
    bool helper; /* one is on its way to the GIL, and will answer whatever is open then */
    int64_t credit, credited, not_before;
} state = {.mutex = PTHREAD_MUTEX_INITIALIZER, .answered = PTHREAD_COND_INITIALIZER};

void pt_gil_helper_init(void)
{
    pthread_mutex_init(&state.mutex, NULL);
    pthread_cond_init(&state.answered, NULL);
    state.open = NULL;
    state.helper = false;
    state.credit = CREDIT_MOST;
    state.credited = state.not_before = 0;
}

/* The asking threads stand still while their questions are open, so their frames may be read. */
static void *answer(void *unused)
{
    int token, collecting;
    if (!pt_python_enter_alone(&token, &collecting)) {
        return unused;
    }
    pthread_mutex_lock(&state.mutex);
    state.helper = false;
    for (struct question *q = state.open; q != NULL; q = q->next) {
        q->result = q->work(q->thread_state, q->argument);
        q->done = true;
    }
    state.open = NULL;
    pthread_cond_broadcast(&state.answered);
    pthread_mutex_unlock(&state.mutex);
    pt_python_leave_alone(token, collecting);
    return unused;
}

static bool start_helper(void)
{
    sigset_t all, before;
    pthread_t thread;
    pthread_attr_t attributes;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    bool started = pthread_create(&thread, &attributes, answer, NULL) == 0;
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static void withdraw(const struct question *q)
{
    struct question **at = &state.open;
    while (*at != q) {
        at = &(*at)->next;
    }
    *at = q->next;
}

static int64_t monotonic(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * (int64_t)SECOND + t.tv_nsec;
}

/* Whether a question may be put. With the mutex held. */
static bool affordable(int64_t now)
{
    int64_t credit = state.credit + (now - state.credited) / SHARE;
    state.credit = credit < CREDIT_MOST ? credit : CREDIT_MOST;
    state.credited = now;
    return state.credit >= WAIT_NS && (!state.helper || now >= state.not_before);
}

static void wait_for(struct question *q, const struct timespec *until)
{
    q->next = state.open;
    state.open = q;
    state.helper = state.helper || start_helper();
    bool waiting = state.helper;
    while (waiting && !q->done) {
        waiting = pthread_cond_timedwait(&state.answered, &state.mutex, until) == 0;
    }
    if (!q->done) {
        withdraw(q);
        state.credit -= WAIT_NS;
        state.not_before = monotonic() + PAUSE_NS;
    }
}

bool pt_gil_helper_ask(pt_gil_helper_work *work, const void *argument, uint32_t *result)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += WAIT_NS;
    until.tv_sec += until.tv_nsec / SECOND;
    until.tv_nsec %= SECOND;
    if (!pt_python_may_ask() || pthread_mutex_timedlock(&state.mutex, &until) != 0) {
        return false;
    }
    struct question q = {work, pt_python_thread_state(), argument, 0, false, NULL};
    if (affordable(monotonic())) {
        wait_for(&q, &until);
    }
    pthread_mutex_unlock(&state.mutex);
    *result = q.result;
    return q.done;
}
