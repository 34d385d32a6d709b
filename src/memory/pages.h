/* The kernel calls on memory, each with its pre-conditions said once. Ranges are whole pages. Everything returns
 * 0 or a negative errno. No libc wrapper that the preload interposes is called. A leaf. */
#ifndef PT_PAGES_H
#define PT_PAGES_H

#include <stdbool.h>
#include <stddef.h>

#define PT_PAGE ((size_t)4096)
#define PT_HUGE ((size_t)2 << 20)

static inline size_t pt_pages_up(size_t n, size_t unit)
{
    return (n + unit - 1) & ~(unit - 1);
}

/* Address space without memory, aligned to PT_HUGE; NULL if the address-space limit is met. */
void *pt_pages_reserve(size_t len);

/* The same, but what it will hold is shared with children made by fork, and address and offset are congruent modulo
 * PT_HUGE, without which pt_pages_make_huge() has no effect. One such range at a time is known: the latest. */
void *pt_pages_reserve_shared(size_t len);
bool pt_pages_is_shared(const void *p);

/* Reserved pages become readable and writable; they cost memory when touched. */
int pt_pages_open(void *p, size_t len);

/* Memory for book-keeping, zero, not charged before it is touched; NULL if there is none. In a forked child it reads as zero
 * again, or where the kernel cannot do that as a copy: nothing that a child does there reaches its parent. */
void *pt_pages_book(size_t len);

/* Memory for a moment, zero; NULL if there is none. Usable in a signal handler. */
void *pt_pages_scratch(size_t len);
void pt_pages_scratch_end(void *p, size_t len);

/* Asks for huge pages in the range; a hint. */
void pt_pages_want_huge(void *p, size_t len);

/* Makes the whole huge pages of a shared range present, as huge pages where the kernel can (6.1). A hint. */
void pt_pages_make_huge(void *p, size_t len);

/* Makes the pages present. A hint: Linux 5.14. */
void pt_pages_make_present(void *p, size_t len);

/* Has the limits checked and marks the range as locked, without touching it: pt_pages_lock has to follow, and may then
 * still find memory short. */
int pt_pages_claim(void *p, size_t len);

/* Locks and populates. On failure nothing is locked and nothing stays populated.
 * Locks do not nest: one unlock undoes any number of locks on a page. */
int pt_pages_lock(void *p, size_t len);

/* Unlocks and gives the memory back; the addresses stay usable and read as zero. */
void pt_pages_unlock(void *p, size_t len);

/* Gives the memory of unlocked pages back; the addresses stay usable and read as zero. */
void pt_pages_discard(void *p, size_t len);

/* Unlocks only: at exit, when other threads may still read. */
void pt_pages_unlock_keep(void *p, size_t len);

/* One page, zero. `wiped`: it reads as zero in every child made by fork, even one that runs no atfork handler; else the kernel
 * refused that, and a child has a copy. */
void *pt_pages_owner_mark(bool *wiped);

#endif
