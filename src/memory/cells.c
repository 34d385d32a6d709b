#include "memory/cells.h"

#include "memory/pages.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* `next` is apart from what the owner writes: a thread that comes too late may still read it. */
struct cell {
    struct cell *_Atomic next;
    char bytes[PT_CELLS_BYTES];
};
#define ALIGNMENT 256 /* of a cell, and its size */
_Static_assert(sizeof(struct cell) == ALIGNMENT, "the low bits of a cell's address are free");

/* The free cells, newest first: the address of the first, of 47 bits, of which the low 8 are 0, shifted up by 16. The
 * 24 bits below count how often one was taken: who read `next` before others took that cell and gave it back is told
 * so. */
static _Atomic uint64_t free_cells;
#define COUNT_MASK (((uint64_t)1 << 24) - 1)

static struct cell *first(uint64_t word)
{
    return (struct cell *)(uintptr_t)((word & ~COUNT_MASK) >> 16);
}

static uint64_t word_of(const struct cell *cell, uint64_t count)
{
    return (uint64_t)(uintptr_t)cell << 16 | (count & COUNT_MASK);
}

static void push(struct cell *cell)
{
    uint64_t seen = atomic_load_explicit(&free_cells, memory_order_relaxed);
    do {
        atomic_store_explicit(&cell->next, first(seen), memory_order_relaxed);
    } while (!atomic_compare_exchange_weak_explicit(&free_cells, &seen, word_of(cell, seen), memory_order_release,
                                                    memory_order_relaxed));
}

static struct cell *pop(void)
{
    uint64_t seen = atomic_load_explicit(&free_cells, memory_order_acquire);
    struct cell *cell;
    do {
        cell = first(seen);
    } while (cell != NULL &&
             !atomic_compare_exchange_weak_explicit(
                 &free_cells, &seen, word_of(atomic_load_explicit(&cell->next, memory_order_relaxed), seen + 1),
                 memory_order_acquire, memory_order_acquire));
    return cell;
}

/* A cell of fresh memory; the others of it become free. */
static struct cell *make(void)
{
    enum { COUNT = 64 };
    struct cell *cells = pt_pages_scratch(COUNT * sizeof(struct cell));
    for (size_t i = 1; cells != NULL && i < COUNT; i++) {
        push(&cells[i]);
    }
    return cells;
}

void *pt_cells_take(void)
{
    struct cell *cell = pop();
    if (cell == NULL) {
        cell = make();
    }
    return cell != NULL ? cell->bytes : NULL;
}

void pt_cells_give(void *bytes)
{
    push((struct cell *)((char *)bytes - offsetof(struct cell, bytes)));
}
