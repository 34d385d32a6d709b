/* Where reports go: stderr, or the file of PINTENSOR_REPORT, whose directories are made. */
#ifndef PT_DESTINATION_H
#define PT_DESTINATION_H

#include <stdbool.h>

/* Opens the file that PINTENSOR_REPORT names, if it is one: who sandboxes itself may open none at its end. */
void pt_destination_keep(void);

/* Whether reports are to go to a file: then it is written also when there is nothing to tell. */
bool pt_destination_is_file(void);

/* A file descriptor for one report; stderr if the file cannot be opened (and says so), -1 if stderr is no more. The
 * last one need not be closed. */
int pt_destination_open(void);
void pt_destination_close(int fd);

/* The file did not take it (errno `error`): says so, and returns where it goes instead, or -1: it was not for a file.
 */
int pt_destination_open_instead(int error);

#endif
