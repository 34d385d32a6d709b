/* The addresses of our own: one range with two regions, of which only *windows* are mapped, as they are needed. In the
 * SMALL region segments follow one another, in open windows. In the EXACT region addresses are taken and given back in
 * huge pages; if the range is shared they lie in open windows too, else they are opened part by part.
 *
 * A shared window is an object of its own to the kernel: what is taken never lies in two of them. Whoever maps memory
 * at an address of his choice may have hit ours: that stretch is his, no window is opened there, and addresses behind
 * it serve. Every call with the mutex of segments held, except those that say otherwise. */
#ifndef PT_WINDOWS_H
#define PT_WINDOWS_H

#include <stdbool.h>
#include <stddef.h>

struct pt_range {
    char *base;
    size_t small; /* [base, base + small) is the SMALL region, the rest EXACT */
    size_t size;
};

/* Reserves a fresh range and forgets an older one, whose windows stay mapped (a forked child keeps its parent's).
 * Returns 0 or -ENOMEM. */
int pt_windows_init(bool shared);

const struct pt_range *pt_windows_range(void);

/* ---- the SMALL region ---- */

/* The next addresses for `size` bytes; NULL: there are none. Not taken before pt_windows_take(). */
char *pt_windows_find(size_t size, size_t align);

/* What is before `end` is taken; or is free again. What comes next is never before the stretch. */
void pt_windows_take(char *end);
char *pt_windows_next(void);

/* All between these two is mapped and ours: the next addresses come from there, as long as they last. */
char *pt_windows_stretch(void);
char *pt_windows_end(void);

/* ---- the EXACT region ---- */

/* Addresses for `size` bytes, whole huge pages, the lowest that are free; NULL: there are none. To give back as they
 * were taken. */
char *pt_windows_take_exact(size_t size);
void pt_windows_give_exact(char *p);

/* Taken addresses become usable. -EEXIST: somebody else's memory lies there. */
int pt_windows_open(void *p, size_t len);

/* ---- both ---- */

/* Whether an address of the range lies in a window of ours. No lock. */
bool pt_windows_is_open(const void *p);

/* Bytes that are mapped. */
size_t pt_windows_opened(void);

#endif
