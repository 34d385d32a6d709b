#include "trace/gil_helper.h"

#include "base/alone.h"
#include "base/sandbox.h"
#include "base/thread.h"
#include "base/wait.h"
#include "trace/python.h"

#include <stddef.h>

#define WAIT_NS 20000000
/* Of all time, so much may be spent on questions that nobody answers; this much at once, where the machine is only
 * slow; and one in so long a time as the GIL is not to be had at all. */
#define SHARE       5
#define CREDIT_MOST (5 * WAIT_NS)
#define PAUSE_NS    100000000

/* On the asking thread's stack. Once it is taken its answer comes without further waiting, and until then that thread stands
 * still, so that its frames may be read. */
struct question {
    pt_gil_helper_work *work;
    void *thread_state;
    void *argument;
    uint32_t result;
    bool taken, done;
    struct question *next;
};

/* The mutex guards all of it, and is never held for long: nobody waits for the GIL under it, and nothing is read. */
static struct {
    pthread_mutex_t mutex;
    struct pt_bell answered;
    struct question *open;
    pt_gil_helper_work *left; /* for which nobody waits */
    bool helper; /* one is on its way to the GIL, and will answer whatever is open then */
    int64_t credit, credited, not_before;
} state = {.mutex = PTHREAD_MUTEX_INITIALIZER};

void pt_gil_helper_init(void)
{
    pthread_mutex_init(&state.mutex, NULL);
    state.open = NULL;
    state.left = NULL;
    state.helper = false;
    state.credit = CREDIT_MOST;
    state.credited = state.not_before = 0;
}

static struct question *take_all(pt_gil_helper_work **left)
{
    pthread_mutex_lock(&state.mutex);
    struct question *all = state.open;
    *left = state.left;
    state.helper = false;
    state.open = NULL;
    state.left = NULL;
    for (struct question *q = all; q != NULL; q = q->next) {
        q->taken = true;
    }
    pthread_mutex_unlock(&state.mutex);
    return all;
}

static void answer_all(void)
{
    int token, collecting;
    if (!pt_python_enter_alone(&token, &collecting)) {
        return;
    }
    pt_gil_helper_work *left;
    struct question *all = take_all(&left), *next;
    for (struct question *q = all; q != NULL; q = q->next) {
        q->result = q->work(q->thread_state, q->argument);
    }
    pthread_mutex_lock(&state.mutex);
    for (struct question *q = all; q != NULL; q = next) {
        next = q->next; /* the question is gone once its thread sees that it is done */
        q->done = true;
    }
    pthread_mutex_unlock(&state.mutex);
    pt_bell_ring(&state.answered);
    if (left != NULL) {
        (void)left(NULL, NULL);
    }
    pt_python_leave_alone(token, collecting);
}

static void *answer(void *unused)
{
    pt_alone_begin();
    answer_all();
    pt_alone_end();
    return unused;
}

static void withdraw(const struct question *q)
{
    struct question **at = &state.open;
    while (*at != q) {
        at = &(*at)->next;
    }
    *at = q->next;
}

/* Whether a question may be put. With the mutex held. */
static bool affordable(int64_t now)
{
    int64_t credit = state.credit + (now - state.credited) / SHARE;
    state.credit = credit < CREDIT_MOST ? credit : CREDIT_MOST;
    state.credited = now;
    return state.credit >= WAIT_NS && (!state.helper || now >= state.not_before);
}

/* Lets go of the mutex meanwhile. False: nobody has taken the question so far, and the time is over. */
static bool await_answer(bool taken, int64_t most_ns)
{
    uint32_t rings = pt_bell_rings(&state.answered);
    bool rang = true;
    pthread_mutex_unlock(&state.mutex);
    if (taken) {
        pt_bell_await(&state.answered, rings);
    } else {
        rang = pt_bell_wait(&state.answered, rings, most_ns);
    }
    pthread_mutex_lock(&state.mutex);
    return rang;
}

static void wait_for(struct question *q)
{
    q->next = state.open;
    state.open = q;
    state.helper = state.helper || pt_thread_start(NULL, answer, NULL);
    struct pt_patience patience = pt_patience_for(WAIT_NS);
    bool waiting = state.helper;
    while (!q->done && (waiting || q->taken)) {
        waiting = await_answer(q->taken, pt_patience_left(&patience));
    }
    if (!q->done) {
        withdraw(q);
        state.credit -= WAIT_NS;
        state.not_before = pt_thread_now() + PAUSE_NS;
    }
}

bool pt_gil_helper_ask(pt_gil_helper_work *work, void *argument, uint32_t *result)
{
    if (!pt_python_may_ask() || pt_sandbox_entered()) {
        return false;
    }
    int64_t now = pt_thread_now();
    struct question q = {.work = work, .thread_state = pt_python_thread_state(), .argument = argument};
    pthread_mutex_lock(&state.mutex);
    if (affordable(now)) {
        wait_for(&q);
    }
    pthread_mutex_unlock(&state.mutex);
    *result = q.result;
    return q.done;
}

void pt_gil_helper_leave(pt_gil_helper_work *work)
{
    if (!pt_python_may_ask() || pt_sandbox_entered()) {
        return;
    }
    pthread_mutex_lock(&state.mutex);
    state.left = work;
    state.helper = state.helper || pt_thread_start(NULL, answer, NULL);
    pthread_mutex_unlock(&state.mutex);
}
