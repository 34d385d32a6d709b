#include "memory/spares.h"

#include <stdatomic.h>
#include <stdint.h>

/* Four classes for each power of two, as jemalloc has them, up to 64 KiB. */
#define CLASSES     64
#define USABLE_MOST ((size_t)1 << (CLASSES / 4))
static _Atomic(void *) spare[CLASSES];

static _Atomic(void *) *place_of(size_t usable)
{
    size_t last = usable - 1;
    if (usable <= 8 || usable > USABLE_MOST) {
        return NULL;
    }
    unsigned power = 63 - (unsigned)__builtin_clzll(last);
    return &spare[power * 4 + (last >> (power - 2) & 3)];
}

void pt_spares_init(void)
{
    for (unsigned i = 0; i < CLASSES; i++) {
        atomic_store_explicit(&spare[i], NULL, memory_order_relaxed);
    }
}

void *pt_spares_take(size_t usable, size_t align)
{
    _Atomic(void *) *place = place_of(usable);
    void *p = place != NULL ? atomic_load_explicit(place, memory_order_relaxed) : NULL;
    bool fits = p != NULL && (uintptr_t)p % align == 0;
    return fits && atomic_compare_exchange_strong(place, &p, NULL) ? p : NULL;
}

bool pt_spares_put(void *p, size_t usable)
{
    _Atomic(void *) *place = place_of(usable);
    void *none = NULL;
    return place != NULL && atomic_compare_exchange_strong(place, &none, p);
}

void *pt_spares_take_any(void)
{
    for (unsigned i = 0; i < CLASSES; i++) {
        void *p =
            atomic_load_explicit(&spare[i], memory_order_relaxed) != NULL ? atomic_exchange(&spare[i], NULL) : NULL;
        if (p != NULL) {
            return p;
        }
    }
    return NULL;
}
