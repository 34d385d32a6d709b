/* Arrays for book-keeping that grow in place: their addresses are reserved for the most there can be, and opened as far
 * as they are used, so that nobody has to lock, dump or account for more. One writer at a time; readers take no lock.
 */
#ifndef PT_BOOK_H
#define PT_BOOK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct pt_book {
    void *base;
    size_t most;                      /* bytes */
    _Atomic size_t opened;            /* of these: zero, and usable */
    int (*open)(void *p, size_t len); /* maps that much of it, zero */
};

/* Reserves the addresses. Returns 0 or -ENOMEM. */
int pt_book_init(struct pt_book *b, size_t most);

/* Over addresses that are reserved already, whole pages; `open` maps them. */
void pt_book_over(struct pt_book *b, void *base, size_t most, int (*open)(void *p, size_t len));

/* Makes at least so many bytes usable. Returns 0 or a negative errno. */
int pt_book_open(struct pt_book *b, size_t bytes);

/* Whether so many bytes are usable. */
static inline bool pt_book_has(const struct pt_book *b, size_t bytes)
{
    return bytes <= atomic_load_explicit(&b->opened, memory_order_acquire);
}

#endif
