#include "trace/frames.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* Frames that the API does not show lie between those it does: one for each call from C into Python, at most. */
#define RAW_MOST       (2 * PT_FRAMES_MOST)
#define TAGS           ((uintptr_t)7) /* 3.14 marks pointers in their lowest bits */
#define STATE_SEARCHED 160 /* bytes of a PyThreadState in which the pointer to the running frame is looked for */

/* How a frame looks: byte offsets. `place` says which instruction: an address within the code, or before 3.11 an int
 * that counts `unit` bytes. In 3.11 and 3.12 the thread state's pointer leads to a struct that has it at `through`. */
static const struct shape {
    int minor, through;
    uint8_t code, previous, place, unit;
} shapes[] = {
    {9, -1, 32, 24, 104, 1}, {10, -1, 32, 24, 96, 2}, {11, 8, 32, 48, 56, 0},
    {12, 0, 0, 8, 56, 0},    {13, -1, 0, 8, 56, 0}, /* and later, as long as it proves right */
};

struct raw {
    uintptr_t code, place;
};

static struct {
    _Atomic enum pt_frames_state state;
    atomic_flag busy;
    const struct shape *shape;
    unsigned top;                 /* where in the thread state */
    struct pt_python_frame first; /* the frame that it agreed on before all others */
} known = {.busy = ATOMIC_FLAG_INIT};

void pt_frames_init(void)
{
    known.state = PT_FRAMES_UNKNOWN;
    atomic_flag_clear(&known.busy);
}

enum pt_frames_state pt_frames_state(void)
{
    return atomic_load_explicit(&known.state, memory_order_acquire);
}

/* Until the offsets are proven an address may be anything: the kernel is asked, and refuses where we would die. */
static inline bool load(uintptr_t at, bool proven, uintptr_t *out)
{
    if (proven) {
        memcpy(out, (const void *)at, sizeof *out);
        return true;
    }
    struct iovec to = {out, sizeof *out}, from = {(void *)at, sizeof *out};
    return process_vm_readv(getpid(), &to, 1, &from, 1, 0) == (ssize_t)sizeof *out;
}

/* Returns how many frames, innermost first; -1 if that is no stack. */
static inline __attribute__((always_inline)) int walk(const struct shape *shape, uintptr_t thread_state, unsigned top,
                                                      bool proven, struct raw *out)
{
    uintptr_t frame, through;
    if (shape->through < 0 ? !load(thread_state + top, proven, &frame)
                           : !load(thread_state + top, proven, &through) ||
                                 !load(through + (unsigned)shape->through, proven, &frame)) {
        return -1;
    }
    int n = 0;
    for (; frame != 0 && n < RAW_MOST; n++) {
        if (!load(frame + shape->code, proven, &out[n].code) || !load(frame + shape->place, proven, &out[n].place) ||
            !load(frame + shape->previous, proven, &frame)) {
            return -1;
        }
        out[n].code &= ~TAGS;
        if (shape->unit > 0) {
            out[n].place = (uint32_t)out[n].place;
        }
    }
    return n;
}

bool pt_frames_key(uint64_t *key)
{
    enum pt_frames_state state = pt_frames_state();
    if ((state != PT_FRAMES_ON_TRIAL && state != PT_FRAMES_PROVEN) || !pt_python_hold()) {
        return false;
    }
    struct raw raw[RAW_MOST];
    uintptr_t at = (uintptr_t)pt_python_thread_state();
    int n = -1;
    if (at != 0) {
        n = state == PT_FRAMES_PROVEN ? walk(known.shape, at, known.top, true, raw)
                                      : walk(known.shape, at, known.top, false, raw);
    }
    pt_python_let_go();
    uint64_t hash = *key;
    for (int i = 0; i < n; i++) {
        hash = pt_frames_mix(hash, raw[i].code * 0xff51afd7ed558ccdu + raw[i].place);
    }
    *key = hash;
    return n >= 0;
}

/* Whether the memory tells the same stack. What the API does not show is skipped; at first not what would be innermost:
 * a frame that is gone may still name the running one as its previous. */
static bool agrees(const struct shape *shape, uintptr_t thread_state, unsigned top, bool first_time,
                   const struct pt_python_frame *frames, unsigned count)
{
    struct raw raw[RAW_MOST];
    int n = walk(shape, thread_state, top, false, raw);
    uintptr_t head = 0; /* how far into a code object its instructions begin */
    unsigned found = 0;
    for (int i = 0; i < n && found < count && !(first_time && i == 1 && found == 0); i++) {
        const struct pt_python_frame *f = &frames[found];
        if (raw[i].code != (uintptr_t)f->code) {
            continue;
        }
        if (shape->unit > 0) {
            if (pt_python_line(f->code, (int32_t)raw[i].place * shape->unit) != f->last) {
                continue;
            }
        } else if (f->last >= 0) {
            uintptr_t this_head = raw[i].place - (uintptr_t)f->last - raw[i].code;
            if (this_head > 1024 || (head != 0 && this_head != head)) {
                continue;
            }
            head = this_head;
        }
        found++;
    }
    return found == count && n <= (int)(2 * count + 8);
}

static void settle(enum pt_frames_state state)
{
    atomic_store_explicit(&known.state, state, memory_order_release);
}

/* The running frame's place in the thread state, or 0. */
static unsigned find_top(const struct shape *shape, uintptr_t thread_state, const struct pt_python_frame *frames,
                         unsigned count)
{
    unsigned top = 2 * sizeof(void *); /* past the links to its neighbours */
    while (top < STATE_SEARCHED && !agrees(shape, thread_state, top, true, frames, count)) {
        top += sizeof(void *);
    }
    return top < STATE_SEARCHED ? top : 0;
}

void pt_frames_learn(void *thread_state, const struct pt_python_frame *frames, unsigned count)
{
    enum pt_frames_state state = pt_frames_state();
    if (count == 0 || state == PT_FRAMES_OFF || atomic_flag_test_and_set(&known.busy)) {
        return;
    }
    uintptr_t at = (uintptr_t)thread_state;
    if (state == PT_FRAMES_UNKNOWN) {
        int minor = pt_python_minor();
        known.shape = NULL;
        for (unsigned i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            known.shape = minor >= shapes[i].minor ? &shapes[i] : known.shape;
        }
        known.top = known.shape != NULL ? find_top(known.shape, at, frames, count) : 0;
        known.first = frames[0];
        state = known.top != 0 ? PT_FRAMES_ON_TRIAL : PT_FRAMES_OFF;
    } else if (!agrees(known.shape, at, known.top, false, frames, count)) {
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
