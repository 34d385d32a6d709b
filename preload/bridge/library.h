/* The bridge to torch's host allocator (host_allocator.cpp) as a library in this process: taken from the user's cache,
 * or built there for the torch that is loaded. */
#ifndef PRELOAD_LIBRARY_H
#define PRELOAD_LIBRARY_H

#include <stdbool.h>

/* The bridge's handle, or NULL: one line has said why. The first call takes as long as the compiler does; calls
 * meanwhile wait, and a child that was forked meanwhile gets NULL. */
void *library_of_bridge(void);

/* One line: there is no bridge, why, and what to do. */
void library_complain(const char *why, const char *what_to_do);

#endif
