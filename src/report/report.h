/* The report: what was lost and where it came from, read from the table alone. Allocates nothing and waits for
 * no lock for ever, so that it also comes out of _exit() and abort(). */
#ifndef PT_REPORT_H
#define PT_REPORT_H

#include "base/text.h"
#include "report/view.h"

/* Writes the report. Returns the sections that are not empty, as PT_FAIL_* bits. */
unsigned pt_report_write(const struct pt_report *r, struct pt_text *out);

/* The same bits, without a word. */
unsigned pt_report_sections(const struct pt_report *r);

/* Writes the report to `out`, a whole block: after those of other processes that write to the same place, for which it
 * waits `turn_ns` at most, and then `most_ns` at most for a reader. Returns 0, or the errno of what failed. */
int pt_report_send(const struct pt_report *r, struct pt_text *out, int64_t turn_ns, int64_t most_ns);

/* What the report calls lost: growing or reclaimed. */
struct pt_report_lost {
    unsigned sites; /* entries of the report */
    uint64_t bytes;
    uint32_t worst; /* the row of the one that lost most */
};
struct pt_report_lost pt_report_lost(const struct pt_report *r);

#endif
