/* Allocation sites: which line asked. Turns the running stack into the number of a site in the table; equal stacks
 * give equal numbers. */
#ifndef PT_SITE_H
#define PT_SITE_H

#include "base/text.h"

#include <stddef.h>
#include <stdint.h>

/* Where stacks have no keys (see frames.h), sizes from here on are always looked at in full; smaller blocks by
 * innermost line, and in full once for so many bytes of each line. */
#define PT_SITE_FULL ((size_t)64 << 10)

void pt_site_init(void);

/* The site of the caller. `caller` is the return address of the exported call, `bytes` what it asks for. Runs Python
 * code if this thread holds the GIL, else may wait up to 20 ms for a thread that takes it: call with no lock held.
 * 0 when sites are off. */
uint32_t pt_site_here(const void *caller, size_t bytes);

/* The same for a call that gives back: never waits, and is content with the nearest native symbol. */
uint32_t pt_site_freeing(const void *caller);

#endif
