/* Who still holds the blocks of a site: a line for each way from a name of the program's to them. */
#ifndef PT_REPORT_HELD_BY_H
#define PT_REPORT_HELD_BY_H

#include "base/text.h"
#include "ledger/table.h"

void pt_report_held_by(const struct pt_held_by *all, uint32_t count, uint32_t row, struct pt_text *out);

#endif
