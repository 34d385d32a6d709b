#include "account.h"

#include "growth.h"
#include "pages.h"

/* There is one writer at a time: plain additions, which readers see whole. A locked instruction for each would cost more
 * than all the rest of a reuse. */
static void add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

static uint64_t get(_Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void set(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_store_explicit(counter, value, memory_order_relaxed);
}

static uint64_t power_of_two(uint64_t n)
{
    return n <= 1 ? 1 : (uint64_t)1 << (64 - __builtin_clzl(n - 1));
}

/* DeepSpeed: posix_memalign and mlock, so whole pages. torch rounds up to powers of two. */
static uint64_t stock_bytes(const struct pt_record *r)
{
    return r->door == PT_DOOR_TORCH ? power_of_two(r->asked) : pt_pages_up(r->asked, PT_PAGE);
}

void pt_account_alloc(struct pt_record *r, bool reused, uint64_t asked_ns)
{
    struct pt_counters *c = &pt_table()->counters;
    struct pt_site *s = pt_table_site(r->site);
    add(&c->allocated, 1);
    add(&c->reused, reused);
    add(&c->pageable, (r->flags & PT_PAGEABLE) != 0);
    add(&c->live, 1);
    add(&c->live_bytes, r->asked);
    add(&c->live_locked, r->locked);
    add(&c->stock_bytes, stock_bytes(r));
    add(&c->pow2_bytes, power_of_two(r->asked));
    if (get(&c->live_locked) > get(&c->peak_locked)) {
        set(&c->peak_locked, get(&c->live_locked));
    }
    if (get(&c->live_bytes) > get(&c->peak_bytes)) {
        set(&c->peak_bytes, get(&c->live_bytes));
        set(&c->at_peak_locked, get(&c->live_locked));
        set(&c->at_peak_stock, get(&c->stock_bytes));
        set(&c->at_peak_pow2, get(&c->pow2_bytes));
    }
    if (s->allocated == 0) {
        s->first_ns = r->born_ns;
        s->smallest = r->asked;
    }
    s->dtype = r->dtype;
    s->door = r->door;
    s->smallest = r->asked < s->smallest ? r->asked : s->smallest;
    s->largest = r->asked > s->largest ? r->asked : s->largest;
    s->allocated++;
    s->live++;
    s->live_bytes += r->asked;
    s->live_locked += r->locked;
    pt_growth_note(s, asked_ns, r->born_ns, get(&c->allocated));
}

void pt_account_release(struct pt_record *r)
{
    add(&pt_table()->counters.stock_bytes, 0 - stock_bytes(r));
}

void pt_account_drop(struct pt_record *r, bool reclaimed)
{
    struct pt_counters *c = &pt_table()->counters;
    struct pt_site *s = pt_table_site(r->site);
    add(&c->live, (uint64_t)-1);
    add(&c->live_bytes, 0 - r->asked);
    add(&c->live_locked, 0 - r->locked);
    add(&c->pow2_bytes, 0 - power_of_two(r->asked));
    s->live--;
    s->live_bytes -= r->asked;
    s->live_locked -= r->locked;
    if (reclaimed) {
        add(&c->reclaimed, 1);
        s->reclaimed++;
        s->reclaimed_bytes += r->asked;
        s->reclaimed_locked += r->locked;
    }
}

void pt_account_held(struct pt_record *r)
{
    struct pt_site *s = pt_table_site(r->site);
    s->oldest_ns = s->held == 0 || r->born_ns < s->oldest_ns ? r->born_ns : s->oldest_ns;
    s->held++;
    s->held_bytes += r->asked;
    s->held_locked += r->locked;
}
