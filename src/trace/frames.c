#include "trace/frames.h"

#include "trace/code.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

/* Frames that the API does not show lie between those it does: one for each call from C into Python, at most. */
#define RAW_MOST       (2 * PT_FRAMES_MOST)
#define TAGS           ((uintptr_t)7) /* 3.14 marks pointers in their lowest bits */
#define STATE_SEARCHED 160 /* bytes of a PyThreadState in which the pointer to the running frame is looked for */
#define NEWEST         14  /* the latest 3.x of which this was tried, or its headers read */
#define TRIES          64  /* stacks that say nothing, before all of this is given up */

/* A C stack is no larger, as a rule. A word of the interpreter's that would lead so far up at most is an address in it.
 */
#define STACK_NEAR ((uintptr_t)8 << 20)

/* How a frame looks: byte offsets. `place` says which instruction: an address within the code, or before 3.11 an int
 * that counts `unit` bytes. In 3.11 and 3.12 the thread state's pointer leads to a struct that has it at `through`. */
static const struct shape {
    int minor, through;
    uint8_t code, previous, place, unit;
} shapes[] = {
    {9, -1, 32, 24, 104, 1}, {10, -1, 32, 24, 96, 2}, {11, 8, 32, 48, 56, 0},
    {12, 0, 0, 8, 56, 0},    {13, -1, 0, 8, 56, 0}, /* and later, as long as it proves right */
};

/* What may be read before the offsets are proven: frames that the API named, and the thread's own C stack, where the
 * interpreter keeps some. */
struct sure {
    uintptr_t near;
    const uintptr_t *at;
    unsigned count;
};

static struct {
    _Atomic enum pt_frames_state state;
    atomic_flag busy; /* somebody learns; the rest is read once the state says so */
    const struct shape *shape;
    unsigned top; /* where in the thread state */
    unsigned tries;
    struct pt_python_frame first; /* the frame that it agreed on before all others */
} known = {.busy = ATOMIC_FLAG_INIT};

void pt_frames_init(void)
{
    known.state = PT_FRAMES_UNKNOWN;
    known.tries = 0;
    atomic_flag_clear(&known.busy);
}

enum pt_frames_state pt_frames_state(void)
{
    return atomic_load_explicit(&known.state, memory_order_acquire);
}

static inline uintptr_t load(uintptr_t at)
{
    uintptr_t word;
    memcpy(&word, (const void *)at, sizeof word);
    return word;
}

static bool readable(const struct sure *sure, uintptr_t at)
{
    bool is = at - sure->near < STACK_NEAR;
    for (unsigned i = 0; !is && i < sure->count; i++) {
        is = sure->at[i] == at;
    }
    return is;
}

/* The running frame, read from a place in the thread state, all of which may be read; 0: that is no such place. */
static inline __attribute__((always_inline)) uintptr_t running(const struct shape *shape, uintptr_t thread_state,
                                                               unsigned top, const struct sure *sure)
{
    uintptr_t word = load(thread_state + top);
    if (shape->through < 0) {
        return word;
    }
    return sure == NULL || word - sure->near < STACK_NEAR ? load(word + (unsigned)shape->through) : 0;
}

/* Where its frames are, innermost first. Returns how many; -1 if that is no stack, or leads where nothing may be read.
 * `sure`: NULL once the offsets are believed. */
static inline __attribute__((always_inline)) int walk(const struct shape *shape, uintptr_t thread_state, unsigned top,
                                                      const struct sure *sure, uintptr_t *out)
{
    uintptr_t frame = running(shape, thread_state, top, sure);
    int n = 0;
    for (; frame != 0 && n < RAW_MOST; n++) {
        if (sure != NULL && !readable(sure, frame)) {
            return n < PT_FRAMES_MOST ? -1 : n; /* past what the API was asked for */
        }
        out[n] = frame;
        frame = load(frame + shape->previous);
    }
    return n;
}

static inline uintptr_t code_of(const struct shape *shape, uintptr_t frame)
{
    return load(frame + shape->code) & ~TAGS;
}

static inline uintptr_t place_of(const struct shape *shape, uintptr_t frame)
{
    uintptr_t place = load(frame + shape->place);
    return shape->unit > 0 ? (uint32_t)place : place;
}

