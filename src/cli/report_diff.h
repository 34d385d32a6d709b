/* `pintensor report --diff A B`: two runs, site by site. */
#ifndef PT_CLI_REPORT_DIFF_H
#define PT_CLI_REPORT_DIFF_H

#include "cli/report_model.h"

/* Both unsorted. */
struct pt_report_side {
    const char *name;
    struct pt_model model;
};

/* Writes to stdout what differs. Returns the words, as PT_FAIL_* bits, of which there is more in `b`. */
unsigned pt_report_diff(const struct pt_report_side *a, const struct pt_report_side *b);

#endif
