#include "report/view.h"

void pt_report_of_table(struct pt_report *r)
{
    struct pt_table *t = pt_table();
    *r = (struct pt_report){.site = pt_table_site(0),
                            .sites = atomic_load(&t->sites),
                            .counters = &t->counters,
                            .misuse = t->misuse,
                            .misuses = atomic_load(&t->misuses),
                            .held_by = t->held_by,
                            .held_bys = atomic_load(&t->held_bys),
                            .now_ns = t->now_ns,
                            .ended = t->exit_ns != 0};
}
