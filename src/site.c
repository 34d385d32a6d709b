#include "site.h"

#include "ask.h"
#include "magazine.h"
#include "name.h"
#include "options.h"
#include "python.h"
#include "table.h"

#include <execinfo.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Lock order: `mutex` is a leaf; nothing is called under it but the table's intern. Python is never called
 * under it, since Python may run a finalizer that frees a tensor. */

#define WALK_MOST 48
#define LIBRARY_FRAMES_MOST 4
#define NATIVE_MOST 16

struct stack {
    const void *caller;
    uint32_t thread; /* 0: the one that looks */
    unsigned count, native_count;
    struct pt_python_frame frames[WALK_MOST];
    void *native[NATIVE_MOST];
};

#define SLOTS ((size_t)32 << 10) /* twice the number of sites: probing stays short */
#define LEAVES 4096

static struct {
    pthread_mutex_t mutex;
    struct {
        uint64_t key;
        uint32_t site;
    } slots[SLOTS];
    /* The site last seen in full for an innermost line, and how many bytes it may stand for. */
    struct {
        const void *caller, *code;
        int32_t last;
        uint32_t site;
        size_t budget;
    } leaves[LEAVES];
} state = {.mutex = PTHREAD_MUTEX_INITIALIZER};

void pt_site_init(void)
{
    pthread_mutex_init(&state.mutex, NULL);
    memset(state.slots, 0, sizeof state.slots);
    memset(state.leaves, 0, sizeof state.leaves);
    pt_name_init();
    pt_python_init();
    pt_ask_init();
    if (pt_option(PT_OPTION_STACK) == PT_STACK_FULL) {
        void *one;
        (void)backtrace(&one, 1); /* loads the unwinder now, not in the middle of an allocation */
    }
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

static uint64_t key_of(const struct stack *s)
{
    uint64_t hash = mix(1, (uintptr_t)s->caller);
    for (unsigned i = 0; i < s->count; i++) {
        hash = mix(mix(hash, (uintptr_t)s->frames[i].code), (uint32_t)s->frames[i].last);
    }
    for (unsigned i = 0; i < s->native_count; i++) {
        hash = mix(hash, (uintptr_t)s->native[i]);
    }
    return hash | 1; /* 0 marks an empty slot */
}

/* The slot of the key, or the empty one where it belongs. With the mutex held. */
static size_t slot_of(uint64_t key)
{
    size_t i = key >> 17 & (SLOTS - 1);
    while (state.slots[i].key != 0 && state.slots[i].key != key) {
        i = (i + 1) & (SLOTS - 1);
    }
    return i;
}

struct named_frame {
    char file[PT_NAME_MOST], function[PT_NAME_MOST];
    uint32_t line;
};

/* Which frames to keep: the innermost few of libraries, then the user's own. */
static unsigned name_frames(const struct stack *s, struct named_frame *out)
{
    unsigned kept = 0, library = 0;
    for (unsigned i = 0; i < s->count && kept < PT_SITE_FRAMES; i++) {
        struct named_frame *f = &out[kept];
        pt_python_describe(&s->frames[i], f->file, f->function, PT_NAME_MOST, &f->line);
        bool is_library = pt_name_is_library(f->file);
        if (!is_library || library < LIBRARY_FRAMES_MOST) {
            kept++;
            library += is_library;
        }
    }
    for (unsigned i = 0; i < s->native_count && kept < PT_SITE_FRAMES; i++) {
        struct named_frame *f = &out[kept++];
        pt_name_native(s->native[i], f->function, f->file, PT_NAME_MOST);
        f->line = 0;
    }
    return kept;
}

/* Enters a new stack into the table. With no lock held, and with the GIL if there are Python frames. */
static uint32_t create(const struct stack *s, uint64_t key)
{
    struct named_frame named[PT_SITE_FRAMES];
    char symbol[PT_NAME_MOST], object[PT_NAME_MOST];
    unsigned kept = name_frames(s, named);
    pt_name_native(s->caller, symbol, object, PT_NAME_MOST);

    pthread_mutex_lock(&state.mutex);
    size_t slot = slot_of(key);
    uint32_t number = state.slots[slot].site;
    bool fresh = state.slots[slot].key == 0;
    struct pt_table *table = pt_table();
    if (fresh && (number = atomic_load(&table->sites)) < table->sites_most) {
        struct pt_site *site = pt_table_site(number);
        *site = (struct pt_site){.symbol = pt_table_intern(symbol),
                                 .object = pt_table_intern(object),
                                 .frames_count = kept,
                                 .thread = s->thread != 0 ? s->thread : (uint32_t)syscall(SYS_gettid),
                                 .smallest = UINT64_MAX};
        for (unsigned i = 0; i < kept; i++) {
            site->frames[i] = (struct pt_frame){.file = pt_table_intern(pt_name_short_path(named[i].file)),
                                                .function = pt_table_intern(named[i].function),
                                                .line = named[i].line};
            if (pt_name_is_library(named[i].file) || named[i].line == 0) {
                site->library |= 1u << i;
            }
        }
        atomic_store(&table->sites, number + 1);
        state.slots[slot].key = key;
        state.slots[slot].site = number;
    } else if (fresh) {
        number = 0;
        fresh = false;
    }
    pthread_mutex_unlock(&state.mutex);
    for (unsigned i = 0; fresh && i < s->count; i++) {
        pt_python_keep(s->frames[i].code); /* so that its address never means other code */
    }
    return number;
}

static uint32_t look_up(uint64_t key)
{
    pthread_mutex_lock(&state.mutex);
    uint32_t number = state.slots[slot_of(key)].site;
    pthread_mutex_unlock(&state.mutex);
    return number;
}

static size_t leaf_of(const void *caller, const struct pt_python_frame *f)
{
    return mix(mix((uintptr_t)caller, (uintptr_t)f->code), (uint32_t)f->last) & (LEAVES - 1);
}

/* A site already known for this innermost line, if it may stand for `bytes` more. */
static uint32_t leaf_spend(const void *caller, const struct pt_python_frame *f, size_t bytes)
{
    uint32_t site = 0;
    size_t i = leaf_of(caller, f);
    pthread_mutex_lock(&state.mutex);
    if (state.leaves[i].caller == caller && state.leaves[i].code == f->code &&
        state.leaves[i].last == f->last && state.leaves[i].budget >= bytes) {
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

/* PINTENSOR_STACK=full: from the caller outwards; frames of our own say nothing to the reader. */
static unsigned native_frames(struct stack *s)
{
    if (pt_option(PT_OPTION_STACK) != PT_STACK_FULL) {
        return 0;
    }
    int found = backtrace(s->native, NATIVE_MOST);
    unsigned n = found > 0 ? (unsigned)found : 0, first = 0;
    while (first < n && s->native[first] != s->caller) {
        first++;
    }
    if (first < n) {
        n -= first;
        memmove(s->native, s->native + first, n * sizeof s->native[0]);
    }
    return n;
}

/* The site of a stack: known, or entered now. */
static uint32_t finish(const struct stack *s)
{
    uint64_t key = key_of(s);
    bool keeps = pt_magazine_mine();
    uint32_t site = keeps ? pt_magazine_site(key) : 0;
    if (site == 0) {
        site = look_up(key);
        site = site != 0 ? site : create(s, key);
        if (keeps) {
            pt_magazine_remember_site(key, site);
        }
    }
    return site;
}

/* ---- callers that do not hold the GIL ---- */

#define ASKERS 256
#define STREAK_SURE 16 /* so often the same answer: from then on it is asked for now and then */
#define SKIP_SURE 63
#define SKIP_BUSY 255 /* after nobody answered in time */

/* The part of a stack that needs no GIL. */
static void begin(struct stack *s, const void *caller)
{
    s->caller = caller;
    s->thread = 0;
    s->count = 0;
    s->native_count = native_frames(s);
}

/* `thread_state` is this thread's, with the GIL held, or NULL. */
static uint32_t capture(void *thread_state, const void *caller)
{
    struct stack s;
    begin(&s, caller);
    s.count = thread_state != NULL ? pt_python_frames(thread_state, s.frames, WALK_MOST) : 0;
    return finish(&s);
}

/* In a thread of our own, for the one that asks and has begun its stack. */
static uint32_t capture_other(void *thread_state, const void *begun)
{
    struct stack s = *(const struct stack *)begun;
    s.count = pt_python_frames(thread_state, s.frames, WALK_MOST);
    return finish(&s);
}

static uint32_t here_without_gil(const void *caller)
{
    static struct {
        const void *caller;
        uint32_t site;
        unsigned streak, skip;
    } askers[ASKERS];
    size_t i = mix(3, (uintptr_t)caller) & (ASKERS - 1);
    uint32_t site = 0;
    pthread_mutex_lock(&state.mutex);
    if (askers[i].caller != caller) {
        memset(&askers[i], 0, sizeof askers[i]);
        askers[i].caller = caller;
    }
    if (askers[i].skip > 0) {
        askers[i].skip--;
        site = askers[i].site;
    }
    pthread_mutex_unlock(&state.mutex);
    if (site != 0) {
        return site;
    }
    struct stack s;
    begin(&s, caller);
    s.thread = (uint32_t)syscall(SYS_gettid);
    bool answered = pt_ask(capture_other, &s, &site);
    if (!answered) {
        site = finish(&s);
    }
    pthread_mutex_lock(&state.mutex);
    if (askers[i].caller == caller) {
        askers[i].streak = askers[i].site == site ? askers[i].streak + 1 : 0;
        askers[i].skip = !answered ? SKIP_BUSY : askers[i].streak >= STREAK_SURE ? SKIP_SURE : 0;
        askers[i].site = site;
    }
    pthread_mutex_unlock(&state.mutex);
    return site;
}

/* Small blocks, and calls that only give back: `budget` bytes of a line are looked at once. */
static uint32_t here_small(const void *caller, size_t bytes, bool may_wait)
{
    struct pt_python_frame leaf = {0};
    enum pt_python_gil gil = pt_python_gil();
    if (pt_magazine_mine() && gil == PT_PYTHON_NONE && pt_option(PT_OPTION_STACK) != PT_STACK_FULL) {
        return capture(NULL, caller); /* the caller is all there is to look at, and no lock is taken for that */
    }
    bool python = gil == PT_PYTHON_HELD && pt_python_quiet() && pt_python_frame(&leaf);
    uint32_t site = leaf_spend(caller, &leaf, bytes);
    if (site == 0) {
        site = gil == PT_PYTHON_RELEASED && may_wait ? here_without_gil(caller)
                                                     : capture(python ? pt_python_thread_state() : NULL, caller);
        leaf_remember(caller, &leaf, site);
    }
    return site;
}

uint32_t pt_site_here(const void *caller, size_t bytes)
{
    if (pt_option(PT_OPTION_STACK) == PT_STACK_OFF) {
        return 0;
    }
    if (bytes < PT_SITE_FULL) {
        return here_small(caller, bytes, true);
    }
    switch (pt_python_gil()) {
    case PT_PYTHON_HELD: return capture(pt_python_quiet() ? pt_python_thread_state() : NULL, caller);
    case PT_PYTHON_RELEASED: return here_without_gil(caller);
    case PT_PYTHON_NONE: break;
    }
    return capture(NULL, caller);
}

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
