/* Who still holds what is growing or held: asked of Python when it begins to exit, or when somebody asks who has the
 * GIL. */
#ifndef PT_HELD_BY_H
#define PT_HELD_BY_H

#include "report/report.h"

/* For the growing sites of a report and the largest held ones. Fills in `out`, which is for PT_HELD_BY_MOST; returns
 * how many. Runs Python code: with the GIL, and no lock of ours. */
uint32_t pt_held_by_find(const struct pt_report *r, struct pt_held_by *out);

/* Python begins to exit, what is held has been counted: the same, into the table. */
void pt_held_by_at_exit(void);

#endif
