/* The report's sections: what is growing, reclaimed, held or was misused, each entry with its lines. */
#ifndef PT_SECTIONS_H
#define PT_SECTIONS_H

#include "report/entries.h"

/* `told`: the entry whose remedy has been said already. */
void pt_sections_growing(const struct pt_entries *e, struct pt_text *out, uint32_t told);
void pt_sections_reclaimed(const struct pt_entries *e, struct pt_text *out, uint32_t told);
void pt_sections_held(const struct pt_entries *e, struct pt_text *out);
void pt_sections_peak(const struct pt_entries *e, struct pt_text *out);
void pt_sections_misused(const struct pt_report *r, struct pt_text *out);

#endif
