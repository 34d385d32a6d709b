/* The program that `run` is for, as a child that should behave to all around it as if it had been started by itself. */
#ifndef PT_CLI_PROGRAM_H
#define PT_CLI_PROGRAM_H

#include <sys/types.h>

struct pt_program {
    pid_t pid;
    int status; /* as waitpid() tells it */
};

/* Starts argv and waits for its end. Meanwhile signals that this process is sent go
 * to the program, stopping included. stdin, stdout and all files but stderr are the program's alone from here on. 0, or
 * -errno: it could not be tried. */
int pt_program_run(char **argv, struct pt_program *program);

/* Ends this process as the program ended: with its exit status, or by the same signal. */
_Noreturn void pt_program_end_as(const struct pt_program *program);

#endif
