#include "pool/exact.h"

#include "device/driver.h"
#include "ledger/table.h"
#include "memory/arena.h"
#include "memory/pages.h"
#include "memory/pin.h"
#include "pool/background.h"
#include "pool/lock.h"

#include <errno.h>
#include <string.h>
#include <time.h>

/* Up to 8 MiB a block gets its own locked pages only while few do, since each may cost two mappings of the 65,530
 * that the kernel allows; past that many, such blocks share segments. Larger ones are always exact. */
#define ALWAYS ((size_t)8 << 20)
#define FEW    12000

static struct {
    _Atomic size_t few;   /* blocks below ALWAYS that were not given back */
    uint32_t dismissed;   /* chained by `next`; with the guard held */
    _Atomic size_t going; /* bytes of dismissed ones that were not given back yet */
} state;

void pt_exact_reset(void)
{
    memset(&state, 0, sizeof state);
}

bool pt_exact_may(size_t bytes)
{
    return bytes > PT_ARENA_SLAB_MOST && (bytes >= ALWAYS || state.few < FEW);
}

/* ---- making ---- */

uint32_t pt_exact_make(size_t bytes, bool locked, int *error)
{
    size_t capacity, need = pt_pages_up(bytes, PT_PAGE);
    (void)pt_driver_look(); /* a block made from here on may be registered */
    void *base = pt_arena_exact(bytes, &capacity);
    if (base == NULL) {
        *error = ENOBUFS;
        return 0;
    }
    bool registered = false;
    if (locked && pt_pin_hold(base, need, &registered) != 0) {
        *error = pt_pin_error();
        pt_arena_exact_free(base);
        return 0;
    }
    unsigned flags = PT_EXACT | (locked ? 0u : PT_PAGEABLE) | (registered ? PT_REGISTERED : 0u);
    pt_lock_lock();
    uint32_t number = pt_table_enter(base, bytes, locked ? need : 0, capacity, flags);
    state.few += number != 0 && capacity < ALWAYS;
    pt_lock_unlock();
    if (number == 0) {
        if (locked) {
            pt_pin_drop(base, need, registered);
        }
        pt_arena_exact_free(base);
        *error = ENOMEM;
    }
    return number;
}

bool pt_exact_fit(uint32_t number, size_t need)
{
    struct pt_record *r = pt_table_record(number);
    if ((r->flags & PT_REGISTERED) != 0 || r->locked == need) {
        return true;
    }
    bool fits = pt_pin_resize((void *)r->base, r->locked, need) == 0;
    pt_table_write_begin(r);
    r->locked = fits ? need : 0;
    pt_table_write_end(r);
    if (!fits) {
        r->next = 0;
        (void)pt_exact_destroy(number);
    }
    return fits;
}

/* ---- giving back ---- */

static size_t destroy(uint32_t number)
{
    struct pt_record *r = pt_table_record(number);
    size_t bytes = r->locked;
    pt_table_unindex(number);
    if ((r->flags & PT_PAGEABLE) != 0) {
        pt_pages_unlock((void *)r->base, pt_pages_up(r->asked, PT_PAGE));
    } else {
        pt_pin_drop((void *)r->base, r->locked, (r->flags & PT_REGISTERED) != 0);
    }
    pt_arena_exact_free((void *)r->base);
    pt_lock_lock();
    state.few -= r->capacity < ALWAYS;
    pt_table_give_record(number);
    pt_lock_unlock();
    return bytes;
}

size_t pt_exact_destroy(uint32_t first)
{
    size_t bytes = 0;
    while (first != 0) {
        uint32_t number = first;
        first = pt_table_record(number)->next;
        bytes += destroy(number);
    }
    return bytes;
}

void pt_exact_dismiss(uint32_t first)
{
    bool any = false;
    while (first != 0) {
        uint32_t number = first;
        struct pt_record *r = pt_table_record(number);
        first = r->next;
        if ((r->flags & PT_REGISTERED) == 0) {
            (void)destroy(number);
            continue;
        }
        pt_lock_lock();
        r->next = state.dismissed;
        state.dismissed = number;
        state.going += r->locked;
        pt_lock_unlock();
        any = true;
    }
    if (any && !pt_background_wake()) {
        (void)pt_exact_destroy_dismissed(); /* no thread could be had */
    }
}

size_t pt_exact_destroy_dismissed(void)
{
    size_t bytes = 0;
    for (;;) {
        pt_lock_lock();
        uint32_t number = state.dismissed;
        state.dismissed = number != 0 ? pt_table_record(number)->next : 0;
        pt_lock_unlock();
        if (number == 0) {
            return bytes;
        }
        size_t gone = destroy(number);
        state.going -= gone;
        bytes += gone;
    }
}

void pt_exact_give_way(size_t tolerated)
{
    for (unsigned i = 0; i < 200 && state.going > tolerated; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
}
