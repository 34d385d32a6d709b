#include "life/managers.h"

#include "memory/owner.h"
#include "pool/lock.h"

#include <stddef.h>
#include <string.h>

#define MANAGERS_MOST 1024

static struct {
    struct {
        const void *key;
        uint32_t number;
    } managers[MANAGERS_MOST];
    uint32_t used, last;
} state;

void pt_managers_reset(void)
{
    memset(state.managers, 0, sizeof state.managers);
    state.used = 0;
}

uint32_t pt_managers_new(void)
{
    pt_lock_enter();
    uint32_t number = ++state.last;
    pt_lock_leave();
    return number;
}

/* Where the key is, or a free place, or MANAGERS_MOST. With the lock held. */
static uint32_t place_of(const void *key)
{
    uint32_t free_place = MANAGERS_MOST;
    for (uint32_t i = 0; i < state.used; i++) {
        if (state.managers[i].key == key) {
            return i;
        }
        if (state.managers[i].key == NULL) {
            free_place = i;
        }
    }
    return free_place < MANAGERS_MOST ? free_place : state.used;
}

uint32_t pt_managers_of(const void *key, bool make)
{
    uint32_t number = 0;
    if (!pt_owner_owns()) {
        return 0; /* a forked child: the lock may be a lost thread's, the keys are its parent's */
    }
    pt_lock_enter();
    uint32_t place = place_of(key);
    if (place < MANAGERS_MOST) { /* late comers past that are still served, but not told apart */
        bool known = place < state.used && state.managers[place].key == key;
        if (!known && make) {
            state.used += place == state.used;
            state.managers[place].key = key;
            state.managers[place].number = ++state.last;
        }
        number = known || make ? state.managers[place].number : 0;
    }
    pt_lock_leave();
    return number;
}

void pt_managers_forget(uint32_t manager)
{
    pt_lock_enter();
    for (uint32_t i = 0; i < state.used; i++) {
        if (state.managers[i].number == manager) {
            state.managers[i].key = NULL;
            state.managers[i].number = 0;
        }
    }
    pt_lock_leave();
}
