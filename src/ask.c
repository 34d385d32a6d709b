#include "ask.h"

#include "python.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>

#define WAIT_NS 20000000
#define PAUSE_NS 100000000 /* after a question that nobody answered in time */
#define SECOND 1000000000

struct question {
    pt_ask_work *work;
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
    int64_t not_before;
} state = {.mutex = PTHREAD_MUTEX_INITIALIZER, .answered = PTHREAD_COND_INITIALIZER};

void pt_ask_init(void)
{
    pthread_mutex_init(&state.mutex, NULL);
    pthread_cond_init(&state.answered, NULL);
    state.open = NULL;
    state.helper = false;
    state.not_before = 0;
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

bool pt_ask(pt_ask_work *work, const void *argument, uint32_t *result)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    int64_t now = until.tv_sec * (int64_t)SECOND + until.tv_nsec;
    until.tv_sec = (now + WAIT_NS) / SECOND;
    until.tv_nsec = (now + WAIT_NS) % SECOND;
    if (!pt_python_may_ask() || pthread_mutex_timedlock(&state.mutex, &until) != 0) {
        return false;
    }
    struct question q = {work, pt_python_thread_state(), argument, 0, false, state.open};
    /* Should the clock be set back, the pause ends all the same. */
    bool waiting = now >= state.not_before || now < state.not_before - PAUSE_NS;
    if (waiting) {
        state.open = &q;
        state.helper = state.helper || start_helper();
        waiting = state.helper;
        while (waiting && !q.done) {
            waiting = pthread_cond_timedwait(&state.answered, &state.mutex, &until) == 0;
        }
        if (!q.done) {
            withdraw(&q);
            state.not_before = now + PAUSE_NS;
        }
    }
    pthread_mutex_unlock(&state.mutex);
    *result = q.result;
    return q.done;
}
