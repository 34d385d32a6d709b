/* The kernel calls on memory, each with its pre-conditions said once. Ranges are whole pages. Everything returns
 * 0 or a negative errno. No libc wrapper that the preload interposes is called. A leaf. */
#ifndef PT_PAGES_H
#define PT_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/types.h>

/* Of later kernels than the headers that this may be built with. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define PT_PAGE ((size_t)4096)
#define PT_HUGE ((size_t)2 << 20)

static inline size_t pt_pages_up(size_t n, size_t unit)
{
    return (n + unit - 1) & ~(unit - 1);
}

/* Addresses that nobody uses, far from those that the kernel gives out, aligned to PT_HUGE: nothing is mapped there, so
 * they cost nothing, count for no limit and show in no figure; NULL if there are not so many. Somebody who asks the
 * kernel for an address of his choice may get one of these all the same: pt_pages_open() says so then. */
void *pt_pages_reserve(size_t len);

/* From now on addresses are reserved by mapping them, where the above finds none: small address spaces, sanitizers. */
void pt_pages_reserve_by_mapping(void);

/* What is opened in this range from now on is shared with children made by fork, and address and offset are congruent
 * modulo PT_HUGE if it is opened in multiples of that, without which pt_pages_make_huge() has no effect. One such range
 * at a time is known: the latest. */
void pt_pages_share(void *p, size_t len);
bool pt_pages_is_shared(const void *p);

/* Reserved pages become readable and writable; they cost memory when touched, also after mlockall(MCL_FUTURE). They are
 * in no core file unless `dumped`. -EEXIST: somebody else's memory lies there. */
int pt_pages_open(void *p, size_t len, bool dumped);

/* The same for book-keeping: zero, private, in no core file. */
int pt_pages_open_book(void *p, size_t len);

/* In a forked child it reads as zero again, or where the kernel cannot do that as a copy: nothing that a child does
 * there reaches its parent. */
int pt_pages_open_wiped_book(void *p, size_t len);

/* The same in a file, where the disk has room for it: what is written there is in the file at once, whatever becomes of
 * the process. */
int pt_pages_open_file(void *p, size_t len, int fd, off_t offset);

/* Open pages become private ones that read as zero: for a forked child, in place of its parent's file. */
void pt_pages_renew(void *p, size_t len);

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

/* Locks pages again that somebody else may have unlocked. What they hold stays. */
int pt_pages_lock_again(void *p, size_t len);

/* Pages that others may have treated with mprotect, madvise or mbind are as pt_pages_open() left them, but that they
 * hold what they hold. An error: they may not be. */
int pt_pages_plain(void *p, size_t len, bool dumped);

/* Unlocks and gives the memory back; the addresses stay usable and read as zero. On failure, which can be for want of
 * mappings, all is as it was. */
int pt_pages_unlock(void *p, size_t len);

/* Gives the memory of unlocked pages back; the addresses stay usable and read as zero. */
void pt_pages_discard(void *p, size_t len);

/* Unlocks only: at exit, when other threads may still read. */
void pt_pages_unlock_keep(void *p, size_t len);

/* One page, zero. `wiped`: it reads as zero in every child made by fork, even one that runs no atfork handler; else the
 * kernel refused that, and a child has a copy. */
void *pt_pages_owner_mark(bool *wiped);

#endif
