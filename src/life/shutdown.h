/* The end of the process: the report, once, whichever way the program goes; then the clean-up. */
#ifndef PT_SHUTDOWN_H
#define PT_SHUTDOWN_H

/* The process is about to end with `status` and runs no destructors (_exit, abort): reports at once. Returns the status
 * to end with, which PINTENSOR_EXITCODE may have changed. */
int pt_shutdown_now(int status);

/* The process is about to end by a signal: reports at once, or lets another thread finish that is at it. Usable in the
 * signal's handler. */
void pt_shutdown_by_signal(void);

/* Told by libc's exit(): what main returned or exit() was given. */
void pt_shutdown_status(int status, void *unused);

#endif
