/* The parts of the SMALL region that are registered with a device. A registration is never cut, and a block must not lie
 * across two: each *chunk* is registered whole, ahead of need, and goes back when nothing in it is in use. Called with the
 * segment's mutex held, except pt_small_chunk_joined(). */
#ifndef PT_SMALL_CHUNK_H
#define PT_SMALL_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What each page of the SMALL region is. USED: jemalloc's. FREE: given back by jemalloc or not yet handed out, still
 * locked. HOLE: given back and unlocked. LEAVING, GONE: in a chunk that is being given back, or not registered now. */
enum { PT_PAGE_USED, PT_PAGE_FREE, PT_PAGE_HOLE, PT_PAGE_LEAVING, PT_PAGE_GONE };

/* Bytes that the book-keeping takes for a region of `len` bytes; `book` is zero, `page` says what each page is. */
size_t pt_small_chunk_book(size_t len);
void pt_small_chunk_init(char *base, uint8_t *page, uint8_t *book);

/* Registers [p, p + len), whole huge pages, as a new chunk of FREE pages. 0, or a negative errno as pt_pin_register. */
int pt_small_chunk_add(char *p, size_t len);

/* Whether the page lies in a chunk, registered now or not. */
bool pt_small_chunk_holds(const void *p);

/* Makes sure the chunk around `p` is registered; returns the bytes that this took, or a negative errno: -EAGAIN while it is
 * being given back. */
long pt_small_chunk_restore(const void *p);

/* All chunks before `end` that are registered now are registered once more: a driver that remembers them refuses. */
void pt_small_chunk_register_again(const char *end);

/* The chunk around `p` begins to be given back, if all of it is FREE: its start and bytes, or 0. The caller unregisters it,
 * which waits for a device that is busy, without the mutex, and says so then. */
size_t pt_small_chunk_leave(const void *p, char **start);
void pt_small_chunk_gone(char *start, size_t len);

/* Whether a block may lie across this address: what is before it and what is after it are locked as one. */
bool pt_small_chunk_joined(const void *border);

#endif
