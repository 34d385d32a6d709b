/* What the processes of a job told the command (base/job_record.h), in one text after the run. */
#ifndef PT_CLI_SUMMARY_H
#define PT_CLI_SUMMARY_H

#include "cli/program.h"

#include <stdbool.h>

struct pt_summary {
    char directory[512]; /* empty: none could be made, so there will be no summary */
    bool whole;          /* the job's ranks are all under this command, which is not in a rank itself */
};

/* Makes the directory and puts its name into the environment. */
void pt_summary_begin(struct pt_summary *s);

/* Says on stderr what is to be said; says that all is well only if `verbose`. `status` is the program's, as waitpid()
 * has it, argv what was typed after the options of `run`. Removes the directory. */
void pt_summary_end(struct pt_summary *s, bool verbose, const struct pt_program *program, char **argv);

#endif
