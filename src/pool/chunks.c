#include "pool/chunks.h"

#include "ledger/table.h"
#include "memory/pages.h"
#include "pool/chunk_table.h"
#include "pool/free_cache.h"
#include "pool/lock.h"

/* A hole between locked parts costs two of the 65,530 mappings that the kernel allows a process. */
#define HOLES_MOST 12000
#define ALWAYS     ((size_t)8 << 20) /* from here on a part is worth them in any case */

static size_t holes; /* how many there are; the pool's lock guards it */

void pt_chunks_init(void)
{
    holes = 0;
    pt_chunk_table_init();
    pt_free_cache_init();
}

static struct pt_chunk *chunk_of(const struct pt_record *r)
{
    return pt_chunk_table_at(r->chunk);
}

/* Whether a part is the pool's, and of that state. What a thread keeps in its magazine is that one's, and so are blocks
 * that it made: with the owner's lock it changes their states. No hole and no busy part has an owner. */
static bool is(const struct pt_record *r, enum pt_state state)
{
    return atomic_load_explicit(&r->owner, memory_order_relaxed) == 0 && r->state == state;
}

static bool is_free(const struct pt_record *r)
{
    return is(r, PT_HOLE) || is(r, PT_CACHED);
}

static enum pt_free_kind free_kind(const struct pt_record *r)
{
    switch (chunk_of(r)->kind) {
    case PT_CHUNK_REGISTERED: return PT_FREE_REGISTERED;
    case PT_CHUNK_SMALL: return PT_FREE_SMALL;
    default: return r->state == PT_HOLE ? PT_FREE_HOLE : PT_FREE_MLOCKED;
    }
}

/* A part's state and size; it is locked unless it is a hole. */
static void set_part(struct pt_record *r, enum pt_state now, size_t len)
{
    holes += (now == PT_HOLE) - (size_t)(r->state == PT_HOLE);
    pt_table_write_begin(r);
    PT_PUT(r->state, (uint8_t)now);
    PT_PUT(r->capacity, len);
    PT_PUT(r->locked, now == PT_HOLE ? 0 : len);
    pt_table_write_end(r);
}

/* A busy part's record; 0: there is no room. */
static uint32_t new_part(uint32_t chunk, uintptr_t base, size_t len)
{
    uint32_t number = pt_table_take_record();
    if (number == 0) {
        return 0;
    }
    struct pt_record *r = pt_table_record(number);
    pt_table_write_begin(r);
    PT_PUT(r->state, PT_BUSY);
    PT_PUT(r->flags, PT_EXACT | (pt_chunk_table_at(chunk)->kind != PT_CHUNK_MLOCKED ? PT_REGISTERED : 0));
    PT_PUT(r->base, base);
    PT_PUT(r->asked, 0);
    PT_PUT(r->locked, len);
    PT_PUT(r->capacity, len);
    PT_PUT(r->site, 0);
    PT_PUT(r->manager, 0);
    r->release_site = 0;
    r->chunk = chunk;
    r->before = r->after = 0;
    r->uses = 0;
    atomic_store_explicit(&r->owner, 0, memory_order_relaxed);
    pt_table_write_end(r);
    if (pt_table_index(number) != 0) {
        pt_table_give_record(number);
        return 0;
    }
    return number;
}

uint32_t pt_chunks_add(void *base, size_t len, enum pt_chunk_kind kind)
{
    PT_ASSERT_LOCKED();
    PT_ASSERT((char *)base >= pt_segments_range()->base + pt_segments_range()->small &&
              (char *)base + len <= pt_segments_range()->base + pt_segments_range()->size);
    uint32_t chunk = pt_chunk_table_new();
    if (chunk == 0) {
        return 0;
    }
    *pt_chunk_table_at(chunk) = (struct pt_chunk){
        .base = base, .start = base, .len = len, .used = len, .origin = chunk, .shares = 1, .kind = (uint8_t)kind};
    uint32_t number = new_part(chunk, (uintptr_t)base, len);
    pt_chunk_table_at(chunk)->first = number;
    if (number == 0) {
        pt_chunk_table_give(chunk);
    }
    return number;
}

