#include "pool/magazine.h"

#include "memory/owner.h"
#include "memory/pages.h"

#include <string.h>

#define MAGAZINES  256
#define BYTES_MOST ((size_t)2 << 20)
#define BLOCK_MOST ((size_t)1 << 20)
#define SERIALS    4096 /* allocations until the owner passes the pool's lock again */

/* Waits at the pool's lock until a thread gets a magazine; twice as many after each that was of no use, up to the second. */
#define PATIENCE_LEAST 32
#define PATIENCE_MOST  4096

/* So many times in a row fewer than so many blocks were found: then it is of no use. */
#define STRIKES_MOST 64
#define HITS_LEAST   8

/* Read by everyone, written almost never. */
static struct {
    uint32_t epoch;
    _Atomic bool closed;
    bool have_key;
    pthread_key_t key;
    void (*ends)(void);
} all __attribute__((aligned(128)));

__thread struct pt_magazine_thread pt_magazine_thread = {.join_at = PATIENCE_LEAST, .patience = PATIENCE_LEAST};
_Atomic uint32_t pt_magazines __attribute__((aligned(128)));
struct pt_magazine pt_magazine_all[MAGAZINES];

struct pt_magazine *pt_magazine_own(void)
{
    return pt_magazine_thread.epoch == all.epoch ? pt_magazine_thread.magazine : NULL;
}

void pt_magazine_reset(void (*ends)(void))
{
    all.epoch++;
    all.ends = ends;
    memset(pt_magazine_all, 0, pt_magazines * sizeof pt_magazine_all[0]);
    atomic_store(&all.closed, false);
    atomic_store(&pt_magazines, 0);
}

void pt_magazine_close(void)
{
    atomic_store(&all.closed, true);
}

void pt_magazine_open(void)
{
    atomic_store(&all.closed, false);
}

/* ---- the owner ---- */

static void thread_ends(void *unused)
{
    (void)unused;
    pt_magazine_thread.ended =
        true; /* destructors that run after this one may use the library, but this one not again */
    if (pt_owner_owns() && pt_magazine_own() != NULL) {
        all.ends();
    }
}

static struct pt_magazine *find_place(void)
{
    uint32_t used = atomic_load(&pt_magazines), i = 0;
    while (i < used && pt_magazine_all[i].taken) {
        i++;
    }
    if (i == MAGAZINES) {
        return NULL;
    }
    struct pt_magazine *m = &pt_magazine_all[i];
    if (i == used) {
        pthread_mutex_init(&m->lock, NULL);
        m->self = (uint16_t)(i + 1);
        atomic_store(&pt_magazines, used + 1);
    }
    return m;
}

void pt_magazine_join(void)
{
    struct pt_magazine_thread *t = &pt_magazine_thread;
    t->join_at = pt_lock_met + t->patience; /* to be tried again then, should it fail */
    if (pt_magazine_own() != NULL || t->ended || all.closed) {
        return;
    }
    pt_lock_enter();
    all.have_key = all.have_key || pthread_key_create(&all.key, thread_ends) == 0; /* children inherit it */
    bool watched = all.have_key;
    pt_lock_leave();
    if (!watched || pthread_setspecific(all.key, pt_magazine_all) != 0) {
        return; /* nobody would tell of the thread's end */
    }
    pt_lock_enter();
    struct pt_magazine *m = find_place();
    if (m != NULL) {
        pthread_mutex_lock(&m->lock);
        m->taken = true;
        m->hits = m->strikes = 0;
        pthread_mutex_unlock(&m->lock);
    }
    pt_lock_leave();
    t->magazine = m;
    t->epoch = all.epoch;
}

struct pt_magazine *pt_magazine_enter(void)
{
    struct pt_magazine *m = pt_magazine_own();
    if (m != NULL) {
        pthread_mutex_lock(&m->lock);
        if (atomic_load_explicit(&all.closed, memory_order_relaxed)) {
            pthread_mutex_unlock(&m->lock);
            m = NULL;
        }
    }
    return m;
}

void pt_magazine_leave(struct pt_magazine *m)
{
    pthread_mutex_unlock(&m->lock);
}

