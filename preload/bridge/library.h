/* The bridge to torch's host allocator (host_allocator.cpp) as a library in this process: taken from the user's cache,
 * or built there for the torch that is loaded. */
#ifndef PRELOAD_LIBRARY_H
#define PRELOAD_LIBRARY_H

#include "base/elf.h"

/* The bridge: 0; or -ENOENT: one line has said why; or -EBUSY: somebody else loads a library just now, ask again. The
 * first call takes as long as the compiler does; calls meanwhile wait, and a child that was forked meanwhile gets none.
 */
int library_of_bridge(struct pt_elf *out);

/* One line: there is no bridge, why, and what to do. */
void library_complain(const char *why, const char *what_to_do);

#endif