static void link_after(uint32_t number, uint32_t next)
{
    struct pt_record *r = pt_table_record(number), *n = pt_table_record(next);
    n->before = number;
    n->after = r->after;
    if (n->after != 0) {
        pt_table_record(n->after)->before = next;
    }
    r->after = next;
}

/* The bytes of a busy part past `need` become one that is free, and waits since then; returns what is left of the part.
 */
static size_t cut(uint32_t number, size_t need, bool locked, uint64_t since_ns)
{
    struct pt_record *r = pt_table_record(number);
    size_t rest = r->capacity - need;
    uint32_t tail = rest > 0 ? new_part(r->chunk, r->base + need, rest) : 0;
    if (tail == 0) {
        return r->capacity;
    }
    link_after(number, tail);
    (void)pt_chunks_give(tail, locked, since_ns);
    return need;
}

void pt_chunks_cut(uint32_t number, size_t need, bool locked)
{
    struct pt_record *r = pt_table_record(number);
    PT_ASSERT_LOCKED();
    PT_ASSERT(r->state == PT_BUSY);
    set_part(r, PT_BUSY, cut(number, need, locked, pt_table_now()));
}

void pt_chunks_take(uint32_t number, size_t need)
{
    struct pt_record *r = pt_table_record(number);
    bool locked = r->state != PT_HOLE;
    PT_ASSERT_LOCKED();
    PT_ASSERT(is_free(r) && r->capacity >= need && need > 0);
    pt_free_cache_remove(number, free_kind(r));
    pt_chunk_table_use(chunk_of(r), r->capacity);
    holes -= !locked;
    PT_PUT(r->state, PT_BUSY); /* so that nothing joins with it */
    set_part(r, PT_BUSY, cut(number, need, locked, r->born_ns));
}

uint32_t pt_chunks_take_tail(uint32_t number, size_t need)
{
    struct pt_record *r = pt_table_record(number);
    PT_ASSERT_LOCKED();
    PT_ASSERT(is_free(r) && r->capacity > need && need > 0);
    uint32_t tail = new_part(r->chunk, r->base + r->capacity - need, need);
    if (tail == 0) {
        return 0;
    }
    pt_free_cache_remove(number, free_kind(r));
    link_after(number, tail);
    PT_PUT(pt_table_record(tail)->born_ns, r->born_ns);
    pt_chunk_table_use(chunk_of(r), need);
    set_part(r, (enum pt_state)r->state, r->capacity - need);
    pt_free_cache_put(number, free_kind(r));
    return tail;
}

/* The later of two neighbours, neither in the free cache, becomes part of the earlier one. */
static void swallow(uint32_t number, uint32_t later)
{
    struct pt_record *r = pt_table_record(number), *gone = pt_table_record(later);
    uint64_t born = gone->born_ns;
    r->after = gone->after;
    if (r->after != 0) {
        pt_table_record(r->after)->before = number;
    }
    pt_table_unindex(later);
    set_part(r, r->state, r->capacity + gone->capacity);
    holes -= gone->state == PT_HOLE;
    pt_table_give_record(later);
    PT_PUT(r->born_ns, born > r->born_ns ? born : r->born_ns);
    /* What is said of a wrong free() must not name a block that lay elsewhere. */
    PT_PUT(r->site, 0);
    r->release_site = 0;
}

void pt_chunks_join(uint32_t number, uint32_t later)
{
    PT_ASSERT_LOCKED();
    PT_ASSERT(pt_table_record(number)->state == PT_BUSY && pt_table_record(later)->state == PT_BUSY &&
              pt_table_record(number)->after == later);
    swallow(number, later);
}

/* The neighbour, if it is free in the same way: taken out of the free cache. */
static uint32_t like_neighbour(const struct pt_record *r, uint32_t neighbour)
{
    const struct pt_record *n = pt_table_record(neighbour);
    if (neighbour == 0 || !is_free(n) || n->state != r->state) {
        return 0;
    }
    pt_free_cache_remove(neighbour, free_kind(n));
    return neighbour;
}

