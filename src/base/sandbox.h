/* Whether the program has forbidden itself system calls since it began, by a seccomp filter: then it may be killed for
 * what it does not do itself. Asked before a file is opened or a thread started; the answer comes by a descriptor that
 * has been open from the start, since asking must not kill either. Filters that were there before the program are those
 * of its container. */
#ifndef PT_SANDBOX_H
#define PT_SANDBOX_H

#include <stdbool.h>

/* False if that cannot be told, as where the program has closed the descriptor. Some 10 us until it is true, and
 * nothing from then on. */
bool pt_sandbox_entered(void);

/* Whether files may be opened that are not badly needed: nor if that can no longer be told. */
bool pt_sandbox_may_open(void);

/* When the library is loaded, and in a forked child, for which the descriptor tells of its parent. */
void pt_sandbox_init(void);

#endif
