/* Setting the library up at the first block of a process, and again in a forked child that pins memory itself. */
#ifndef PT_INIT_H
#define PT_INIT_H

#include <stdbool.h>

/* Whether pintensor is not switched off. For a door that has to know before the first block: reads the options if nobody
 * has, and sets nothing else up. */
bool pt_init_wanted(void);

/* First use in this process (or in a forked child): options, range, arenas, table. Returns 0, or -ENODEV when
 * pintensor is off or cannot work here; then the caller does what stock does. Cheap when done already. */
int pt_init(void);

#endif
