#include "trace/code.h"

#include "memory/owner.h"

#include <pthread.h>
#include <string.h>

#define SLOTS ((size_t)32 << 10) /* a power of two */

_Atomic uint32_t pt_code_ages[1 << PT_CODE_AGES_BITS];

/* The watched ones, each at its place or at the first free one behind it. The mutex is a leaf: Python is never called
 * under it, and who has it never waits for the GIL. */
static struct {
    pthread_mutex_t mutex;
    uintptr_t code[SLOTS];
    size_t count;
} watched = {.mutex = PTHREAD_MUTEX_INITIALIZER};

void pt_code_init(void)
{
    pthread_mutex_init(&watched.mutex, NULL);
    if (watched.count > 0) { /* in a forked child, perhaps in the middle of a change: all are watched once more */
        memset(watched.code, 0, sizeof watched.code);
        watched.count = 0;
    }
}

static size_t place_of(uintptr_t code)
{
    return (code >> 4) * 0x9e3779b97f4a7c15u >> 49;
}

static size_t find(uintptr_t code)
{
    size_t i = place_of(code);
    while (watched.code[i] != 0 && watched.code[i] != code) {
        i = (i + 1) & (SLOTS - 1);
    }
    return i;
}

/* Those behind it that would not be found past a gap move up. */
static void take_out(size_t gap)
{
    watched.count--;
    watched.code[gap] = 0;
    for (size_t i = (gap + 1) & (SLOTS - 1); watched.code[i] != 0; i = (i + 1) & (SLOTS - 1)) {
        size_t from_place = (i - place_of(watched.code[i])) & (SLOTS - 1), from_gap = (i - gap) & (SLOTS - 1);
        if (from_place >= from_gap) {
            watched.code[gap] = watched.code[i];
            watched.code[i] = 0;
            gap = i;
        }
    }
}

/* Called by Python with the GIL, before the memory can be anybody else's; and where it cannot be watched after all. */
static void ended(void *code)
{
    if (!pt_owner_owns()) {
        return; /* a child that has nothing of its own yet: another thread of its parent's may have held the mutex */
    }
    atomic_fetch_add(pt_code_age((uintptr_t)code), 1);
    pthread_mutex_lock(&watched.mutex);
    size_t i = find((uintptr_t)code);
    if (watched.code[i] != 0) {
        take_out(i);
    }
    pthread_mutex_unlock(&watched.mutex);
}

enum verdict { KNOWN, FRESH, NO_ROOM };

static enum verdict enter(uintptr_t code)
{
    pthread_mutex_lock(&watched.mutex);
    size_t i = find(code);
    enum verdict verdict = watched.code[i] != 0 ? KNOWN : watched.count == PT_CODE_MOST ? NO_ROOM : FRESH;
    if (verdict == FRESH) {
        watched.code[i] = code;
        watched.count++;
    }
    pthread_mutex_unlock(&watched.mutex);
    return verdict;
}

bool pt_code_watch(const struct pt_python_frame *frames, unsigned count)
{
    bool all = true;
    for (unsigned i = 0; i < count; i++) {
        enum verdict verdict = enter((uintptr_t)frames[i].code);
        if (verdict == FRESH && !pt_python_watch(frames[i].code, ended)) {
            ended(frames[i].code);
            verdict = NO_ROOM;
        }
        all = all && verdict != NO_ROOM;
    }
    return all;
}
