/* The chunks themselves, by number: what is known of each as a whole, and which of the registered ones nobody uses. Every call
 * with the pool's lock held. */
#ifndef PT_CHUNK_TABLE_H
#define PT_CHUNK_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* SMALL: registered, and made for small requests, which are sent there first: one of them in a large chunk that is free
 * otherwise would keep it from its like. */
enum pt_chunk_kind { PT_CHUNK_MLOCKED, PT_CHUNK_REGISTERED, PT_CHUNK_SMALL };

/* `first`: the part at its start. `origin`: the chunk that came with the addresses; that one counts in `shares` how many chunks
 * lie there now, and knows where they `start`, also when it is gone itself. `len` is 0 then, as it is where a number is nobody's. */
struct pt_chunk {
    char *base, *start;
    size_t len, used; /* bytes; of these, those that are not in the free cache */
    uint32_t first, origin, shares;
    uint32_t prev, next; /* the list of unused ones, or of free numbers */
    uint8_t kind;        /* enum pt_chunk_kind */
    bool unused;         /* on the list */
};

extern struct pt_chunk *pt_chunk_table; /* number 0 is none */
static inline struct pt_chunk *pt_chunk_table_at(uint32_t number)
{
    return &pt_chunk_table[number];
}

void pt_chunk_table_init(void);

/* A number for a chunk, to be filled in; 0: there is no room. */
uint32_t pt_chunk_table_new(void);
void pt_chunk_table_give(uint32_t number);

/* The highest number so far. */
uint32_t pt_chunk_table_count(void);

/* So many bytes more, or less, of the chunk are not in the free cache. */
void pt_chunk_table_use(struct pt_chunk *c, size_t bytes);
void pt_chunk_table_unuse(struct pt_chunk *c, size_t bytes);

/* Bytes of registered chunks that nobody uses; and the best of these to go when `deficit` bytes have to, or NULL: the
 * smallest that is an eighth of that at least, or else the largest. SIZE_MAX: any, since all have to. */
size_t pt_chunk_table_unused(void);
const struct pt_chunk *pt_chunk_table_best_unused(size_t deficit);

#endif
