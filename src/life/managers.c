#include "life/managers.h"

#include "memory/owner.h"
#include "pool/lock.h"

#include <stdatomic.h>
#include <stddef.h>

#define MANAGERS_MOST 1024
#define ALIVE_MOST    65536 /* of the C interface's; a page of these is touched once its numbers are given */

/* Written with the pool's lock held; looked up without, since every allocation through a door does. A key that is there
 * already stands for the same number until its object is gone, which is nobody's to ask about then. */
static struct {
    struct {
        const void *_Atomic key;
        _Atomic uint32_t number;
    } managers[MANAGERS_MOST];
    _Atomic uint32_t used;
    uint32_t last;
} state;

void pt_managers_reset(void)
{
    for (uint32_t i = 0; i < state.used; i++) {
        state.managers[i].key = NULL;
        state.managers[i].number = 0;
    }
    state.used = 0;
}

/* Each at its number modulo ALIVE_MOST, so a number whose place is taken is passed over. */
static _Atomic uint32_t alive[ALIVE_MOST];

/* A number that was not given before, or 0. With the lock held. */
static uint32_t next_number(void)
{
    return state.last < PT_MANAGERS_NOBODY - 1 ? ++state.last : 0;
}

uint32_t pt_managers_new(void)
{
    uint32_t number = 0;
    pt_lock_enter();
    for (uint32_t tries = 0; tries < ALIVE_MOST; tries++) {
        number = next_number();
        if (number == 0 || alive[number % ALIVE_MOST] == 0) {
            break;
        }
    }
    bool placed = number != 0 && alive[number % ALIVE_MOST] == 0;
    if (placed) {
        alive[number % ALIVE_MOST] = number;
    }
    pt_lock_leave();
    return placed ? number : 0;
}

bool pt_managers_alive(uint64_t manager)
{
    return manager != 0 && atomic_load_explicit(&alive[manager % ALIVE_MOST], memory_order_relaxed) == manager;
}

bool pt_managers_end(uint64_t manager)
{
    uint32_t number = (uint32_t)manager;
    return pt_managers_alive(manager) && atomic_compare_exchange_strong(&alive[manager % ALIVE_MOST], &number, 0);
}

/* 0: there is none. */
static uint32_t find(const void *key)
{
    uint32_t used = atomic_load_explicit(&state.used, memory_order_acquire);
    for (uint32_t i = 0; i < used; i++) {
        if (atomic_load_explicit(&state.managers[i].key, memory_order_acquire) == key) {
            return atomic_load_explicit(&state.managers[i].number, memory_order_relaxed);
        }
    }
    return 0;
}

/* With the lock held: enters the key; 0 when there is no place left: such late comers are served, but not told apart. */
static uint32_t enter(const void *key)
{
    uint32_t i = 0;
    while (i < state.used && state.managers[i].key != NULL) {
        i++;
    }
    if (i == MANAGERS_MOST) {
        return 0;
    }
    uint32_t number = next_number();
    if (number == 0) {
        return 0;
    }
    state.managers[i].number = number;
    atomic_store_explicit(&state.managers[i].key, key, memory_order_release);
    if (i == state.used) {
        atomic_store_explicit(&state.used, i + 1, memory_order_release);
    }
    return number;
}

uint32_t pt_managers_of(const void *key, bool make)
{
    if (!pt_owner_owns()) {
        return 0; /* a forked child: the keys are its parent's */
    }
    uint32_t number = find(key);
    if (number == 0 && make) {
        pt_lock_enter();
        number = find(key); /* another thread may have been faster */
        number = number != 0 ? number : enter(key);
        pt_lock_leave();
    }
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
