/* Running the user's C++ compiler from inside his program. */
#ifndef PRELOAD_COMPILE_H
#define PRELOAD_COMPILE_H

enum compile_end {
    COMPILE_DONE, /* or nobody knows how it ended, as where the program ignores SIGCHLD: see what there is */
    COMPILE_FAILED,
    COMPILE_TOO_LONG,
    COMPILE_NO_COMPILER,
    COMPILE_NOT_STARTED /* it is there, but no process could be had for it */
};

/* Runs $CXX, else c++, g++ or clang++, with these arguments (NULL ends them). What it says goes to the file `log`.
 * `lock` is a file descriptor that it keeps open while it runs, or -1. */
enum compile_end compile_run(const char *const *arguments, const char *log, int lock);

/* The same for any program, which is argv[0]. */
enum compile_end compile_run_program(char *const *argv, const char *log, int lock);

#endif
