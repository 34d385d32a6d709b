/* `pintensor top`: what the ranks of this machine hold, over and over. */
#ifndef PT_CLI_TOP_H
#define PT_CLI_TOP_H

/* argv[0] is the verb. Returns the exit status: 0; 1: there is nothing to watch; 2: it was called wrongly. */
int pt_top(int argc, char **argv);

#endif
