#include "trace/site_store.h"

#include "ledger/counters.h"
#include "ledger/foreign.h"
#include "ledger/growth.h"
#include "ledger/place.h"
#include "pool/drain.h"
#include "pool/lock.h"

#include <pthread.h>
#include <string.h>

#define ROWS         ((uint32_t)1 << PT_SITE_BITS)
#define HEADS        4096
#define STRINGS_LEFT ((size_t)16 << 10) /* a site's strings are never more */
#define PAUSE_NS     1000000000u        /* after a search that found little */
#define LITTLE       64

/* The mutex is a leaf. Row numbers; 0 ends a list. */
static struct {
    pthread_mutex_t mutex;
    uint16_t head[HEADS], next[ROWS]; /* rows in use, by what they say; or free ones */
    uint16_t free_rows, free_lines;
    uint32_t era;
    uint64_t not_before;
    bool used;
} store = {.mutex = PTHREAD_MUTEX_INITIALIZER};

void pt_site_store_init(void)
{
    if (store.used) { /* in a forked child */
        memset(&store, 0, sizeof store);
    }
    pthread_mutex_init(&store.mutex, NULL);
}

/* The first row that is kept back. */
static uint32_t lines_begin(void)
{
    return pt_table()->sites_most - PT_SITE_STORE_LINES - 1;
}

static uint64_t mix_text(uint64_t hash, uint32_t string)
{
    for (const char *s = pt_table_string(string); *s != '\0'; s++) {
        hash = (hash ^ (unsigned char)*s) * 1099511628211u;
    }
    return hash * 31;
}

static uint16_t *list_of(const struct pt_site *s)
{
    uint64_t hash = mix_text(mix_text(s->frames_count, s->symbol), s->object);
    for (uint32_t i = 0; i < s->frames_count; i++) {
        hash = mix_text(mix_text(hash ^ s->frames[i].line, s->frames[i].file), s->frames[i].function);
    }
    return &store.head[(hash ^ hash >> 29) % HEADS];
}

static bool same_text(uint32_t a, uint32_t b)
{
    return a == b || strcmp(pt_table_string(a), pt_table_string(b)) == 0;
}

static bool says_the_same(const struct pt_site *a, const struct pt_site *b)
{
    bool same = a->frames_count == b->frames_count && a->library == b->library && same_text(a->symbol, b->symbol) &&
                same_text(a->object, b->object);
    for (uint32_t i = 0; same && i < a->frames_count; i++) {
        same = a->frames[i].line == b->frames[i].line && same_text(a->frames[i].file, b->frames[i].file) &&
               same_text(a->frames[i].function, b->frames[i].function);
    }
    return same;
}

/* With the mutex held, as all below. 0: none says the same. */
static uint32_t find(const struct pt_site *s)
{
    uint32_t row = *list_of(s);
    while (row != 0 && !says_the_same(pt_table_site(row), s)) {
        row = store.next[row];
    }
    return row;
}

static void put(uint16_t *list, uint32_t row)
{
    store.next[row] = *list;
    *list = (uint16_t)row;
}

static uint32_t take(uint16_t *list, uint32_t end)
{
    struct pt_table *t = pt_table();
    uint32_t row = *list;
    if (row != 0) {
        *list = store.next[row];
    } else if ((row = atomic_load(&t->sites)) < end && pt_table_open_site(row)) {
        atomic_store(&t->sites, row + 1);
    } else {
        row = 0;
    }
    return row;
}

/* All of a row but its generation. A report may be reading. */
static void fill_row(struct pt_site *to, const struct pt_site *s)
{
    typedef uint32_t __attribute__((may_alias)) word;
    for (size_t i = sizeof to->generation / sizeof(word); i < sizeof *to / sizeof(word); i++) {
        PT_PUT(((word *)to)[i], ((const word *)s)[i]);
    }
}

static uint32_t fill(uint32_t row, struct pt_site *s)
{
    s->smallest = UINT64_MAX;
    s->last_ns = pt_table_now(); /* not idle */
    fill_row(pt_table_site(row), s);
    store.used = true;
    return row;
}

