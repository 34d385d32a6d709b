/* `pintensor report --html`: one page (report_page.html) with the JSON in it. It loads nothing from elsewhere. */
#ifndef PT_CLI_REPORT_HTML_H
#define PT_CLI_REPORT_HTML_H

#include "cli/report_suppress.h"

/* Returns 0, or -ENOMEM. */
int pt_report_html(FILE *out, const struct pt_model *m, const struct pt_suppressions *suppressions);

#endif
