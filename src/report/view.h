/* What a report is made from. */
#ifndef PT_VIEW_H
#define PT_VIEW_H

#include "ledger/table.h"

/* What a report tells of: the table, or a copy of it that nobody else changes (life/held.h). */
struct pt_report {
    const struct pt_site *site;
    const struct pt_counters *counters;
    const struct pt_misuse *misuse;
    const struct pt_held_by *held_by;
    uint32_t sites, misuses, held_bys;
    uint64_t now_ns;
    bool ended;  /* exit has begun */
    bool killed; /* the process is gone, and exit never began */
    bool peak;   /* who held memory at the peak is told too */
};

/* The table itself. */
void pt_report_of_table(struct pt_report *r);

#endif
