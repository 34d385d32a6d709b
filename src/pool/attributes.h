/* What a program does to the memory of a block besides reading and writing it: madvise, mprotect, mbind, munlock. Such
 * things stick to the addresses, and end with the block: they are undone then, or the memory is not handed out again.
 * Usable in a signal handler. */
#ifndef PT_ATTRIBUTES_H
#define PT_ATTRIBUTES_H

#include "memory/segments.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether the range has to do with us at all: for all others the following is needless. */
static inline bool pt_attributes_concern(const void *p, size_t len)
{
    const struct pt_range *r = pt_segments_range();
    return (uintptr_t)p - (uintptr_t)r->base < r->size || (uintptr_t)r->base - (uintptr_t)p < len;
}

/* Such a call is about to be made: live blocks there remember it. True: some of the range is nobody's, and
 * pt_attributes_end() has to follow the call, to undo it there. */
bool pt_attributes_begin(void *p, size_t len);
void pt_attributes_end(void *p, size_t len);

/* munlockall() was called: what is not in use is locked again. */
void pt_attributes_unlocked_all(void);

/* A live block with PT_ALTERED has ended, and its memory is nobody's yet. With no lock held. False: something is left.
 */
bool pt_attributes_undo(void *base, size_t len, bool exact, bool registered);

#endif