bool pt_frames_key(uint64_t *key)
{
    enum pt_frames_state state = pt_frames_state();
    if ((state != PT_FRAMES_ON_TRIAL && state != PT_FRAMES_PROVEN) || !pt_python_hold()) {
        return false;
    }
    const struct shape *shape = known.shape;
    uintptr_t at = (uintptr_t)pt_python_thread_state(), frames[RAW_MOST];
    int n = at != 0 ? walk(shape, at, known.top, NULL, frames) : -1;
    uint64_t hash = *key;
    for (int i = 0; i < n; i++) {
        uint64_t code = pt_code_name(code_of(shape, frames[i]));
        hash = pt_frames_mix(hash, code * 0xff51afd7ed558ccdu + place_of(shape, frames[i]));
    }
    pt_python_let_go();
    *key = hash;
    return n >= 0;
}

/* Whether a frame of memory says what the API says of it. `head`: how far into a code object its instructions begin,
 * once that is known. */
static bool says(const struct shape *shape, uintptr_t frame, const struct pt_python_frame *f, uintptr_t *head)
{
    uintptr_t place = place_of(shape, frame);
    if (code_of(shape, frame) != (uintptr_t)f->code) {
        return false;
    }
    if (shape->unit > 0) {
        return pt_python_line(f->code, (int32_t)place * shape->unit) == f->last;
    }
    uintptr_t this_head = place - (uintptr_t)f->last - (uintptr_t)f->code;
    if (f->last >= 0 && (this_head > 1024 || (*head != 0 && this_head != *head))) {
        return false;
    }
    *head = f->last >= 0 ? this_head : *head;
    return true;
}

/* Whether the memory tells the same stack. What the API does not show is skipped. */
static bool agrees(const struct shape *shape, uintptr_t thread_state, unsigned top, const struct sure *guard,
                   const struct pt_python_frame *frames, const uintptr_t *at, unsigned count)
{
    uintptr_t raw[RAW_MOST], head = 0;
    int n = walk(shape, thread_state, top, guard, raw);
    unsigned found = 0;
    for (int i = 0; i < n && found < count; i++) {
        if (raw[i] == at[found]) {
            if (!says(shape, raw[i], &frames[found], &head)) {
                return false;
            }
            found++;
        }
    }
    return found == count && n <= (int)(2 * count + 8);
}

static void settle(enum pt_frames_state state)
{
    atomic_store_explicit(&known.state, state, memory_order_release);
}

/* The running frame's place in the thread state, or 0. */
static unsigned find_top(const struct shape *shape, uintptr_t thread_state, const struct sure *sure)
{
    unsigned top = 2 * sizeof(void *); /* past the links to its neighbours */
    while (top < STATE_SEARCHED && running(shape, thread_state, top, sure) != sure->at[0]) {
        top += sizeof(void *);
    }
    return top < STATE_SEARCHED ? top : 0;
}

/* The first look: nothing is read that is not surely there. Of a version that nobody has tried a frame has to lead to
 * the next one besides. */
static enum pt_frames_state try_shape(uintptr_t thread_state, const struct sure *sure,
                                      const struct pt_python_frame *frames)
{
    int minor = pt_python_minor();
    known.shape = NULL;
    for (unsigned i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        known.shape = minor >= shapes[i].minor ? &shapes[i] : known.shape;
    }
    if (known.shape == NULL || sure->at[0] == 0 || ++known.tries > TRIES) {
        return PT_FRAMES_OFF;
    }
    known.top = find_top(known.shape, thread_state, sure);
    known.first = frames[0];
    bool believed = known.top != 0 && (minor <= NEWEST || sure->count > 1) &&
                    agrees(known.shape, thread_state, known.top, sure, frames, sure->at, sure->count);
    return believed ? PT_FRAMES_ON_TRIAL : PT_FRAMES_UNKNOWN;
}

void pt_frames_learn(void *thread_state, uintptr_t near, const struct pt_python_frame *frames, const uintptr_t *at,
                     unsigned count)
{
    enum pt_frames_state state = pt_frames_state();
    if (count == 0 || state == PT_FRAMES_OFF || atomic_flag_test_and_set(&known.busy)) {
        return;
    }
    if (state == PT_FRAMES_UNKNOWN) {
        state = try_shape((uintptr_t)thread_state, &(struct sure){near, at, count}, frames);
    } else if (!agrees(known.shape, (uintptr_t)thread_state, known.top, NULL, frames, at, count)) {
        state = PT_FRAMES_OFF;
    }
    for (unsigned i = 0; i < count && state == PT_FRAMES_ON_TRIAL; i++) {
        if (frames[i].code != known.first.code || frames[i].last != known.first.last) {
            state = PT_FRAMES_PROVEN;
        }
    }
    settle(state);
    atomic_flag_clear(&known.busy);
}
