/* Spans: free neighbours of an mlocked chunk, locked parts and the holes between them, that are together what a request
 * needs where no part is large enough. Only the holes are locked then, and only as much has to be unlocked for them. */
#ifndef PT_SPAN_H
#define PT_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PT_SPAN_PARTS 16

/* Busy parts of one chunk, each before the next. */
struct pt_span {
    unsigned count, holes; /* a bit of `holes` each: not locked yet */
    uint32_t part[PT_SPAN_PARTS];
};

/* With the pool's lock held: takes the span of so many bytes that has the least to lock. False: none that is worth it.
 */
bool pt_span_take(size_t need, struct pt_span *out);

/* Without it: locks the holes and makes one busy part of all. 0: it cannot be, and the parts are free again. */
uint32_t pt_span_lock(const struct pt_span *s);

#endif
