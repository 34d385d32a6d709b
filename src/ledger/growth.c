#include "ledger/growth.h"

#define LEAST_RUN_NS 1000000000u /* in less, all of it is warm-up */

void pt_growth_note(struct pt_site *s, uint64_t asked_ns, uint64_t now_ns, uint64_t order)
{
    pt_growth_note_many(s, asked_ns, now_ns, order, order, 1, s->live_bytes);
}

void pt_growth_note_many(struct pt_site *s, uint64_t asked_ns, uint64_t now_ns, uint64_t order, uint64_t last,
                         uint64_t visits, uint64_t high)
{
    bool new_visit = s->visits == 0 || order != s->order + 1 || asked_ns > s->last_ns + PT_GROWTH_PAUSE;
    PT_PUT(s->visits, s->visits + (visits - !new_visit));
    PT_PUT(s->order, last);
    PT_PUT(s->last_ns, now_ns);
    if (high <= s->high_bytes) {
        return;
    }
    PT_PUT(s->high_bytes, high);
    if (s->high_visits == 0) {
        PT_PUT(s->high_first_ns, now_ns);
    }
    if (s->high_visit != s->visits) {
        PT_PUT(s->high_visit, s->visits);
        PT_PUT(s->high_visits, s->high_visits + 1);
    }
    if (s->high_visits == 1) {
        PT_PUT(s->high_first_bytes, s->high_bytes);
    }
    PT_PUT(s->high_last_ns, now_ns);
}

bool pt_growth_judge(const struct pt_site *s, uint64_t start_ns, uint64_t now_ns)
{
    if (s->high_visits < PT_GROWTH_VISITS || s->live_bytes < s->high_bytes / 2) {
        return false;
    }
    uint64_t run = now_ns - start_ns;
    if (run < LEAST_RUN_NS) {
        return false;
    }
    uint64_t span = s->high_last_ns - s->high_first_ns;
    uint64_t pause = span / (s->high_visits - 1);
    uint64_t quiet = now_ns - s->high_last_ns;
    uint64_t allowed = 3 * pause > run / 10 ? 3 * pause : run / 10;
    return span >= run / 4 && quiet <= allowed;
}

void pt_growth_judge_all(struct pt_site *all, uint32_t sites)
{
    uint64_t now = pt_table_now(), start = pt_table()->born_ns;
    for (uint32_t number = 1; number < sites; number++) {
        struct pt_site s; /* other threads may go on */
        pt_table_copy_site(&all[number], &s);
        PT_PUT(all[number].growing, pt_growth_judge(&s, start, now));
    }
}

uint64_t pt_growth_step(const struct pt_site *s)
{
    return s->high_visits > 1 ? (s->high_bytes - s->high_first_bytes) / (s->high_visits - 1) : s->high_bytes;
}
