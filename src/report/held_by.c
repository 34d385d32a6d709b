#include "report/held_by.h"

void pt_report_held_by(const struct pt_held_by *all, uint32_t count, uint32_t row, struct pt_text *out)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct pt_held_by *h = &all[i];
        if (h->row == row) {
            pt_text_add(out, "                 held by %s (%B in %u block%s)\n", h->words, h->bytes, h->blocks,
                        h->blocks == 1 ? "" : "s");
        }
    }
}
