#include "ledger/place.h"

int pt_place_top(const struct pt_site *s)
{
    for (unsigned i = 0; i < s->frames_count; i++) {
        if ((s->library >> i & 1) == 0) {
            return (int)i;
        }
    }
    return s->frames_count > 0 ? 0 : -1;
}

void pt_place_frame(const struct pt_frame *f, struct pt_text *out)
{
    pt_text_add(out, f->line > 0 ? "%s:%u" : "%s", pt_table_string(f->file), f->line);
    pt_text_add(out, "  %s", pt_table_string(f->function));
}

void pt_place_of(uint32_t number, struct pt_text *out)
{
    const struct pt_site *s = pt_table_site(number);
    int top = pt_place_top(s);
    if (number == 0 || !pt_table_site_is(number)) {
        pt_text_add(out, "an unknown place");
    } else if (top < 0) {
        pt_text_add(out, "%s %s", pt_table_string(s->object), pt_table_string(s->symbol));
    } else {
        const struct pt_frame *f = &s->frames[top];
        pt_place_frame(f, out);
    }
}