static uint32_t site_of(uint32_t row)
{
    return atomic_load(&pt_table_site(row)->generation) << PT_SITE_BITS | row;
}

/* ---- room ---- */

static bool fits(void)
{
    return (store.free_rows != 0 || atomic_load(&pt_table()->sites) < lines_begin()) &&
           pt_table_strings_fit(STRINGS_LEFT);
}

/* Sites that the table tells of elsewhere; by row. */
static uint8_t told_elsewhere[ROWS];

static void mark_told_elsewhere(void)
{
    struct pt_table *t = pt_table();
    memset(told_elsewhere, 0, sizeof told_elsewhere);
    for (uint32_t i = 0; i < atomic_load(&t->misuses); i++) {
        const uint32_t sites[] = {t->misuse[i].site, t->misuse[i].alloc_site, t->misuse[i].release_site};
        for (unsigned k = 0; k < sizeof sites / sizeof sites[0]; k++) {
            told_elsewhere[pt_site_row(sites[k])] = 1;
        }
    }
    for (uint32_t row = PT_FOREIGN_OTHER; row < atomic_load(&t->foreign.rows); row++) {
        told_elsewhere[pt_site_row(pt_foreign_row(t, row).site)] = 1;
    }
}

/* Named by an allocation that is on its way it may be, which is counted for all others then. */
static bool can_go(uint32_t row)
{
    const struct pt_site *s = pt_table_site(row);
    return row != pt_table()->other_site && s->last_ns != 0 && s->live == 0 && s->reclaimed == 0 && s->held == 0 &&
           pt_counters_at_peak(&pt_table()->counters, s).blocks == 0 && told_elsewhere[row] == 0;
}

/* Of those that can go the longest idle, about half of them. */
static uint64_t idle_since(uint32_t rows)
{
    uint64_t now = pt_table_now(), sum = 0, count = 0;
    for (uint32_t row = 1; row < rows; row++) {
        if (can_go(row)) {
            sum += now - pt_table_site(row)->last_ns;
            count++;
        }
    }
    return count > 0 ? now - sum / count : 0;
}

static void give_up(uint32_t row)
{
    struct pt_table *t = pt_table();
    struct pt_site *s = pt_table_site(row);
    uint32_t generation = atomic_load(&s->generation);
    if (s->allocated > 0) {
        t->doors_retired |= 1u << s->door;
        struct pt_site *other = pt_table_site(t->other_site);
        PT_PUT(other->allocated, other->allocated + s->allocated);
        PT_PUT(other->door, s->door); /* of one that is in use */
    }
    atomic_store(&s->generation, (generation + 1) & (UINT32_MAX >> PT_SITE_BITS));
    fill_row(s, &(struct pt_site){0});
    memset(pt_table_natives(row), 0, sizeof(struct pt_natives));
    pt_growth_forget(row);
}

static void name_again(uint32_t row)
{
    struct pt_site *s = pt_table_site(row);
    struct pt_natives *n = pt_table_natives(row);
    PT_PUT(s->symbol, pt_table_intern(pt_table_string(s->symbol)));
    PT_PUT(s->object, pt_table_intern(pt_table_string(s->object)));
    PT_PUT(n->caller.object, pt_table_intern(pt_table_string(n->caller.object)));
    for (uint32_t i = 0; i < s->frames_count; i++) {
        PT_PUT(s->frames[i].file, pt_table_intern(pt_table_string(s->frames[i].file)));
        PT_PUT(s->frames[i].function, pt_table_intern(pt_table_string(s->frames[i].function)));
        PT_PUT(n->frame[i].object, pt_table_intern(pt_table_string(n->frame[i].object)));
    }
}

static void have_other_site(void)
{
    struct pt_table *t = pt_table();
    if (t->other_site == 0 && pt_table_open_site(atomic_load(&t->sites))) {
        struct pt_site s = {.symbol = pt_table_intern("more places than are told apart"),
                            .object = pt_table_intern("(other)")};
        uint32_t row = atomic_load(&t->sites);
        t->other_site = fill(row, &s);
        atomic_store(&t->sites, row + 1);
    }
}