uint32_t pt_chunks_give(uint32_t number, bool locked, uint64_t since_ns)
{
    struct pt_record *r = pt_table_record(number);
    struct pt_chunk *c = chunk_of(r);
    PT_ASSERT_LOCKED();
    PT_ASSERT(r->state != PT_HOLE && r->state != PT_FREE && r->owner == 0 && (locked || c->kind == PT_CHUNK_MLOCKED));
    pt_chunk_table_unuse(c, r->capacity);
    PT_PUT(r->born_ns, since_ns);
    set_part(r, locked ? PT_CACHED : PT_HOLE, r->capacity);
    uint32_t other = like_neighbour(r, r->after);
    if (other != 0) {
        swallow(number, other);
    }
    other = like_neighbour(r, r->before);
    if (other != 0) {
        swallow(other, number);
        number = other;
    }
    pt_free_cache_put(number, free_kind(pt_table_record(number)));
    return number;
}

bool pt_chunks_is_free(uint32_t number)
{
    return number != 0 && is_free(pt_table_record(number));
}

enum pt_chunk_kind pt_chunks_kind(uint32_t number)
{
    return (enum pt_chunk_kind)chunk_of(pt_table_record(number))->kind;
}

bool pt_chunks_is_whole(uint32_t number)
{
    const struct pt_record *r = pt_table_record(number);
    return r->before == 0 && r->after == 0;
}

bool pt_chunks_is_unused(uint32_t number)
{
    return chunk_of(pt_table_record(number))->used == 0;
}

static bool is_hole(uint32_t number)
{
    return number != 0 && is(pt_table_record(number), PT_HOLE);
}

/* Whether the free part may be unlocked: beside a hole, which only grows; large ones; and others while holes are few.
 */
static bool may_unlock(uint32_t number)
{
    const struct pt_record *r = pt_table_record(number);
    return is_hole(r->before) || is_hole(r->after) || r->capacity >= ALWAYS || holes < HOLES_MOST;
}

/* Beside a hole, if there is one, for that one to grow. */
static uint32_t take_some(uint32_t number, size_t bytes)
{
    const struct pt_record *r = pt_table_record(number);
    uint32_t tail =
        is_hole(r->after) && !is_hole(r->before) && bytes < r->capacity ? pt_chunks_take_tail(number, bytes) : 0;
    if (tail == 0) {
        pt_chunks_take(number, bytes < r->capacity ? bytes : r->capacity);
    }
    return tail != 0 ? tail : number;
}

uint32_t pt_chunks_take_oldest(uint64_t before_ns, size_t enough)
{
    enum { LOOK_MOST = 256, GRAIN = 1 << 16 };
    uint32_t number = pt_free_cache_oldest(before_ns);
    for (unsigned looked = 0; number != 0 && !may_unlock(number); looked++) {
        number = looked < LOOK_MOST ? pt_free_cache_next_oldest(number, before_ns) : 0;
    }
    return number != 0 ? take_some(number, enough < SIZE_MAX - GRAIN ? pt_pages_up(enough, GRAIN) : SIZE_MAX) : 0;
}

/* ---- chunks that come and go ---- */

size_t pt_chunks_unused(void)
{
    return pt_chunk_table_unused();
}

uint32_t pt_chunks_take_unused(size_t deficit)
{
    const struct pt_chunk *c = pt_chunk_table_best_unused(deficit);
    if (c == NULL) {
        return 0;
    }
    uint32_t number = c->first;
    pt_chunks_take(number, c->len);
    return number;
}

/* Somebody makes the chunk, or has it go, at this moment. */
static bool in_hand(const struct pt_chunk *c)
{
    const struct pt_record *first = pt_table_record(c->first);
    return is(first, PT_BUSY) && first->capacity == c->len;
}

bool pt_chunks_hold_next_registered(uint32_t *chunk, void **base, size_t *len)
{
    if (*chunk != 0) {
        pt_chunk_table_unuse(pt_chunk_table_at(*chunk), 1);
    }
    while (++*chunk <= pt_chunk_table_count()) {
        struct pt_chunk *c = pt_chunk_table_at(*chunk);
        if (c->len > 0 && c->kind != PT_CHUNK_MLOCKED && !in_hand(c)) {
            pt_chunk_table_use(c, 1);
            *base = c->base;
            *len = c->len;
            return true;
        }
    }
    return false;
}

