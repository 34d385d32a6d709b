#include "site.h"

#include "ask.h"
#include "options.h"
#include "python.h"
#include "table.h"

#include <dlfcn.h>
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
#define NAME_MOST 200

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
    char directory[NAME_MOST]; /* where the program was when it first pinned */
} state = {.mutex = PTHREAD_MUTEX_INITIALIZER};

void pt_site_init(void)
{
    pthread_mutex_init(&state.mutex, NULL);
    memset(state.slots, 0, sizeof state.slots);
    memset(state.leaves, 0, sizeof state.leaves);
    /* The system call: glibc's getcwd may allocate. */
    if (syscall(SYS_getcwd, state.directory, sizeof state.directory) <= 0) {
        state.directory[0] = '\0';
    }
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

static bool from_library(const char *file)
{
    return strstr(file, "/site-packages/") != NULL || strstr(file, "/dist-packages/") != NULL ||
           strstr(file, "/lib/python3") != NULL || strncmp(file, "<frozen", 7) == 0;
}

/* What a person calls the file: relative to the packages or to the working directory. */
static const char *short_path(const char *file)
{
    const char *packages = strstr(file, "-packages/");
    size_t here = strlen(state.directory);
    if (packages != NULL) {
        return packages + strlen("-packages/");
    }
    if (here > 1 && strncmp(file, state.directory, here) == 0 && file[here] == '/') {
        return file + here + 1;
    }
    return file;
}

/* "_ZN3foo3barEv" as "foo::bar"; anything more involved stays as it is. */
static void plain_name(const char *symbol, char *out, size_t size)
{
    const char *s = symbol;
    struct pt_text t;
    pt_text_init(&t, out, size, -1);
    if (strncmp(s, "_ZN", 3) == 0) {
        s += 3;
        s += *s == 'K';
        while (*s >= '1' && *s <= '9') {
            size_t len = 0;
            while (*s >= '0' && *s <= '9') {
                len = len * 10 + (size_t)(*s++ - '0');
            }
            char part[NAME_MOST];
            if (len >= sizeof part || strlen(s) < len) {
                break;
            }
            memcpy(part, s, len);
            part[len] = '\0';
            pt_text_add(&t, t.len > 0 ? "::%s" : "%s", part);
            s += len;
        }
        if (t.len > 0 && (*s == 'E' || *s == 'C' || *s == 'D')) {
            return;
        }
        pt_text_init(&t, out, size, -1);
    }
    pt_text_add(&t, "%s", symbol);
}

/* Name of the code at a return address, and of the object it lies in. No lock held: dladdr takes the loader's. */
static void describe_native(const void *pc, char *symbol, char *object, size_t size)
{
    Dl_info info;
    struct pt_text t;
    symbol[0] = object[0] = '\0';
    if (pc == NULL || dladdr((const char *)pc - 1, &info) == 0 || info.dli_fname == NULL) {
        return;
    }
    const char *slash = strrchr(info.dli_fname, '/');
    pt_text_init(&t, object, size, -1);
    pt_text_add(&t, "%s", slash != NULL ? slash + 1 : info.dli_fname);
    if (info.dli_sname != NULL) {
        plain_name(info.dli_sname, symbol, size - 20);
        pt_text_init(&t, symbol + strlen(symbol), 20, -1);
        pt_text_add(&t, "+0x%x", (uint64_t)((uintptr_t)pc - (uintptr_t)info.dli_saddr));
    } else {
        pt_text_init(&t, symbol, size, -1);
        pt_text_add(&t, "+0x%x", (uint64_t)((uintptr_t)pc - (uintptr_t)info.dli_fbase));
    }
}

struct named_frame {
    char file[NAME_MOST], function[NAME_MOST];
    uint32_t line;
};

/* Which frames to keep: the innermost few of libraries, then the user's own. */
static unsigned name_frames(const struct stack *s, struct named_frame *out)
{
    unsigned kept = 0, library = 0;
    for (unsigned i = 0; i < s->count && kept < PT_SITE_FRAMES; i++) {
        struct named_frame *f = &out[kept];
        pt_python_describe(&s->frames[i], f->file, f->function, NAME_MOST, &f->line);
        bool is_library = from_library(f->file);
        if (!is_library || library < LIBRARY_FRAMES_MOST) {
            kept++;
            library += is_library;
        }
    }
    for (unsigned i = 0; i < s->native_count && kept < PT_SITE_FRAMES; i++) {
        struct named_frame *f = &out[kept++];
        describe_native(s->native[i], f->function, f->file, NAME_MOST);
        f->line = 0;
    }
    return kept;
}

/* Enters a new stack into the table. With no lock held, and with the GIL if there are Python frames. */
static uint32_t create(const struct stack *s, uint64_t key)
{
    struct named_frame named[PT_SITE_FRAMES];
    char symbol[NAME_MOST], object[NAME_MOST];
    unsigned kept = name_frames(s, named);
    describe_native(s->caller, symbol, object, NAME_MOST);

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
            site->frames[i] = (struct pt_frame){.file = pt_table_intern(short_path(named[i].file)),
                                                .function = pt_table_intern(named[i].function),
                                                .line = named[i].line};
            if (from_library(named[i].file) || named[i].line == 0) {
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
    uint32_t site = look_up(key);
    return site != 0 ? site : create(s, key);
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
