#include "report/beside.h"

#include "ledger/foreign.h"
#include "ledger/place.h"

#define SHOWN_MOST 5
#define LINE       "             "

const char *pt_beside_call(unsigned call)
{
    return call == PT_FOREIGN_REGISTER ? "cudaHostRegister" : "cudaHostAlloc";
}

/* Lines that had something when most was pinned, those with most first. */
struct shown {
    unsigned count, rows;
    struct one {
        struct pt_foreign line;
        struct pt_foreign_share had;
        uint32_t row;
    } one[SHOWN_MOST];
};

static void collect(struct shown *s)
{
    const struct pt_table *t = pt_table();
    for (uint32_t row = PT_FOREIGN_OTHER; row < t->foreign.rows; row++) {
        struct one x = {.line = pt_foreign_row(t, row), .row = row};
        x.had = pt_foreign_at_peak(t, &x.line);
        if (x.had.blocks == 0) {
            continue;
        }
        s->rows++;
        unsigned at = s->count < SHOWN_MOST ? s->count++ : SHOWN_MOST;
        for (; at > 0 && s->one[at - 1].had.bytes < x.had.bytes; at--) {
            if (at < SHOWN_MOST) {
                s->one[at] = s->one[at - 1];
            }
        }
        if (at < SHOWN_MOST) {
            s->one[at] = x;
        }
    }
}

static void add_line(struct pt_text *out, const struct one *x)
{
    pt_text_add(out, LINE "%B in %N block%s by %s", x->had.bytes, x->had.blocks, x->had.blocks == 1 ? "" : "s",
                pt_beside_call(x->line.call));
    if (x->line.live != x->had.blocks) {
        pt_text_add(out, ", %B in %N now", x->line.live_bytes, x->line.live);
    }
    pt_text_add(out, "\n" LINE "    ");
    if (x->row == PT_FOREIGN_OTHER) {
        pt_text_add(out, "(from more places than are told apart)");
    } else {
        pt_place_of(x->line.site, out);
    }
    pt_text_add(out, "\n");
}

void pt_beside_write(struct pt_text *out)
{
    const struct pt_foreign_sum *f = &pt_table()->foreign;
    uint64_t others = PT_GET(f->peak_bytes), ours = PT_GET(f->peak_ours);
    struct shown s = {0};
    if (others == 0) {
        return;
    }
    pt_text_add(out, "  OTHERS     of %B pinned here, %B are pintensor's: when most was pinned, others had %B\n",
                others + ours, ours, others);
    collect(&s);
    for (unsigned i = 0; i < s.count; i++) {
        add_line(out, &s.one[i]);
    }
    if (s.rows > s.count) {
        pt_text_add(out, LINE "and %u more line%s\n", s.rows - s.count, s.rows - s.count == 1 ? "" : "s");
    }
    if (PT_GET(f->missed) > 0) {
        pt_text_add(out, LINE "and %N call%s that found no room here: more than 49,152 are not counted at once\n",
                    PT_GET(f->missed), PT_GET(f->missed) == 1 ? "" : "s");
    }
}
