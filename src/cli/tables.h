/* Tables that processes keep in files (PINTENSOR_DIR), one after the other, made ready to tell of. */
#ifndef PT_CLI_TABLES_H
#define PT_CLI_TABLES_H

#include "report/report.h"

enum pt_tables_state { PT_TABLES_ENDED, PT_TABLES_RUNS, PT_TABLES_KILLED, PT_TABLES_UNKNOWN };

/* The table that is loaded just now: pt_table(). It is a copy, which may be changed. */
struct pt_tables_one {
    const char *path;
    enum pt_tables_state state;
    struct pt_report report;
};

/* Each path is a table, a directory whose *.table are meant, or, if there is no such file, the number of a running
 * process. Returns 0, or 1 if something could not be read, which
 * is said on stderr. */
int pt_tables_each(int count, char **paths, void (*visit)(void *context, struct pt_tables_one *one), void *context);

#endif
