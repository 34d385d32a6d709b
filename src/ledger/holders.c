#include "ledger/holders.h"

#include "ledger/place.h"
#include "ledger/table.h"

#include <string.h>

enum { TOLD = 3 };

struct holder {
    uint32_t site;
    uint64_t locked, live;
};

/* Into its place among the first, the largest first. */
static void enter(struct holder *first, struct holder h)
{
    for (unsigned i = 0; i < TOLD; i++) {
        if (h.locked > first[i].locked) {
            struct holder smaller = first[i];
            first[i] = h;
            h = smaller;
        }
    }
}

/* Where the line was called: many allocate by a function of their own. */
static void add_caller(uint32_t site, struct pt_text *out)
{
    const struct pt_site *s = pt_table_site(site);
    int caller = pt_place_top(s) + 1;
    if (pt_table_site_is(site) && caller > 0 && (uint32_t)caller < s->frames_count && (s->library >> caller & 1) == 0) {
        pt_text_add(out, ", called at ");
        pt_place_frame(&s->frames[caller], out);
    }
}

void pt_holders_add(struct pt_text *out)
{
    struct holder first[TOLD] = {{0}};
    const struct pt_table *t = pt_table();
    uint32_t sites = t != NULL ? atomic_load(&t->sites) : 0;
    for (uint32_t row = 0; row < sites; row++) {
        const struct pt_site *s = pt_table_site(row);
        uint32_t generation = atomic_load_explicit(&s->generation, memory_order_relaxed);
        enter(first, (struct holder){.site = generation << PT_SITE_BITS | row,
                                     .locked = PT_GET(s->live_locked),
                                     .live = PT_GET(s->live)});
    }
    for (unsigned i = 0; i < TOLD && first[i].locked > 0; i++) {
        pt_text_add(out, "%s%B in %N block%s from ", i == 0 ? "Most of it: " : "; ", (size_t)first[i].locked,
                    first[i].live, first[i].live == 1 ? "" : "s");
        pt_place_of(first[i].site, out);
        add_caller(first[i].site, out);
    }
}
