#include "trace/stack.h"

#include "base/linker.h"
#include "base/options.h"
#include "ledger/table.h"
#include "trace/symbol.h"

#include <execinfo.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIBRARY_FRAMES_MOST 4
#define SLOTS               ((size_t)64 << 10) /* four times the number of sites, which have two keys or more */

static struct {
    pthread_mutex_t mutex;
    struct {
        uint64_t key;
        uint32_t site;
    } slots[SLOTS];
    size_t used;
} state = {.mutex = PTHREAD_MUTEX_INITIALIZER};

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
    pthread_mutex_init(&state.mutex, NULL);
    if (state.used > 0) { /* in a forked child; else that would touch a MiB for nothing */
        memset(state.slots, 0, sizeof state.slots);
        state.used = 0;
    }
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
    s->native_count = native_frames(s);
}

static uint64_t key_of(const struct pt_stack *s, bool by_line)
{
    uint64_t hash = pt_frames_mix(1 + by_line, (uintptr_t)s->caller);
    for (unsigned i = 0; i < s->count; i++) {
        int32_t at = by_line ? pt_python_frame_line(&s->frames[i]) : s->frames[i].last;
        hash = pt_frames_mix(pt_frames_mix(hash, (uintptr_t)s->frames[i].code), (uint32_t)at);
    }
    for (unsigned i = 0; i < s->native_count; i++) {
        hash = pt_frames_mix(hash, (uintptr_t)s->native[i]);
    }
    return hash | 1; /* 0 marks an empty slot */
}

uint64_t pt_stack_key(const struct pt_stack *s)
{
    return key_of(s, false);
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

/* A frame in words. Strings are interned one frame at a time: twenty in words are 8 KiB, and a thread's whole stack may be
 * 16. */
struct named_frame {
    char file[PT_SYMBOL_MOST], function[PT_SYMBOL_MOST];
    uint32_t line;
};

static struct pt_frame intern(const struct named_frame *f)
{
    pthread_mutex_lock(&state.mutex);
    struct pt_frame frame = {.file = pt_table_intern(pt_symbol_short_path(f->file)),
                             .function = pt_table_intern(f->function),
                             .line = f->line};
    pthread_mutex_unlock(&state.mutex);
    return frame;
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

/* Which frames to keep: the innermost few of libraries, then the user's own. */
static void name_frames(const struct pt_stack *s, struct pt_site *out)
{
    unsigned kept = 0, library = 0;
    for (unsigned i = 0; i < s->count && kept < PT_SITE_FRAMES; i++) {
        unsigned before = library;
        if (name_python(&s->frames[i], &library, &out->frames[kept])) {
            bool others = library > before || out->frames[kept].line == 0;
            out->library |= (uint32_t)others << kept++;
        }
    }
    for (unsigned i = 0; i < s->native_count && kept < PT_SITE_FRAMES; i++) {
        out->frames[kept] = name_native(s->native[i]);
        out->library |= 1u << kept++;
    }
    out->frames_count = kept;
}

static __attribute__((noinline)) void name_caller(const struct pt_stack *s, struct pt_site *out)
{
    struct named_frame f;
    pt_symbol_native(s->caller, f.function, f.file, PT_SYMBOL_MOST);
    pthread_mutex_lock(&state.mutex);
    out->symbol = pt_table_intern(f.function);
    out->object = pt_table_intern(f.file);
    pthread_mutex_unlock(&state.mutex);
}

/* With the mutex held. */
static void know(uint64_t key, uint32_t number)
{
    size_t slot = slot_of(key);
    if (state.slots[slot].key == 0) {
        state.used++;
        state.slots[slot].key = key;
        state.slots[slot].site = number;
    }
}

/* With the mutex held; 0: the table is full. */
static uint32_t add(const struct pt_site *site)
{
    struct pt_table *table = pt_table();
    uint32_t number = atomic_load(&table->sites);
    if (!pt_table_open_site(number)) {
        return 0;
    }
    *pt_table_site(number) = *site;
    atomic_store(&table->sites, number + 1);
    return number;
}

/* Enters a stack into the table that is new by its lines as well. */
static __attribute__((noinline)) uint32_t enter(const struct pt_stack *s, uint64_t key, uint64_t by_line)
{
    struct pt_site site = {.thread = s->thread != 0 ? s->thread : (uint32_t)syscall(SYS_gettid), .smallest = UINT64_MAX};
    if (atomic_load(&pt_table()->sites) == pt_table()->sites_most) {
        return 0;
    }
    name_frames(s, &site);
    name_caller(s, &site);
    pthread_mutex_lock(&state.mutex);
    uint32_t number = state.slots[slot_of(by_line)].site; /* another thread may have been faster */
    bool fresh = number == 0 && (number = add(&site)) != 0;
    if (fresh) {
        know(by_line, number);
    }
    if (number != 0 && state.used < SLOTS / 2) {
        know(key, number);
    }
    pthread_mutex_unlock(&state.mutex);
    for (unsigned i = 0; fresh && i < s->count; i++) {
        pt_python_keep(s->frames[i].code); /* so that its address never means other code */
    }
    return number;
}

/* Its instructions may be new, and its lines known: Python 3.12 has several instructions for one call, from one time to the
 * next. */
static uint32_t known_by_line(uint64_t key, uint64_t by_line)
{
    pthread_mutex_lock(&state.mutex);
    uint32_t number = state.slots[slot_of(by_line)].site;
    if (number != 0 && state.used < SLOTS / 2) {
        know(key, number);
    }
    pthread_mutex_unlock(&state.mutex);
    return number;
}

uint32_t pt_stack_site(const struct pt_stack *s)
{
    uint64_t key = pt_stack_key(s);
    pthread_mutex_lock(&state.mutex);
    uint32_t number = state.slots[slot_of(key)].site;
    pthread_mutex_unlock(&state.mutex);
    if (number == 0) {
        uint64_t by_line = key_of(s, true);
        number = known_by_line(key, by_line);
        number = number != 0 ? number : enter(s, key, by_line);
    }
    return number;
}
