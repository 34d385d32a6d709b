/* The end of the process: the report, once, whichever way the program goes; then the clean-up. */
#ifndef PT_SHUTDOWN_H
#define PT_SHUTDOWN_H

/* The process is about to end with `status` and runs no destructors (_exit, abort): reports at once. Returns the status
 * to end with, which PINTENSOR_EXITCODE may have changed. */
int pt_shutdown_now(int status);

/* Told by libc's exit(): what main returned or exit() was given. */
void pt_shutdown_status(int status, void *unused);

#endif
