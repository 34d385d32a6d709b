#include "ledger/counters.h"

#include "ledger/growth.h"
#include "memory/pages.h"

uint64_t pt_counters_serial;

/* There is one writer at a time: plain additions, which readers see whole. A locked instruction for each would cost
 * more than all the rest of a reuse. */
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

/* Called before what a site has alive changes. The peak may have risen since the site was last changed: what it has
 * now, it had then. So a new peak costs one addition, however many sites there are. */
static inline void remember_peak(struct pt_site *s)
{
    uint64_t peaks = get(&pt_table()->counters.peaks);
    if (s->peaks_seen != peaks) {
        PT_PUT(s->peaks_seen, peaks);
        PT_PUT(s->peak_blocks, s->live);
        PT_PUT(s->peak_bytes, s->live_bytes);
        PT_PUT(s->peak_locked, s->live_locked);
    }
}

struct pt_at_peak pt_counters_at_peak(const struct pt_counters *c, const struct pt_site *s)
{
    bool changed = s->peaks_seen == atomic_load(&c->peaks);
    return changed ? (struct pt_at_peak){s->peak_blocks, s->peak_bytes, s->peak_locked}
                   : (struct pt_at_peak){s->live, s->live_bytes, s->live_locked};
}

static inline void count_allocations(struct pt_site *s, const struct pt_tally_site *from)
{
    if (s->allocated == 0) {
        PT_PUT(s->first_ns, from->first_ns);
        PT_PUT(s->smallest, from->smallest);
    }
    PT_PUT(s->dtype, from->dtype);
    PT_PUT(s->door, from->door);
    PT_PUT(s->smallest, from->smallest < s->smallest ? from->smallest : s->smallest);
    PT_PUT(s->largest, from->largest > s->largest ? from->largest : s->largest);
    PT_PUT(s->allocated, s->allocated + from->allocated);
}

void pt_counters_alloc(struct pt_record *r, bool reused, uint64_t asked_ns)
{
    struct pt_counters *c = &pt_table()->counters;
    struct pt_site *s = pt_table_site(r->site);
    remember_peak(s);
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
    if (get(&c->live_bytes) > get(&c->mark_peak_bytes)) {
        set(&c->mark_peak_bytes, get(&c->live_bytes));
    }
    if (get(&c->live_bytes) > get(&c->peak_bytes)) {
        set(&c->peak_bytes, get(&c->live_bytes));
        add(&c->peaks, 1);
        set(&c->at_peak_locked, get(&c->live_locked));
        set(&c->at_peak_stock, get(&c->stock_bytes));
        set(&c->at_peak_pow2, get(&c->pow2_bytes));
    }
    struct pt_tally_site one = {.dtype = r->dtype,
                                .door = r->door,
                                .allocated = 1,
                                .smallest = r->asked,
                                .largest = r->asked,
                                .first_ns = r->born_ns};
    count_allocations(s, &one);
    PT_PUT(s->live, s->live + 1);
    PT_PUT(s->live_bytes, s->live_bytes + r->asked);
    PT_PUT(s->live_locked, s->live_locked + r->locked);
    pt_growth_note(s, pt_table_growth(r->site), asked_ns, r->born_ns, get(&c->allocated));
}

void pt_counters_release(struct pt_record *r)
{
    add(&pt_table()->counters.stock_bytes, 0 - stock_bytes(r));
}

static inline void drop_for_all(const struct pt_record *r)
{
    struct pt_counters *c = &pt_table()->counters;
    add(&c->live, (uint64_t)-1);
    add(&c->live_bytes, 0 - r->asked);
    add(&c->live_locked, 0 - r->locked);
    add(&c->pow2_bytes, 0 - power_of_two(r->asked));
}

void pt_counters_drop(struct pt_record *r, bool reclaimed)
{
    struct pt_counters *c = &pt_table()->counters;
    struct pt_site *s = pt_table_site(r->site);
    remember_peak(s);
    drop_for_all(r);
    PT_PUT(s->live, s->live - 1);
    PT_PUT(s->live_bytes, s->live_bytes - r->asked);
    PT_PUT(s->live_locked, s->live_locked - r->locked);
    if (reclaimed) {
        add(&c->reclaimed, 1);
        PT_PUT(s->reclaimed, s->reclaimed + 1);
        PT_PUT(s->reclaimed_bytes, s->reclaimed_bytes + r->asked);
        PT_PUT(s->reclaimed_locked, s->reclaimed_locked + r->locked);
    }
}

void pt_counters_copy(const struct pt_counters *from, struct pt_counters *to)
{
    const _Atomic uint64_t *one = (const _Atomic uint64_t *)from;
    for (size_t i = 0; i < sizeof *to / sizeof *one; i++) {
        atomic_init((_Atomic uint64_t *)to + i, atomic_load_explicit(one + i, memory_order_relaxed));
    }
}

void pt_counters_held(struct pt_site *s, const struct pt_record *r)
{
    /* At the end others may still enter sites: nobody stops them. */
    uint64_t born = PT_GET(r->born_ns), oldest = PT_GET(s->oldest_ns), held = PT_GET(s->held);
    PT_PUT(s->oldest_ns, held == 0 || born < oldest ? born : oldest);
    PT_PUT(s->held, held + 1);
    PT_PUT(s->held_bytes, PT_GET(s->held_bytes) + PT_GET(r->asked));
    PT_PUT(s->held_locked, PT_GET(s->held_locked) + PT_GET(r->locked));
}

