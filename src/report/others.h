/* What others pinned, beside ours: in words, from the table alone. */
#ifndef PT_REPORT_OTHERS_H
#define PT_REPORT_OTHERS_H

#include "base/text.h"

/* The section of the report; nothing where others never had much. */
void pt_report_others(struct pt_text *out);

/* The call's name, as programs know it. */
const char *pt_report_others_call(unsigned call);

#endif
