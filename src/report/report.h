/* The report: what was lost and where it came from, read from the table alone. Allocates nothing and waits for
 * no lock for ever, so that it also comes out of _exit() and abort(). */
#ifndef PT_REPORT_H
#define PT_REPORT_H

#include "base/text.h"

/* Writes the report of what was held when the table was last told so (life/held.h). Returns the sections that are not
 * empty, as PT_FAIL_* bits. */
unsigned pt_report_write(struct pt_text *out);

/* Where the report goes by PINTENSOR_REPORT: a file descriptor, stderr if the file cannot be opened (and says
 * so), -1 if stderr is no more. The process's end calls it, once. */
int pt_report_open(void);

#endif
