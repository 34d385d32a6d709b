#include "trace/site.h"

#include "base/options.h"
#include "ledger/table.h"
#include "memory/owner.h"
#include "trace/code.h"
#include "trace/gil_helper.h"
#include "trace/key_cache.h"
#include "trace/site_store.h"
#include "trace/stack.h"
#include "trace/symbol.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

/* A stack is looked at in full once: from then on its key (see frames.h) leads to its site, for blocks of all sizes.
 * Where the interpreter's memory cannot be read that way, large blocks are looked at in full each time with the GIL,
 * and each so many times without; small ones by innermost line, and in full once for so many bytes of each line.
 *
 * Nothing is called under `mutex`: Python may run a finalizer that frees a tensor. */

#define LEAVES      4096
#define ASKERS      256
#define STREAK_SURE 16 /* so often the same answer: from then on it is asked for now and then */
#define SKIP_SURE   63

static struct {
    struct pt_key_cache known; /* by the keys of frames.h */

    pthread_mutex_t mutex;
    /* The site last seen in full for an innermost line, and how many bytes it may stand for. */
    struct {
        const void *caller;
        uint64_t code; /* its name: code.h */
        int32_t last;
        uint32_t site;
        size_t budget;
    } leaves[LEAVES];
    /* The same for callers without the GIL, whose line nobody knows: how often it may stand for. */
    struct {
        const void *caller;
        uint32_t site;
        unsigned streak, skip;
    } askers[ASKERS];
    bool used;
} state = {.mutex = PTHREAD_MUTEX_INITIALIZER};

void pt_site_init(void)
{
    if (state.used) {
        memset(&state, 0, sizeof state);
    }
    state.used = true;
    pthread_mutex_init(&state.mutex, NULL);
    pt_symbol_init();
    pt_python_init();
    pt_frames_init();
    pt_stack_init();
    pt_gil_helper_init();
}

/* With the GIL, or in a thread of our own that has it while the other stands still: completes a stack that was begun.
 */
static uint32_t complete(void *thread_state, void *begun)
{
    struct pt_stack *s = begun;
    pt_stack_complete(s, thread_state);
    return pt_stack_site(s);
}

static bool ask(struct pt_stack *s, uint32_t *site)
{
    s->thread = pt_owner_thread();
    return pt_gil_helper_ask(complete, s, site);
}

/* Without the GIL and without a key. */
static uint32_t ask_now_and_then(struct pt_stack *s)
{
    size_t i = pt_frames_mix(3, (uintptr_t)s->caller) & (ASKERS - 1);
    uint32_t site = 0;
    pthread_mutex_lock(&state.mutex);
    if (state.askers[i].caller != s->caller) {
        memset(&state.askers[i], 0, sizeof state.askers[i]);
        state.askers[i].caller = s->caller;
    }
    if (state.askers[i].skip > 0 && pt_table_site_is(state.askers[i].site)) {
        state.askers[i].skip--;
        site = state.askers[i].site;
    }
    pthread_mutex_unlock(&state.mutex);
    if (site != 0) {
        return site;
    }
    if (!ask(s, &site)) {
        return pt_stack_site(s);
    }
    pthread_mutex_lock(&state.mutex);
    if (state.askers[i].caller == s->caller) {
        state.askers[i].streak = state.askers[i].site == site ? state.askers[i].streak + 1 : 0;
        state.askers[i].skip = state.askers[i].streak >= STREAK_SURE ? SKIP_SURE : 0;
        state.askers[i].site = site;
    }
    pthread_mutex_unlock(&state.mutex);
    return site;
}

/* *once: the site is not to be remembered for this stack. */
static __attribute__((noinline)) uint32_t here_in_python(struct pt_stack *s, enum pt_python_gil gil, bool keyed, bool may_wait,
                                                         bool *once)
{
    struct pt_python_frame frames[PT_FRAMES_MOST];
    uint32_t site;
    s->frames = frames;
    if (gil == PT_PYTHON_HELD && pt_python_quiet()) {
        return complete(pt_python_thread_state(), s);
    }
    *once = true;
    if (gil == PT_PYTHON_RELEASED && may_wait && !keyed) {
        return ask_now_and_then(s);
    }
    if (gil == PT_PYTHON_HELD || !may_wait || !ask(s, &site)) {
        return pt_stack_site(s); /* of its native caller alone: the next time it may be told */
    }
    *once = false;
    return site;
}

