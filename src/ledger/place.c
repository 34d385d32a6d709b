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

int pt_place_caller(const struct pt_site *s, int frame)
{
    for (int i = frame + 1; i > 0 && i < (int)s->frames_count; i++) {
        if ((s->library >> i & 1) == 0 && s->frames[i].line > 0) {
            return i;
        }
    }
    return -1;
}

void pt_place_frame(const struct pt_frame *f, struct pt_text *out)
{
    pt_text_add(out, f->line > 0 ? "%S:%u" : "%S", pt_table_string(f->file), f->line);
    pt_text_add(out, "  %S", pt_table_string(f->function));
}

bool pt_place_is_known(const struct pt_site *s)
{
    return PT_GET(s->frames_count) > 0 || PT_GET(s->object) != 0;
}

void pt_place_of_site(const struct pt_site *s, struct pt_text *out)
{
    int top = pt_place_top(s);
    if (top >= 0) {
        pt_place_frame(&s->frames[top], out);
    } else if (s->object != 0) {
        pt_text_add(out, "%S %S", pt_table_string(s->object), pt_table_string(s->symbol));
    } else {
        pt_text_add(out, "an unknown place");
    }
}

void pt_place_of(uint32_t number, struct pt_text *out)
{
    static const struct pt_site unknown;
    bool is = number != 0 && pt_table_site_is(number);
    pt_place_of_site(is ? pt_table_site(number) : &unknown, out);
}
