/* The report's first line: how much was lost in which way, and whose report it is. */
#ifndef PT_HEADLINE_H
#define PT_HEADLINE_H

#include "report/entries.h"

void pt_headline_write(const struct pt_entries *e, struct pt_text *out);

#endif
