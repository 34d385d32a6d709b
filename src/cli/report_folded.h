/* `pintensor report --folded`: a line a stack, "outermost;...;innermost bytes", as speedscope and flamegraph.pl read
 * it. */
#ifndef PT_CLI_REPORT_FOLDED_H
#define PT_CLI_REPORT_FOLDED_H

#include "cli/report_model.h"

#include <stdio.h>

/* Bytes that were alive at the peak; or, if `held`, at the end, with what was reclaimed before. With more than one
 * process each has a frame of its own, outside of all others. */
void pt_report_folded(FILE *out, const struct pt_model *m, bool held);

#endif
