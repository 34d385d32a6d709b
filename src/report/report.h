/* The report: what was lost and where it came from, read from the table alone. Allocates nothing and waits for
 * no lock for ever, so that it also comes out of _exit() and abort(). */
#ifndef PT_REPORT_H
#define PT_REPORT_H

#include "base/text.h"
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

/* Writes the report. Returns the sections that are not empty, as PT_FAIL_* bits. */
unsigned pt_report_write(const struct pt_report *r, struct pt_text *out);

/* Opens the file that PINTENSOR_REPORT names, if it is one: who sandboxes itself may open none at its end. */
void pt_report_keep(void);

/* What the report calls lost: growing or reclaimed. */
struct pt_report_lost {
    unsigned sites;
    uint64_t bytes;
};
struct pt_report_lost pt_report_lost(const struct pt_report *r);

/* Where the report goes by PINTENSOR_REPORT: a file descriptor, stderr if the file cannot be opened (and says
 * so), -1 if stderr is no more. For one report; the last one need not be closed. */
int pt_report_open(void);
void pt_report_close(int fd);

/* The file did not take it (errno `error`): says so, and returns where it goes instead, or -1: it was not for a file.
 */
int pt_report_open_instead(int error);

#endif
