#include "ledger/foreign.h"

#include "memory/book.h"
#include "memory/pages.h"

#include <pthread.h>

#define SLOTS ((uint32_t)65536) /* a power of two */
#define MOST  (SLOTS / 4 * 3)

/* Addresses in a hash table: a free slot has no row, and an address lies before the first free one behind its place. */
static struct {
    pthread_mutex_t mutex;
    struct pt_book book;
    uint32_t used;
} state = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static struct pt_foreign *row_of(const struct pt_table *t, uint32_t row)
{
    return (struct pt_foreign *)((char *)t + t->foreign_at) + row;
}

static struct pt_foreign_pin *slot(uint32_t number)
{
    return (struct pt_foreign_pin *)state.book.base + (number & (SLOTS - 1));
}

static uint32_t place_of(uintptr_t at)
{
    return (uint32_t)((at * 0x9e3779b97f4a7c15u) >> 48) & (SLOTS - 1);
}

void pt_foreign_reset(void)
{
    pthread_mutex_init(&state.mutex, NULL);
    if (state.used > 0) { /* a child's copy of its parent's */
        pt_pages_renew(state.book.base, atomic_load(&state.book.opened));
    }
    state.used = 0;
}

/* ---- with the mutex held ---- */

/* Opened whole: only what is touched takes memory. */
static bool is_open(void)
{
    size_t bytes = SLOTS * sizeof(struct pt_foreign_pin);
    return (state.book.base != NULL || pt_book_init(&state.book, bytes) == 0) && pt_book_open(&state.book, bytes) == 0;
}

/* The address's slot, or the free one that it would get. */
static uint32_t find(uintptr_t at)
{
    uint32_t number = place_of(at);
    while (slot(number)->row != 0 && slot(number)->at != at) {
        number++;
    }
    return number & (SLOTS - 1);
}

/* The slot becomes free; who would not be found behind it any more moves up. */
static void give_slot(uint32_t hole)
{
    for (uint32_t number = hole + 1; slot(number)->row != 0; number++) {
        uint32_t distance = (number - place_of(slot(number)->at)) & (SLOTS - 1);
        if (distance >= ((number - hole) & (SLOTS - 1))) {
            *slot(hole) = *slot(number);
            hole = number;
        }
    }
    slot(hole)->row = 0;
    state.used--;
}

/* The row of that call from that line; that of all others once the rows are used up. */
static uint32_t row_for(struct pt_table *t, uint32_t site, enum pt_foreign_call call)
{
    uint32_t rows = atomic_load(&t->foreign.rows), row = PT_FOREIGN_OTHER + 1;
    while (row < rows && (row_of(t, row)->site != site || row_of(t, row)->call != call)) {
        row++;
    }
    if (row < rows) {
        return row;
    }
    if (row == PT_FOREIGN_MOST) {
        return PT_FOREIGN_OTHER;
    }
    *row_of(t, row) = (struct pt_foreign){.site = site, .call = call};
    atomic_store(&t->foreign.rows, row + 1);
    return row;
}

/* Before what the row has changes: what it has now, it had when most was pinned, if that was since it last changed. */
static void remember_peak(const struct pt_table *t, struct pt_foreign *r)
{
    if (r->peaks_seen != t->foreign.peaks) {
        PT_PUT(r->peak, r->live);
        PT_PUT(r->peak_bytes, r->live_bytes);
        PT_PUT(r->peaks_seen, t->foreign.peaks);
    }
}

static void change(struct pt_table *t, uint32_t row, uint64_t blocks, uint64_t bytes)
{
    struct pt_foreign *r = row_of(t, row);
    remember_peak(t, r);
    PT_PUT(r->live, r->live + blocks);
    PT_PUT(r->live_bytes, r->live_bytes + bytes);
    PT_PUT(t->foreign.live, t->foreign.live + blocks);
    PT_PUT(t->foreign.live_bytes, t->foreign.live_bytes + bytes);
}

