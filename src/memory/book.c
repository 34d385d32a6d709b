#include "memory/book.h"

#include "memory/pages.h"

#include <errno.h>

/* Doubled at each step, up to huge pages: lookups jump about in large ones, and those spare them TLB misses. */
#define FIRST_STEP ((size_t)64 << 10)

int pt_book_init(struct pt_book *b, size_t most)
{
    most = pt_pages_up(most, PT_PAGE);
    void *base = pt_pages_reserve(most);
    pt_book_over(b, base, base != NULL ? most : 0, pt_pages_open_book);
    return base != NULL ? 0 : -ENOMEM;
}

void pt_book_over(struct pt_book *b, void *base, size_t most, int (*open)(void *p, size_t len))
{
    b->base = base;
    b->most = most;
    b->open = open;
    atomic_store(&b->opened, 0);
}

int pt_book_open(struct pt_book *b, size_t bytes)
{
    size_t opened = atomic_load_explicit(&b->opened, memory_order_relaxed);
    if (bytes <= opened) {
        return 0;
    }
    if (bytes > b->most) {
        return -ENOMEM;
    }
    size_t twice = opened < PT_HUGE ? 2 * opened : 0, to = bytes > twice ? bytes : twice;
    to = pt_pages_up(to, to < PT_HUGE ? FIRST_STEP : PT_HUGE);
    to = to < b->most ? to : b->most;
    int error = b->open((char *)b->base + opened, to - opened);
    if (error == 0) {
        if (to >= PT_HUGE) {
            pt_pages_want_huge((char *)b->base + opened, to - opened);
        }
        atomic_store_explicit(&b->opened, to, memory_order_release);
    }
    return error;
}
