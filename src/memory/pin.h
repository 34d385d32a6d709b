/* How pages are locked: by mlock, or by registering them with the device that the program uses. Owns the process's count of
 * bytes locked by us and knows why a lock was refused. Safe under jemalloc's locks: allocates nothing. */
#ifndef PT_PIN_H
#define PT_PIN_H

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

void pt_pin_reset(void);

/* Locks and populates whole pages. The first refusal raises the soft RLIMIT_MEMLOCK to the hard one and tries
 * again. Returns 0 or -errno; on failure nothing is locked and pt_pin_error() keeps the errno; -EDQUOT: PINTENSOR_LIMIT
 * refused it (limit.h). */
int pt_pin_acquire(void *p, size_t len);

/* Unlocks and gives the pages back to the kernel; the addresses stay. False: they are locked still, and counted. */
bool pt_pin_release(void *p, size_t len);

/* Registers and populates whole pages. 0; -ENODEV: the program uses no device, mlock is the lock to take; -EDQUOT as
 * above; else refused. A registration is given back as it was made, whole. */
int pt_pin_register(void *p, size_t len);
void pt_pin_unregister(void *p, size_t len);

/* A range that was mlocked becomes registered, in place. On failure it stays as it is. */
int pt_pin_convert(void *p, size_t len);

size_t pt_pin_bytes(void);

/* The errno (positive) of this thread's last refused lock, 0 after a success. */
int pt_pin_error(void);

/* Says which limit refused `len` more bytes, and the command that lifts it. `error` is the errno; ENOSPC: there is not
 * so much memory (pt_pressure_room); EDQUOT: PINTENSOR_LIMIT; ENOBUFS: the range of addresses is used up. */
void pt_pin_explain(size_t len, int error, struct pt_text *out);

#endif
