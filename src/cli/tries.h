/* Trying in a child what might end or hang a process. */
#ifndef PT_CLI_TRIES_H
#define PT_CLI_TRIES_H

#include <stddef.h>

/* Runs `body` in a forked child, which may write to `out`; what it wrote is in `said`, a string. Returns what `body`
 * returned (0 to 255), or -EINTR: a signal ended it; -ETIMEDOUT: it was killed after `seconds`; or another -errno. */
int pt_try_call(int (*body)(int out), unsigned seconds, char *said, size_t cap);

/* The same of a program that is looked for on PATH, with its stdout for `said`. 127: there is no such program. */
int pt_try_program(char *const *argv, unsigned seconds, char *said, size_t cap);

#endif
