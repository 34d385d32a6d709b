#include "report/held_by.h"

void pt_report_held_by(const struct pt_report *r, uint32_t row, struct pt_text *out)
{
    for (uint32_t i = 0; i < r->held_bys; i++) {
        const struct pt_held_by *h = &r->held_by[i];
        if (h->row == row) {
            pt_text_add(out, "                 held by %s (%B in %u block%s)\n", h->words, h->bytes, h->blocks,
                        h->blocks == 1 ? "" : "s");
        }
    }
}
