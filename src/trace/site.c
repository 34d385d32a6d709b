#include "trace/site.h"

#include "base/options.h"
#include "ledger/table.h"
#include "trace/gil_helper.h"
#include "trace/stack.h"
#include "trace/symbol.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A stack is looked at in full once: from then on its key (see frames.h) leads to its site, for blocks of all sizes.
 * Where the interpreter's memory cannot be read that way, large blocks are looked at in full each time with the GIL,
 * and each so many times without; small ones by innermost line, and in full once for so many bytes of each line.
 *
 * Nothing is called under `mutex`: Python may run a finalizer that frees a tensor. */

#define KNOWN       ((size_t)16 << 10)
#define LEAVES      4096
#define ASKERS      256
#define STREAK_SURE 16 /* so often the same answer: from then on it is asked for now and then */
#define SKIP_SURE   63

static struct {
    /* Sites by key: the key's upper 48 bits, and the site's number and one. Old ones make room. */
    _Atomic uint64_t known[KNOWN];

    pthread_mutex_t mutex;
    /* The site last seen in full for an innermost line, and how many bytes it may stand for. */
    struct {
        const void *caller, *code;
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

#define NUMBER ((uint64_t)0xffff)

static size_t known_at(uint64_t key)
{
    return key >> 20 & (KNOWN - 1);
}

static bool recall(uint64_t key, uint32_t *site)
{
    size_t at = known_at(key);
    for (size_t i = 0; i < 2; i++) {
        uint64_t entry = atomic_load_explicit(&state.known[at ^ i], memory_order_relaxed);
        if (entry >> 16 == key >> 16 && entry != 0) {
            *site = (uint32_t)(entry & NUMBER) - 1;
            return true;
        }
    }
    return false;
}

static void remember(uint64_t key, uint32_t site)
{
    size_t at = known_at(key);
    uint64_t before = atomic_exchange(&state.known[at], (key & ~NUMBER) | (site + 1));
    if (before != 0 && before >> 16 != key >> 16) {
        atomic_store(&state.known[at ^ 1], before);
    }
}

/* With the GIL, or in a thread of our own that has it while the other stands still: completes a stack that was begun.
 */
static uint32_t complete(struct pt_stack *s, void *thread_state)
{
    s->count = pt_python_frames(thread_state, s->frames, PT_FRAMES_MOST);
    pt_frames_learn(thread_state, s->frames, s->count);
    return pt_stack_site(s);
}

static uint32_t complete_other(void *thread_state, const void *begun)
{
    struct pt_stack s = *(const struct pt_stack *)begun;
    return complete(&s, thread_state);
}

static bool ask(struct pt_stack *s, uint32_t *site)
{
    s->thread = (uint32_t)syscall(SYS_gettid);
    return pt_gil_helper_ask(complete_other, s, site);
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
    if (state.askers[i].skip > 0) {
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

static uint32_t here(const void *caller, bool may_wait)
{
    struct pt_stack s;
    pt_stack_begin(&s, caller);
    uint64_t key = pt_stack_key(&s);
    uint32_t site = 0;
    /* Where there is no Python the native caller is all there is to know. */
    bool keyed = pt_frames_key(&key) || pt_python_gil() == PT_PYTHON_NONE;
    if (keyed && recall(key, &site)) {
        return site;
    }
    enum pt_python_gil gil = pt_python_gil();
    if (gil == PT_PYTHON_NONE) {
        site = pt_stack_site(&s);
    } else if (gil == PT_PYTHON_HELD && pt_python_quiet()) {
        site = complete(&s, pt_python_thread_state());
    } else if (gil == PT_PYTHON_RELEASED && may_wait && !keyed) {
        return ask_now_and_then(&s);
    } else if (gil == PT_PYTHON_HELD || !may_wait || !ask(&s, &site)) {
        return pt_stack_site(&s); /* of its native caller alone: the next time it may be told */
    }
    if (keyed) {
        remember(key, site);
    }
    return site;
}

static size_t leaf_of(const void *caller, const struct pt_python_frame *f)
{
    return pt_frames_mix(pt_frames_mix((uintptr_t)caller, (uintptr_t)f->code), (uint32_t)f->last) & (LEAVES - 1);
}

/* A site already known for this innermost line, if it may stand for `bytes` more. */
static uint32_t leaf_spend(const void *caller, const struct pt_python_frame *f, size_t bytes)
{
    uint32_t site = 0;
    size_t i = leaf_of(caller, f);
    pthread_mutex_lock(&state.mutex);
    if (state.leaves[i].caller == caller && state.leaves[i].code == f->code && state.leaves[i].last == f->last &&
        state.leaves[i].budget >= bytes) {
        state.leaves[i].budget -= bytes;
        site = state.leaves[i].site;
    }
    pthread_mutex_unlock(&state.mutex);
    return site;
}

static void leaf_remember(const void *caller, const struct pt_python_frame *f, uint32_t site)
{
    size_t i = leaf_of(caller, f);
    pthread_mutex_lock(&state.mutex);
    state.leaves[i].caller = caller;
    state.leaves[i].code = f->code;
    state.leaves[i].last = f->last;
    state.leaves[i].site = site;
    state.leaves[i].budget = PT_SITE_FULL;
    pthread_mutex_unlock(&state.mutex);
}

/* By innermost line, which needs the GIL: `budget` bytes of a line are looked at once. */
static uint32_t here_small(const void *caller, size_t bytes, bool may_wait)
{
    struct pt_python_frame leaf = {0};
    enum pt_python_gil gil = pt_python_gil();
    /* By key no lock is taken, which threads of no Python count on. */
    bool by_key = gil == PT_PYTHON_NONE ? pt_option(PT_OPTION_STACK) != PT_STACK_FULL
                                        : gil == PT_PYTHON_RELEASED && pt_frames_state() != PT_FRAMES_OFF;
    if (by_key) {
        return here(caller, may_wait);
    }
    if (gil == PT_PYTHON_HELD && pt_python_quiet()) {
        (void)pt_python_frame(&leaf);
    }
    uint32_t site = leaf_spend(caller, &leaf, bytes);
    if (site == 0) {
        site = here(caller, may_wait);
        leaf_remember(caller, &leaf, site);
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

int pt_site_top(uint32_t number)
{
    const struct pt_site *s = pt_table_site(number);
    for (unsigned i = 0; i < s->frames_count; i++) {
        if ((s->library >> i & 1) == 0) {
            return (int)i;
        }
    }
    return s->frames_count > 0 ? 0 : -1;
}

void pt_site_frame(const struct pt_frame *f, struct pt_text *out)
{
    pt_text_add(out, f->line > 0 ? "%s:%u" : "%s", pt_table_string(f->file), f->line);
    pt_text_add(out, "  %s", pt_table_string(f->function));
}

void pt_site_place(uint32_t number, struct pt_text *out)
{
    const struct pt_site *s = pt_table_site(number);
    int top = pt_site_top(number);
    if (number == 0) {
        pt_text_add(out, "an unknown place");
    } else if (top < 0) {
        pt_text_add(out, "%s %s", pt_table_string(s->object), pt_table_string(s->symbol));
    } else {
        const struct pt_frame *f = &s->frames[top];
        pt_site_frame(f, out);
    }
}
