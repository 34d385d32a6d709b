#include "pool/chunk_table.h"

#include "memory/book.h"

#include <string.h>

#define CHUNKS_MOST ((uint32_t)1 << 20)

struct pt_chunk *pt_chunk_table;

/* The pool's lock guards it, and the array. */
static struct {
    struct pt_book book;  /* the array's */
    uint32_t count, free; /* numbers given out so far; those given back, linked by `next` */
    uint32_t unused;      /* the first of the list */
    size_t unused_bytes;
} state;

void pt_chunk_table_init(void)
{
    memset(&state, 0, sizeof state);
    pt_chunk_table = NULL; /* in a forked child its parent's stays, a page or two lost */
}

uint32_t pt_chunk_table_new(void)
{
    uint32_t number = state.free;
    if (number != 0) {
        state.free = pt_chunk_table[number].next;
        return number;
    }
    if (pt_chunk_table == NULL && pt_book_init(&state.book, CHUNKS_MOST * sizeof *pt_chunk_table) == 0) {
        pt_chunk_table = state.book.base;
    }
    number = state.count + 1;
    if (pt_chunk_table == NULL || number == CHUNKS_MOST ||
        pt_book_open(&state.book, (number + 1) * sizeof *pt_chunk_table) != 0) {
        return 0;
    }
    return state.count = number;
}

void pt_chunk_table_give(uint32_t number)
{
    pt_chunk_table[number].len = 0;
    pt_chunk_table[number].next = state.free;
    state.free = number;
}

uint32_t pt_chunk_table_count(void)
{
    return state.count;
}

/* ---- which are unused ---- */

static void list(struct pt_chunk *c)
{
    uint32_t number = (uint32_t)(c - pt_chunk_table);
    c->unused = true;
    c->prev = 0;
    c->next = state.unused;
    pt_chunk_table[c->next].prev = number; /* that of number 0 means nothing */
    state.unused = number;
    state.unused_bytes += c->len;
}

static void unlist(struct pt_chunk *c)
{
    c->unused = false;
    *(c->prev != 0 ? &pt_chunk_table[c->prev].next : &state.unused) = c->next;
    pt_chunk_table[c->next].prev = c->prev;
    state.unused_bytes -= c->len;
}

void pt_chunk_table_use(struct pt_chunk *c, size_t bytes)
{
    c->used += bytes;
    if (c->unused) {
        unlist(c);
    }
}

void pt_chunk_table_unuse(struct pt_chunk *c, size_t bytes)
{
    c->used -= bytes;
    if (c->used == 0 && c->kind != PT_CHUNK_MLOCKED) {
        list(c);
    }
}

size_t pt_chunk_table_unused(void)
{
    return state.unused_bytes;
}

static bool is_better(const struct pt_chunk *c, const struct pt_chunk *best, size_t deficit)
{
    bool enough = c->len >= deficit / 8, best_enough = best->len >= deficit / 8;
    return enough ? !best_enough || c->len < best->len : !best_enough && c->len > best->len;
}

const struct pt_chunk *pt_chunk_table_best_unused(size_t deficit)
{
    const struct pt_chunk *best = NULL;
    if (deficit == SIZE_MAX) { /* a trim may mean tens of thousands */
        return state.unused != 0 ? &pt_chunk_table[state.unused] : NULL;
    }
    for (uint32_t n = state.unused; n != 0; n = pt_chunk_table[n].next) {
        if (best == NULL || is_better(&pt_chunk_table[n], best, deficit)) {
            best = &pt_chunk_table[n];
        }
    }
    return best;
}
