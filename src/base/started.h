/* When this program was started. A leaf. */
#ifndef PT_STARTED_H
#define PT_STARTED_H

#include <stdint.h>

/* By the monotonic clock: when the library was loaded, or for a forked child, now. */
int64_t pt_started_ns(void);

#endif
