/* What others pinned, beside ours: in words, from the table alone. */
#ifndef PT_BESIDE_H
#define PT_BESIDE_H

#include "base/text.h"

/* The section of the report; nothing where others never had much. */
void pt_beside_write(struct pt_text *out);

/* The call's name, as programs know it. */
const char *pt_beside_call(unsigned call);

#endif
