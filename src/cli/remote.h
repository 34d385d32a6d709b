/* Ranks on other machines. Some launchers hand only some variables of their environment on; where the program is such a
 * launcher itself, it is told of ours by its own means. A launcher that a script starts is not known here: what the
 * script's directory and its own files say must not be pushed aside. */
#ifndef PT_CLI_REMOTE_H
#define PT_CLI_REMOTE_H

/* `preload` is this library's path; `directory` is private to this job, or NULL: then nothing is done for DeepSpeed.
 * Sets variables, and returns the argv to start: `argv`, or a longer one. */
char **pt_remote_carry(char **argv, const char *preload, const char *directory);

#endif
