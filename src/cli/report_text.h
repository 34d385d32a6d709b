/* `pintensor report` in words: what the process itself would have said, and how it ended. */
#ifndef PT_CLI_REPORT_TEXT_H
#define PT_CLI_REPORT_TEXT_H

#include "cli/tables.h"

/* Writes it to stdout. */
void pt_report_text(const struct pt_tables_one *one);

#endif
