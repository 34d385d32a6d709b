/* `pintensor report`: the tables that processes keep in files (PINTENSOR_DIR), in words. */
#ifndef PT_CLI_TABLES_H
#define PT_CLI_TABLES_H

/* Each path is a table, or a directory whose *.table are meant. Returns the command's exit status: 0, or 1 if something
 * could not be read, which is said on stderr. */
int pt_tables_report(int count, char **paths);

#endif
