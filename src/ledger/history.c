#include "ledger/history.h"

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static struct pt_moment present(const struct pt_counters *c)
{
    uint64_t waiting = get(&c->cached_locked);
    return (struct pt_moment){get(&c->live_bytes), get(&c->live_locked) + waiting, waiting, get(&c->stock_bytes),
                              get(&c->pow2_bytes)};
}

static void raise(uint64_t *most, uint64_t value)
{
    if (value > *most) {
        PT_PUT(*most, value);
    }
}

static void merge(struct pt_moment *m, const struct pt_moment *other)
{
    raise(&m->asked, other->asked);
    raise(&m->locked, other->locked);
    raise(&m->waiting, other->waiting);
    raise(&m->stock, other->stock);
    raise(&m->pow2, other->pow2);
}

/* Two moments become one. */
static void halve(struct pt_history *h)
{
    uint32_t used = h->used;
    for (uint32_t i = 0; i < used; i++) {
        struct pt_moment m = h->moment[i];
        if (i % 2 == 0) {
            h->moment[i / 2] = m;
        } else {
            merge(&h->moment[i / 2], &m);
        }
    }
    atomic_store_explicit(&h->used, (used + 1) / 2, memory_order_relaxed);
    PT_PUT(h->width_ns, h->width_ns * 2);
}

/* What is has been since the latest moment, and goes on until `run_ns` after the start. */
static void go_on(struct pt_history *h, const struct pt_moment *is, uint64_t run_ns)
{
    while (run_ns / h->width_ns >= PT_MOMENTS) {
        halve(h);
    }
    uint32_t used = h->used, end = (uint32_t)(run_ns / h->width_ns) + 1;
    merge(&h->moment[used - 1], is);
    for (; used < end; used++) {
        h->moment[used] = *is;
    }
    atomic_store_explicit(&h->used, used, memory_order_release);
}

void pt_history_note(uint64_t now_ns)
{
    struct pt_table *t = pt_table();
    struct pt_history *h = &t->history;
    struct pt_moment is = present(&t->counters);
    uint32_t used = atomic_load_explicit(&h->used, memory_order_relaxed);
    if (now_ns < t->born_ns + used * h->width_ns) {
        merge(&h->moment[used - 1], &is);
    } else {
        go_on(h, &is, now_ns - t->born_ns);
    }
}

void pt_history_copy(const struct pt_table *t, uint64_t end_ns, struct pt_history *out)
{
    uint64_t run_ns = end_ns > t->born_ns ? end_ns - t->born_ns : 0;
    pt_table_copy(&t->history, out, sizeof *out);
    if (t->exit_ns == 0) {
        struct pt_moment is = present(&t->counters);
        go_on(out, &is, run_ns);
    } else { /* from then on the counters go down with what was held */
        struct pt_moment last = out->moment[out->used - 1];
        uint64_t most = run_ns / out->width_ns + 1;
        out->used = out->used < most ? out->used : (uint32_t)most;
        go_on(out, &last, run_ns);
    }
}