static uint32_t here(const void *caller, bool may_wait)
{
    struct pt_stack s;
    pt_stack_begin(&s, caller);
    uint64_t key = pt_stack_key(&s);
    uint32_t site = 0;
    /* Where there is no Python the native caller is all there is to know. */
    bool keyed = pt_frames_key(&key) || pt_python_gil() == PT_PYTHON_NONE, once = false;
    if (keyed && (site = pt_key_cache_find(&state.known, key)) != 0) {
        return site;
    }
    enum pt_python_gil gil = pt_python_gil();
    site = gil == PT_PYTHON_NONE ? pt_stack_site(&s) : here_in_python(&s, gil, keyed, may_wait, &once);
    if (keyed && !once && s.lasts) {
        pt_key_cache_enter(&state.known, key, site);
    }
    return site;
}

/* The innermost line: the name of its code, or of none. */
struct leaf {
    const void *caller;
    uint64_t code;
    int32_t last;
};

static size_t leaf_place(const struct leaf *l)
{
    return pt_frames_mix(pt_frames_mix((uintptr_t)l->caller, l->code), (uint32_t)l->last) & (LEAVES - 1);
}

/* A site already known for this innermost line, if it may stand for `bytes` more. */
static uint32_t leaf_spend(const struct leaf *l, size_t bytes)
{
    uint32_t site = 0;
    size_t i = leaf_place(l);
    pthread_mutex_lock(&state.mutex);
    if (state.leaves[i].caller == l->caller && state.leaves[i].code == l->code && state.leaves[i].last == l->last &&
        state.leaves[i].budget >= bytes && pt_table_site_is(state.leaves[i].site)) {
        state.leaves[i].budget -= bytes;
        site = state.leaves[i].site;
    }
    pthread_mutex_unlock(&state.mutex);
    return site;
}

static void leaf_remember(const struct leaf *l, uint32_t site)
{
    size_t i = leaf_place(l);
    pthread_mutex_lock(&state.mutex);
    state.leaves[i].caller = l->caller;
    state.leaves[i].code = l->code;
    state.leaves[i].last = l->last;
    state.leaves[i].site = site;
    state.leaves[i].budget = PT_SITE_FULL;
    pthread_mutex_unlock(&state.mutex);
}

/* By innermost line, which needs the GIL: `budget` bytes of a line are looked at once. */
static uint32_t here_small(const void *caller, size_t bytes, bool may_wait)
{
    struct pt_python_frame frame = {0};
    bool lasts = true;
    enum pt_python_gil gil = pt_python_gil();
    /* By key no lock is taken, which threads of no Python count on. */
    bool by_key = gil == PT_PYTHON_NONE ? pt_option(PT_OPTION_STACK) != PT_STACK_FULL
                                        : gil == PT_PYTHON_RELEASED && pt_frames_state() != PT_FRAMES_OFF;
    if (by_key) {
        return here(caller, may_wait);
    }
    if (gil == PT_PYTHON_HELD && pt_python_quiet()) {
        lasts = !pt_python_frame(&frame) || pt_code_watch(&frame, 1);
    }
    struct leaf leaf = {caller, pt_code_name((uintptr_t)frame.code), frame.last};
    uint32_t site = lasts ? leaf_spend(&leaf, bytes) : 0;
    if (site == 0) {
        site = here(caller, may_wait);
        if (lasts) {
            leaf_remember(&leaf, site);
        }
    }
    return site;
}

uint32_t pt_site_here(const void *caller, size_t bytes)
{
    int how = pt_option(PT_OPTION_STACK);
    if (how == PT_STACK_OFF) {
        return 0;
    }
    bool cheap = pt_frames_state() != PT_FRAMES_OFF && how != PT_STACK_FULL;
    return cheap || bytes >= PT_SITE_FULL ? here(caller, true) : here_small(caller, bytes, true);
}

/* Finalizers run anywhere: a site for each of their stacks would fill the table. */
uint32_t pt_site_freeing(const void *caller)
{
    return pt_option(PT_OPTION_STACK) == PT_STACK_OFF ? 0 : here_small(caller, 1, false);
}