/* Rows and strings are sorted anew. With the pool's lock as well, and the magazines' tallies folded in: nobody counts.
 */
static uint32_t sort_out(void)
{
    uint32_t rows = atomic_load(&pt_table()->sites), gone = 0;
    have_other_site();
    mark_told_elsewhere();
    uint64_t since = idle_since(rows);
    store.era++;
    store.free_rows = store.free_lines = 0;
    memset(store.head, 0, sizeof store.head);
    pt_table_strings_renew();
    if (pt_table()->other_site != 0) {
        name_again(pt_table()->other_site);
    }
    for (uint32_t row = 1; row < rows; row++) {
        struct pt_site *s = pt_table_site(row);
        if (row == pt_table()->other_site) { /* 0 where there was no memory for it: then that is the unknown one's */
            continue;
        }
        bool goes = can_go(row) && s->last_ns <= since;
        if (goes) {
            give_up(row);
            gone++;
        }
        if (goes || s->last_ns == 0) { /* a row that is free already */
            put(row < lines_begin() ? &store.free_rows : &store.free_lines, row);
        } else {
            name_again(row);
            put(list_of(s), row);
        }
    }
    return gone;
}

static void make_room(void)
{
    pt_lock_enter();
    (void)pt_drain_stop(PT_DRAIN_WAIT);
    pt_drain_fold();
    pthread_mutex_lock(&store.mutex);
    uint64_t now = pt_table_now();
    if (!fits() && now >= store.not_before) { /* another thread may have been faster */
        store.not_before = sort_out() < LITTLE ? now + PAUSE_NS : 0;
    }
    pthread_mutex_unlock(&store.mutex);
    pt_drain_go();
    pt_lock_leave();
}

/* ---- entering ---- */

uint32_t pt_site_store_begin(void)
{
    pthread_mutex_lock(&store.mutex);
    bool room = fits() || pt_table_now() < store.not_before;
    pthread_mutex_unlock(&store.mutex);
    if (!room) {
        make_room();
    }
    pthread_mutex_lock(&store.mutex);
    uint32_t era = store.era;
    pthread_mutex_unlock(&store.mutex);
    return era;
}

uint32_t pt_site_store_name(const char *s)
{
    pthread_mutex_lock(&store.mutex);
    uint32_t string = pt_table_intern(s);
    pthread_mutex_unlock(&store.mutex);
    return string;
}

static uint32_t enter_new(struct pt_site *s, uint16_t *free_list, uint32_t end)
{
    uint32_t row = find(s);
    if (row == 0 && (row = take(free_list, end)) != 0) {
        put(list_of(s), fill(row, s));
    }
    return row;
}

/* The nearest line alone. */
static void shorten(struct pt_site *s)
{
    int top = pt_place_top(s);
    if (top >= 0) {
        s->frames[0] = s->frames[top];
        s->library = s->library >> top & 1;
        s->frames_count = 1;
        s->symbol = s->object = 0;
    }
}

uint32_t pt_site_store_enter(struct pt_site *s, uint32_t era)
{
    uint32_t row = 0;
    pthread_mutex_lock(&store.mutex);
    if (store.era == era) {
        row = enter_new(s, &store.free_rows, lines_begin());
        if (row == 0) {
            shorten(s);
            row = enter_new(s, &store.free_lines, pt_table()->sites_most);
        }
        row = row != 0 ? row : pt_table()->other_site;
        row = site_of(row);
    }
    pthread_mutex_unlock(&store.mutex);
    return row;
}

void pt_site_store_place(uint32_t site, struct pt_native *native, const char *object, uint32_t at)
{
    pthread_mutex_lock(&store.mutex);
    if (pt_table_site_is(site) && native->object == 0) {
        PT_PUT(native->at, at);
        PT_PUT(native->object, pt_table_intern(object));
    }
    pthread_mutex_unlock(&store.mutex);
}
