/* Numbers of /proc/self/status, by a descriptor that has been open since the library was loaded: asking must not kill a
 * process that has sandboxed itself. A leaf. */
#ifndef PT_OWN_STATUS_H
#define PT_OWN_STATUS_H

#include <stdbool.h>
#include <stdint.h>

/* The number behind `key`. False: there is none, or the program has closed the descriptor. Some 10 us. */
bool pt_own_status_number(const char *key, uint64_t *out);

/* Whether the file could be opened at all. */
bool pt_own_status_had(void);

/* For a forked child, to which the descriptor tells of its parent. True: the file was opened anew. */
bool pt_own_status_init(void);

/* A forked child that has not called that so far. */
bool pt_own_status_inherited(void);

/* What was inherited is closed, and nothing opened in its place. */
void pt_own_status_forget(void);

#endif
