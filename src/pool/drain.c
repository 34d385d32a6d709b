#include "pool/drain.h"

#include "base/wait.h"
#include "pool/chunks.h"

struct pt_magazine *pt_drain_lock(uint16_t owner)
{
    struct pt_magazine *m = &pt_magazine_all[owner - 1];
    pthread_mutex_lock(&m->lock);
    pt_counters_fold(&m->tally);
    return m;
}

bool pt_drain_stop(enum pt_drain_patience how)
{
    uint32_t used = atomic_load(&pt_magazines);
    unsigned patience = how == PT_DRAIN_AT_THE_END ? 100 : 0; /* ms */
    bool still = true;
    for (uint32_t i = 0; i < used; i++) {
        struct pt_magazine *m = &pt_magazine_all[i];
        bool got = false;
        if (how == PT_DRAIN_WAIT) {
            got = pthread_mutex_lock(&m->lock) == 0;
        }
        while (!got && !(got = pthread_mutex_trylock(&m->lock) == 0) && patience > 0) {
            pt_wait_pause(1000000);
            patience--;
        }
        still = still && got;
        m->stopped = got;
    }
    return still;
}

void pt_drain_go(void)
{
    uint32_t used = atomic_load(&pt_magazines);
    for (uint32_t i = 0; i < used; i++) {
        if (pt_magazine_all[i].stopped) {
            pt_magazine_all[i].stopped = false;
            pthread_mutex_unlock(&pt_magazine_all[i].lock);
        }
    }
}

void pt_drain_fold(void)
{
    uint32_t used = atomic_load(&pt_magazines);
    for (uint32_t i = 0; i < used; i++) {
        if (pt_magazine_all[i].stopped) {
            pt_counters_fold(&pt_magazine_all[i].tally);
        }
    }
}

/* Takes a block out for good; it is up to the caller where to. With its lock too, and the tally folded in. */
static uint32_t lose(struct pt_magazine *m, unsigned i)
{
    uint32_t number = m->blocks[i];
    struct pt_record *r = pt_table_record(number);
    pt_counters_kept_drop(r);
    atomic_store_explicit(&r->owner, 0, memory_order_relaxed);
    pt_magazine_take_out(m, i);
    return number;
}

/* Into the cache, the oldest first, all but so many. */
static size_t unload(struct pt_magazine *m, unsigned but)
{
    size_t before = m->bytes;
    pt_counters_fold(&m->tally);
    while (m->count > but) {
        uint32_t number = lose(m, 0);
        (void)pt_chunks_give(number, true, pt_table_record(number)->born_ns);
    }
    return before - m->bytes;
}

size_t pt_drain_all(void)
{
    uint32_t used = atomic_load(&pt_magazines);
    size_t bytes = 0;
    for (uint32_t i = 0; i < used; i++) {
        bytes += pt_magazine_all[i].stopped ? unload(&pt_magazine_all[i], 0) : 0;
    }
    return bytes;
}

size_t pt_drain_half(void)
{
    struct pt_magazine *m = pt_magazine_own();
    pthread_mutex_lock(&m->lock);
    size_t bytes = unload(m, m->count / 2);
    pthread_mutex_unlock(&m->lock);
    return bytes;
}

size_t pt_drain_own(void)
{
    struct pt_magazine *m = pt_magazine_own();
    pthread_mutex_lock(&m->lock);
    size_t bytes = unload(m, 0);
    pt_magazine_give_back(m);
    pthread_mutex_unlock(&m->lock);
    return bytes;
}

size_t pt_drain_idle(uint64_t before_ns, bool *any)
{
    uint32_t used = atomic_load(&pt_magazines);
    size_t bytes = 0;
    *any = false;
    for (uint32_t i = 0; i < used; i++) {
        struct pt_magazine *m = &pt_magazine_all[i];
        pthread_mutex_lock(&m->lock);
        unsigned idle = 0;
        while (idle < m->count && pt_table_record(m->blocks[idle])->born_ns <= before_ns) {
            idle++;
        }
        bytes += unload(m, m->count - idle);
        *any = *any || m->count > 0;
        pthread_mutex_unlock(&m->lock);
    }
    return bytes;
}