void pt_magazine_take_out(struct pt_magazine *m, unsigned i)
{
    m->bytes -= m->lengths[i];
    m->count--;
    for (; i < m->count; i++) {
        m->blocks[i] = m->blocks[i + 1];
        m->lengths[i] = m->lengths[i + 1];
    }
}

uint32_t pt_magazine_take(struct pt_magazine *m, size_t bytes, uint32_t site, uint64_t *serial)
{
    unsigned i = m->count;
    size_t need = pt_pages_up(bytes, PT_PAGE);
    while (i > 0 && m->lengths[i - 1] != need) {
        i--;
    }
    if (i == 0 || m->serials == 0 || !pt_counters_has_place(&m->tally, site)) {
        return 0;
    }
    uint32_t number = m->blocks[i - 1];
    if (!pt_counters_kept_take(&m->tally, pt_table_record(number), bytes)) {
        return 0;
    }
    pt_magazine_take_out(m, i - 1);
    m->serials--;
    *serial = m->serial++;
    m->hits++;
    return number;
}

void pt_magazine_count(struct pt_magazine *m, const struct pt_record *r, uint64_t asked_ns)
{
    pt_counters_kept_alloc(&m->tally, r, asked_ns);
}

bool pt_magazine_keeps(const struct pt_magazine *m, const struct pt_record *r)
{
    return atomic_load_explicit(&r->owner, memory_order_relaxed) == m->self;
}

void pt_magazine_release(struct pt_magazine *m, const struct pt_record *r)
{
    pt_counters_kept_release(&m->tally, r);
}

/* What keeps nobody but a later request of the same size from having the block. */
static bool fits(const struct pt_record *r)
{
    return r->door != PT_DOOR_CUDA && (r->flags & (PT_EXACT | PT_PAGEABLE | PT_DROPPED | PT_CAPTURED | PT_ALTERED)) == PT_EXACT && r->uses == 0 &&
           r->locked <= BLOCK_MOST;
}

enum pt_magazine_put pt_magazine_put(struct pt_magazine *m, uint32_t number)
{
    struct pt_record *r = pt_table_record(number);
    if (!fits(r) || !pt_counters_has_place(&m->tally, r->site)) {
        return PT_MAGAZINE_UNFIT;
    }
    if (m->count == PT_MAGAZINE_BLOCKS || m->bytes + r->locked > BYTES_MOST) {
        return PT_MAGAZINE_FULL;
    }
    pt_counters_kept_end(&m->tally, r);
    pt_table_write_begin(r);
    PT_PUT(r->state, PT_CACHED);
    PT_PUT(r->born_ns, pt_table_now());
    pt_table_write_end(r);
    m->blocks[m->count] = number;
    m->lengths[m->count++] = (uint32_t)r->locked;
    m->bytes += r->locked;
    return PT_MAGAZINE_PUT;
}

bool pt_magazine_useless(void)
{
    const struct pt_magazine *m = pt_magazine_own();
    return m != NULL && m->strikes >= STRIKES_MOST;
}

/* ---- with the pool's lock held ---- */

uint16_t pt_magazine_owner(const struct pt_record *r)
{
    struct pt_magazine *m = pt_magazine_own();
    if (m == NULL) {
        return 0;
    }
    pthread_mutex_lock(&m->lock);
    pt_counters_fold(&m->tally);
    m->strikes = m->hits < HITS_LEAST ? m->strikes + 1 : 0;
    m->hits = 0;
    if (m->serials == 0) {
        m->serial = pt_counters_serial + 1;
        m->serials = SERIALS;
        pt_counters_serial += SERIALS;
    }
    pthread_mutex_unlock(&m->lock);
    return fits(r) ? m->self : 0;
}

void pt_magazine_give_back(struct pt_magazine *m)
{
    struct pt_magazine_thread *t = &pt_magazine_thread;
    m->taken = false; /* its lock still guards the blocks it made: whoever takes it next keeps them */
    t->magazine = NULL;
    t->patience = t->patience < PATIENCE_MOST ? t->patience * 2 : PATIENCE_MOST;
    t->join_at = pt_lock_met + t->patience;
}
