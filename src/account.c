#include "account.h"

#include "growth.h"
#include "pages.h"

static uint64_t power_of_two(uint64_t n)
{
    return n <= 1 ? 1 : (uint64_t)1 << (64 - __builtin_clzl(n - 1));
}

/* Stock DeepSpeed: posix_memalign and mlock, so whole pages. */
static uint64_t stock_bytes(const struct pt_record *r)
{
    return pt_pages_up(r->asked, PT_PAGE);
}

void pt_account_alloc(struct pt_record *r, bool reused, uint64_t asked_ns)
{
    struct pt_counters *c = &pt_table()->counters;
    struct pt_site *s = pt_table_site(r->site);
    c->allocated++;
    c->reused += reused;
    c->pageable += (r->flags & PT_PAGEABLE) != 0;
    c->live++;
    c->live_bytes += r->asked;
    c->live_locked += r->locked;
    c->stock_bytes += stock_bytes(r);
    c->pow2_bytes += power_of_two(r->asked);
    if (c->live_locked > c->peak_locked) {
        c->peak_locked = c->live_locked;
    }
    if (c->live_bytes > c->peak_bytes) {
        c->peak_bytes = c->live_bytes;
        c->at_peak_locked = c->live_locked;
        c->at_peak_stock = c->stock_bytes;
        c->at_peak_pow2 = c->pow2_bytes;
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
    pt_growth_note(s, asked_ns, r->born_ns, c->allocated);
}

void pt_account_release(struct pt_record *r)
{
    pt_table()->counters.stock_bytes -= stock_bytes(r);
}

void pt_account_drop(struct pt_record *r, bool reclaimed)
{
    struct pt_counters *c = &pt_table()->counters;
    struct pt_site *s = pt_table_site(r->site);
    c->live--;
    c->live_bytes -= r->asked;
    c->live_locked -= r->locked;
    c->pow2_bytes -= power_of_two(r->asked);
    s->live--;
    s->live_bytes -= r->asked;
    s->live_locked -= r->locked;
    if (reclaimed) {
        c->reclaimed++;
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