void pt_counters_count_held(struct pt_site *all, uint32_t sites)
{
    uint32_t records = atomic_load(&pt_table()->records);
    for (uint32_t number = 0; number < sites; number++) {
        PT_PUT(all[number].held, 0);
        PT_PUT(all[number].held_bytes, 0);
        PT_PUT(all[number].held_locked, 0);
    }
    for (uint32_t number = 1; number < records; number++) {
        const struct pt_record *r = pt_table_record(number);
        uint32_t row = pt_site_row(PT_GET(r->site));
        if (PT_GET(r->state) == PT_LIVE && (PT_GET(r->flags) & PT_RELEASED) == 0 && row < sites) {
            pt_counters_held(&all[row], r);
        }
    }
    for (uint32_t number = 0; number < sites; number++) {
        struct pt_site *s = &all[number];
        uint64_t kept = PT_GET(s->held) + PT_GET(s->reclaimed), made = PT_GET(s->allocated);
        PT_PUT(s->freed, made > kept ? made - kept : 0); /* without the lock they may be of different moments */
    }
}

void pt_counters_kept_drop(const struct pt_record *r)
{
    drop_for_all(r);
}

void pt_counters_mark(void)
{
    struct pt_counters *c = &pt_table()->counters;
    set(&c->mark_peak_bytes, get(&c->live_bytes));
}

bool pt_counters_raises_peak(uint64_t asked, uint64_t locked)
{
    struct pt_counters *c = &pt_table()->counters;
    return get(&c->live_locked) + locked > get(&c->peak_locked) ||
           get(&c->live_bytes) + asked > get(&c->mark_peak_bytes); /* which is never above peak_bytes */
}

static struct pt_tally_site *find(struct pt_tally *t, uint32_t site)
{
    uint32_t i = 0;
    while (i < t->sites && t->site[i].site != site) {
        i++;
    }
    if (i == t->sites) {
        t->site[t->sites++] = (struct pt_tally_site){.site = site};
    }
    return &t->site[i];
}

bool pt_counters_has_place(const struct pt_tally *t, uint32_t site)
{
    bool has = t->sites < PT_TALLY_SITES;
    for (uint32_t i = 0; !has && i < t->sites; i++) {
        has = t->site[i].site == site;
    }
    return has;
}

bool pt_counters_kept_take(struct pt_tally *t, const struct pt_record *r, uint64_t bytes)
{
    if ((int64_t)(t->bytes + bytes - r->asked) > 0) {
        return false;
    }
    t->bytes += bytes - r->asked;
    t->pow2 += power_of_two(bytes) - power_of_two(r->asked);
    return true;
}

void pt_counters_kept_alloc(struct pt_tally *t, const struct pt_record *r, uint64_t asked_ns)
{
    struct pt_tally_site *s = find(t, r->site);
    t->allocated++;
    t->stock += stock_bytes(r);
    s->idle_ns += asked_ns > t->latest_ns ? asked_ns - t->latest_ns : 0;
    if (s->allocated == 0 || t->latest != r->site || s->idle_ns > PT_GROWTH_PAUSE) {
        s->visits++;
        s->idle_ns = 0;
    }
    if (s->allocated++ == 0) {
        s->first_ns = r->born_ns;
        s->asked_ns = asked_ns;
        s->smallest = r->asked;
    }
    s->smallest = r->asked < s->smallest ? r->asked : s->smallest;
    s->largest = r->asked > s->largest ? r->asked : s->largest;
    s->dtype = r->dtype;
    s->door = r->door;
    s->last_ns = t->latest_ns = r->born_ns;
    t->latest = r->site;
    s->low = (int64_t)s->live < s->low ? (int64_t)s->live : s->low;
    s->live++;
    s->high = (int64_t)s->live > s->high ? (int64_t)s->live : s->high;
    s->bytes += r->asked;
    s->locked += r->locked;
}

void pt_counters_kept_release(struct pt_tally *t, const struct pt_record *r)
{
    t->stock -= stock_bytes(r);
}

void pt_counters_kept_end(struct pt_tally *t, const struct pt_record *r)
{
    struct pt_tally_site *s = find(t, r->site);
    s->live--;
    s->bytes -= r->asked;
    s->locked -= r->locked;
}

/* `before`: what the site had alive when the tally began. */
static void fold_allocations(const struct pt_tally_site *from, int64_t before, uint64_t order, uint64_t last)
{
    struct pt_site *s = pt_table_site(from->site);
    int64_t low = before + from->low, high = before + from->high;
    count_allocations(s, from);
    pt_growth_note_many(s, pt_table_growth(from->site), from->asked_ns, from->last_ns, order, last, from->visits,
                        low > 0 ? (uint64_t)low : 0, high > 0 ? (uint64_t)high : 0);
}

void pt_counters_fold(struct pt_tally *t)
{
    struct pt_counters *c = &pt_table()->counters;
    uint64_t first = get(&c->allocated) + 1;
    add(&c->allocated, t->allocated);
    add(&c->reused, t->allocated);
    add(&c->live_bytes, t->bytes);
    add(&c->stock_bytes, t->stock);
    add(&c->pow2_bytes, t->pow2);
    uint64_t last = get(&c->allocated);
    for (uint32_t i = 0; i < t->sites; i++) {
        const struct pt_tally_site *from = &t->site[i];
        struct pt_site *s = pt_table_site(from->site);
        int64_t before = (int64_t)s->live;
        remember_peak(s);
        PT_PUT(s->live, s->live + from->live);
        PT_PUT(s->live_bytes, s->live_bytes + from->bytes);
        PT_PUT(s->live_locked, s->live_locked + from->locked);
        if (from->allocated > 0) {
            /* Which turn was whose in between is not known: only the first may go on with a visit, and the latest be
             * gone on with. */
            fold_allocations(from, before, i == 0 ? first : 0, t->latest == from->site ? last : 0);
        }
    }
    t->allocated = t->bytes = t->stock = t->pow2 = 0;
    t->sites = 0;
}