void *pt_chunks_remove(uint32_t number)
{
    struct pt_record *r = pt_table_record(number);
    uint32_t chunk = r->chunk, origin = chunk_of(r)->origin;
    PT_ASSERT_LOCKED();
    PT_ASSERT(r->state == PT_BUSY && pt_chunks_is_whole(number));
    chunk_of(r)->len = 0;
    pt_table_unindex(number);
    pt_table_give_record(number);
    void *addresses = --pt_chunk_table_at(origin)->shares == 0 ? pt_chunk_table_at(origin)->start : NULL;
    if (chunk != origin) {
        pt_chunk_table_give(chunk);
    }
    if (addresses != NULL) {
        pt_chunk_table_give(origin); /* it stays until then, to count */
    }
    return addresses;
}

/* Takes that much off one end of the chunk, as a chunk with this number. What it has to know of its parts is the
 * caller's. */
static void cut_off(struct pt_chunk *c, uint32_t number, char *base, size_t len, size_t used, uint32_t first)
{
    *pt_chunk_table_at(number) =
        (struct pt_chunk){.base = base, .len = len, .used = used, .first = first, .origin = c->origin};
    pt_chunk_table_at(c->origin)->shares++;
    c->base += base == c->base ? len : 0;
    c->len -= len;
    c->used -= used;
}

/* What lies on one side of the part becomes a chunk of its own. It takes a step for each part there. */
static void part_side(struct pt_chunk *c, const struct pt_record *r, bool left, uint32_t number)
{
    char *begin = left ? c->base : (char *)r->base + r->capacity, *end = left ? (char *)r->base : c->base + c->len;
    uint32_t first = left ? c->first : r->after;
    size_t used = 0;
    for (uint32_t n = left ? r->before : r->after; n != 0;) {
        struct pt_record *part = pt_table_record(n);
        used += is_free(part) ? 0 : part->capacity;
        part->chunk = number;
        n = left ? part->before : part->after;
    }
    cut_off(c, number, begin, (size_t)(end - begin), used, first);
}

/* Whether fewer parts lie before this one than after it. A step for each of the fewer. */
static bool shorter_before(const struct pt_record *r)
{
    uint32_t before = r->before, after = r->after;
    while (before != 0 && after != 0) {
        before = pt_table_record(before)->before;
        after = pt_table_record(after)->after;
    }
    return before == 0;
}

/* The part, and what lies on its shorter side, get new numbers: so a chunk of many parts is taken apart, one after the
 * other, in few steps. */
bool pt_chunks_convert(uint32_t number)
{
    struct pt_record *r = pt_table_record(number);
    struct pt_chunk *c = chunk_of(r);
    uint32_t before = r->before, after = r->after;
    bool amid = before != 0 && after != 0;
    uint32_t own = before != 0 || after != 0 ? pt_chunk_table_new() : r->chunk, side = 0;
    if (own != 0 && amid && (side = pt_chunk_table_new()) == 0) {
        pt_chunk_table_give(own);
        own = 0;
    }
    if (own == 0) {
        return false;
    }
    bool left = amid && shorter_before(r);
    if (amid) {
        part_side(c, r, left, side);
    }
    if (own != r->chunk) {
        c->first = (before == 0 || left) ? after : c->first;
        cut_off(c, own, (char *)r->base, r->capacity, r->capacity, number);
    }
    if (before != 0) {
        pt_table_record(before)->after = 0;
    }
    if (after != 0) {
        pt_table_record(after)->before = 0;
    }
    pt_chunk_table_at(own)->kind = PT_CHUNK_REGISTERED;
    pt_table_write_begin(r);
    PT_PUT(r->flags, r->flags | PT_REGISTERED);
    r->chunk = own;
    r->before = r->after = 0;
    pt_table_write_end(r);
    return true;
}
