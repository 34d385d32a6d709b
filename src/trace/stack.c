#include "trace/stack.h"

#include "base/linker.h"
#include "base/options.h"
#include "memory/owner.h"
#include "trace/code.h"
#include "trace/key_cache.h"
#include "trace/site_store.h"
#include "trace/symbol.h"

#include <execinfo.h>
#include <stdatomic.h>
#include <string.h>

#define LIBRARY_FRAMES_MOST 4

/* By what instruction its frames are at, or by what line. */
static struct pt_key_cache known;
static _Atomic bool used;

/* glibc loads its unwinder at the first call: when nobody else is loading something. */
static bool have_unwinder(void)
{
    static _Atomic bool loaded;
    if (pt_option(PT_OPTION_STACK) != PT_STACK_FULL) {
        return false;
    }
    if (!loaded && pt_linker_begin()) {
        void *one;
        (void)backtrace(&one, 1);
        pt_linker_end();
        loaded = true;
    }
    return loaded;
}

void pt_stack_init(void)
{
    if (atomic_exchange(&used, false)) { /* in a forked child; else that would touch memory for nothing */
        memset(&known, 0, sizeof known);
    }
    pt_code_init();
    pt_site_store_init();
    (void)have_unwinder();
}

/* PINTENSOR_STACK=full: from the caller outwards; frames of our own say nothing to the reader. */
static unsigned native_frames(struct pt_stack *s)
{
    /* Older unwinders go through the list of objects. */
    if (!have_unwinder() || !pt_linker_list_begin()) {
        return 0;
    }
    int found = backtrace(s->native, PT_STACK_NATIVE_MOST);
    pt_linker_list_end();
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

void pt_stack_begin(struct pt_stack *s, const void *caller)
{
    s->caller = caller;
    s->thread = 0;
    s->count = 0;
    s->frames = NULL;
    s->lasts = true;
    s->native_count = native_frames(s);
}

void pt_stack_complete(struct pt_stack *s, void *thread_state)
{
    uintptr_t at[PT_FRAMES_MOST];
    s->count = pt_python_frames(thread_state, s->frames, at, PT_FRAMES_MOST);
    pt_frames_learn(thread_state, (uintptr_t)s, s->frames, at, s->count);
    s->lasts = pt_code_watch(s->frames, s->count);
}

static uint64_t key_of(const struct pt_stack *s, bool by_line)
{
    uint64_t hash = pt_frames_mix(pt_frames_mix(by_line, 1), (uintptr_t)s->caller);
    for (unsigned i = 0; i < s->count; i++) {
        int32_t at = by_line ? pt_python_frame_line(&s->frames[i]) : s->frames[i].last;
        hash = pt_frames_mix(pt_frames_mix(hash, pt_code_name((uintptr_t)s->frames[i].code)), (uint32_t)at);
    }
    for (unsigned i = 0; i < s->native_count; i++) {
        hash = pt_frames_mix(hash, (uintptr_t)s->native[i]);
    }
    return hash;
}

uint64_t pt_stack_key(const struct pt_stack *s)
{
    return key_of(s, false);
}

/* A frame in words. Strings are interned one frame at a time: twenty in words are 8 KiB, and a thread's whole stack may
 * be 16. */
struct named_frame {
    char file[PT_SYMBOL_MOST], function[PT_SYMBOL_MOST];
    uint32_t line;
};

static struct pt_frame intern(const struct named_frame *f)
{
    return (struct pt_frame){.file = pt_site_store_name(pt_symbol_short_path(f->file)),
                             .function = pt_site_store_name(f->function),
                             .line = f->line};
}

static __attribute__((noinline)) bool name_python(const struct pt_python_frame *frame, unsigned *library,
                                                  struct pt_frame *out)
{
    struct named_frame f;
    pt_python_describe(frame, f.file, f.function, PT_SYMBOL_MOST, &f.line);
    bool is_library = pt_symbol_is_library(f.file);
    if (is_library && *library == LIBRARY_FRAMES_MOST) {
        return false;
    }
    *library += is_library;
    *out = intern(&f);
    return true;
}

static __attribute__((noinline)) struct pt_frame name_native(const void *pc)
{
    struct named_frame f = {.line = 0};
    pt_symbol_native(pc, f.function, f.file, PT_SYMBOL_MOST);
    return intern(&f);
}

/* Which frames to keep: the innermost few of libraries, then the user's own, and native ones. How many are Python's. */
static unsigned name_frames(const struct pt_stack *s, struct pt_site *out)
{
    unsigned kept = 0, library = 0;
    out->library = 0;
    for (unsigned i = 0; i < s->count && kept < PT_SITE_FRAMES; i++) {
        unsigned before = library;
        if (name_python(&s->frames[i], &library, &out->frames[kept])) {
            bool others = library > before || out->frames[kept].line == 0;
            out->library |= (uint32_t)others << kept++;
        }
    }
    unsigned python = kept;
    for (unsigned i = 0; i < s->native_count && kept < PT_SITE_FRAMES; i++) {
        out->frames[kept] = name_native(s->native[i]);
        out->library |= 1u << kept++;
    }
    out->frames_count = kept;
    return python;
}

static __attribute__((noinline)) void name_caller(const struct pt_stack *s, struct pt_site *out)
{
    struct named_frame f;
    pt_symbol_native(s->caller, f.function, f.file, PT_SYMBOL_MOST);
    out->symbol = pt_site_store_name(f.function);
    out->object = pt_site_store_name(f.file);
}

static __attribute__((noinline)) void place_call(const void *pc, uint32_t site, struct pt_native *native)
{
    char object[PT_SYMBOL_MOST];
    uint32_t at;
    if (PT_GET(native->object) == 0 && pt_symbol_place(pc, object, sizeof object, &at)) {
        pt_site_store_place(site, native, object, at);
    }
}

/* The native frames are the last ones. They are placed once the site has its row: they would take too much of a small
 * stack beside it. */
static void place_calls(const struct pt_stack *s, uint32_t site, uint32_t python, uint32_t frames)
{
    struct pt_natives *n = pt_table_natives(site);
    place_call(s->caller, site, &n->caller);
    for (uint32_t i = python; i < frames; i++) {
        place_call(s->native[i - python], site, &n->frame[i]);
    }
}

/* A stack that is new by its lines as well. */
static __attribute__((noinline)) uint32_t enter(const struct pt_stack *s)
{
    struct pt_site site = {.thread = s->thread != 0 ? s->thread : pt_owner_thread()};
    uint32_t number, python, frames;
    do {
        uint32_t era = pt_site_store_begin();
        python = name_frames(s, &site);
        frames = site.frames_count;
        name_caller(s, &site);
        number = pt_site_store_enter(&site, era);
    } while (number == 0);
    bool whole = site.frames_count == frames && pt_site_row(number) != pt_table()->other_site;
    if (whole) {
        place_calls(s, number, python, frames);
    }
    return number;
}

static void know(const struct pt_stack *s, uint64_t key, uint32_t site)
{
    if (s->lasts) {
        atomic_store_explicit(&used, true, memory_order_relaxed);
        pt_key_cache_enter(&known, key, site);
    }
}

uint32_t pt_stack_site(const struct pt_stack *s)
{
    uint64_t key = pt_stack_key(s);
    uint32_t site = pt_key_cache_find(&known, key);
    if (site == 0) {
        /* Its instructions may be new, and its lines known: Python 3.12 has several instructions for one call, from one
         * time to the next. */
        uint64_t by_line = key_of(s, true);
        site = pt_key_cache_find(&known, by_line);
        if (site == 0) {
            site = enter(s);
            know(s, by_line, site);
        }
        know(s, key, site);
    }
    return site;
}
