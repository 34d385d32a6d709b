/* How pages are locked: today with mlock. Owns the process's count of bytes locked by us and knows why a lock
 * was refused. Safe under jemalloc's locks: allocates nothing. */
#ifndef PT_LOCK_H
#define PT_LOCK_H

#include "text.h"

#include <stddef.h>

void pt_lock_reset(void);

/* Locks and populates whole pages. The first refusal raises the soft RLIMIT_MEMLOCK to the hard one and tries
 * again. Returns 0 or -errno; on failure nothing is locked and pt_lock_error() keeps the errno. */
int pt_lock_acquire(void *p, size_t len);

/* Unlocks and gives the pages back to the kernel; the addresses stay. */
void pt_lock_release(void *p, size_t len);

size_t pt_lock_bytes(void);

/* The errno (positive) of this thread's last refused lock, 0 after a success. */
int pt_lock_error(void);

/* Says which limit refused `len` more bytes, and the command that lifts it. `error` is the errno; ENOBUFS: the reserved
 * range is used up. */
void pt_lock_explain(size_t len, int error, struct pt_text *out);

#endif
