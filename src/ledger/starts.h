/* The index of the exact region: where blocks begin, a bit a page, and each one's record number. Any address finds the
 * block around it by going back to the nearest beginning, some loads however many blocks there are: summaries of 64
 * bits each say which words have any.
 *
 * Writers hold the pool's lock, readers nothing: what a reader finds for an address in a live block that somebody holds
 * is that block, since nobody begins inside of it and its own bit stands. For any other address the answer may be out
 * of date by the time it is read, and the record says what is true. A leaf. */
#ifndef PT_STARTS_H
#define PT_STARTS_H

#include "memory/book.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define PT_STARTS_LEVELS 6

struct pt_starts {
    size_t pages;                              /* of the region */
    _Atomic uint32_t *numbers;                 /* one a page; only where a block begins it means anything */
    _Atomic uint64_t *words[PT_STARTS_LEVELS]; /* [0]: a bit a page; [i + 1]: a bit a word of [i] */
    struct pt_book number_book, word_book[PT_STARTS_LEVELS];
    _Atomic size_t opened; /* pages whose numbers and bits may be touched */
};

/* An index over `span` bytes. Returns 0 or -ENOMEM. */
int pt_starts_init(struct pt_starts *s, size_t span);

/* Makes the entries up to an offset usable. Returns 0 or -errno. */
int pt_starts_open(struct pt_starts *s, size_t offset_end);

/* A block begins at the offset; or none any more. */
void pt_starts_set(struct pt_starts *s, size_t offset, uint32_t number);
void pt_starts_clear(struct pt_starts *s, size_t offset);

/* The number of the nearest block that begins at or before the offset; 0: none. */
uint32_t pt_starts_find(const struct pt_starts *s, size_t offset);

#endif
