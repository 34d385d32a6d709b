/* What makes bash and zsh complete the command: its verbs, the options of `run` and their values, from the tables. */
#ifndef PT_CLI_COMPLETION_H
#define PT_CLI_COMPLETION_H

#include <stdbool.h>

/* To stdout. Returns an exit status. */
int pt_completion(bool zsh);

#endif