static void look(struct pt_table *t, uint64_t ours)
{
    struct pt_foreign_sum *f = &t->foreign;
    if (f->live_bytes >= PT_FOREIGN_LEAST && f->live_bytes + ours > f->peak_bytes + f->peak_ours) {
        PT_PUT(f->peaks, f->peaks + 1);
        PT_PUT(f->peak, f->live);
        PT_PUT(f->peak_bytes, f->live_bytes);
        PT_PUT(f->peak_ours, ours);
    }
}

static void end(struct pt_table *t, uint32_t number)
{
    change(t, slot(number)->row, (uint64_t)-1, 0 - slot(number)->bytes);
    give_slot(number);
}

/* ---- what happens ---- */

void pt_foreign_add(const void *p, size_t bytes, enum pt_foreign_call call, uint32_t site, uint64_t ours)
{
    struct pt_table *t = pt_table();
    pthread_mutex_lock(&state.mutex);
    bool room = is_open() && state.used < MOST;
    uint32_t number = room ? find((uintptr_t)p) : 0;
    if (room && slot(number)->row != 0) {
        end(t, number);
        number = find((uintptr_t)p);
    }
    if (room) {
        uint32_t row = row_for(t, site, call);
        *slot(number) = (struct pt_foreign_pin){(uintptr_t)p, bytes, row};
        state.used++;
        change(t, row, 1, bytes);
        PT_PUT(row_of(t, row)->pinned, row_of(t, row)->pinned + 1);
        look(t, ours);
    }
    PT_PUT(t->foreign.pinned, t->foreign.pinned + 1);
    PT_PUT(t->foreign.missed, t->foreign.missed + !room);
    pthread_mutex_unlock(&state.mutex);
}

struct pt_foreign_pin pt_foreign_take(const void *p)
{
    struct pt_foreign_pin pin = {0};
    pthread_mutex_lock(&state.mutex);
    uint32_t number = state.used > 0 ? find((uintptr_t)p) : 0;
    if (state.used > 0 && slot(number)->row != 0) {
        pin = *slot(number);
        end(pt_table(), number);
    }
    pthread_mutex_unlock(&state.mutex);
    return pin;
}

void pt_foreign_put_back(const struct pt_foreign_pin *pin)
{
    pthread_mutex_lock(&state.mutex);
    uint32_t number = find(pin->at);
    if (slot(number)->row == 0 && state.used < MOST) { /* else somebody was given that address since */
        *slot(number) = *pin;
        state.used++;
        change(pt_table(), pin->row, 1, pin->bytes);
    }
    pthread_mutex_unlock(&state.mutex);
}

void pt_foreign_forget(void)
{
    struct pt_table *t = pt_table();
    pthread_mutex_lock(&state.mutex);
    for (uint32_t number = 0; number < SLOTS && state.used > 0; number++) {
        if (slot(number)->row != 0) {
            change(t, slot(number)->row, (uint64_t)-1, 0 - slot(number)->bytes);
            slot(number)->row = 0;
            state.used--;
        }
    }
    pthread_mutex_unlock(&state.mutex);
}

void pt_foreign_look(uint64_t ours)
{
    pthread_mutex_lock(&state.mutex);
    look(pt_table(), ours);
    pthread_mutex_unlock(&state.mutex);
}

/* ---- for who reads ---- */

struct pt_foreign pt_foreign_row(const struct pt_table *t, uint32_t row)
{
    struct pt_foreign copy;
    pt_table_copy(row_of(t, row), &copy, sizeof copy);
    return copy;
}

struct pt_foreign_share pt_foreign_at_peak(const struct pt_table *t, const struct pt_foreign *r)
{
    bool changed = r->peaks_seen == PT_GET(t->foreign.peaks);
    return changed ? (struct pt_foreign_share){r->peak, r->peak_bytes}
                   : (struct pt_foreign_share){r->live, r->live_bytes};
}
