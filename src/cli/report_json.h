/* `pintensor report --json`: docs/report.md says what its names mean. What is there keeps its meaning while
 * PT_REPORT_JSON_VERSION stays; names may be added. */
#ifndef PT_CLI_REPORT_JSON_H
#define PT_CLI_REPORT_JSON_H

#include "cli/report_suppress.h"

#define PT_REPORT_JSON_VERSION 1

/* No site is begun behind `most` bytes, where `out` can tell: "left_out" counts those; and no process has a history behind
 * a quarter of them. 0: all are written. */
void pt_report_json(FILE *out, const struct pt_model *m, const struct pt_suppressions *suppressions, long most);

#endif
