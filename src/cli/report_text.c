#include "cli/report_text.h"

#include <stdio.h>
#include <unistd.h>

static const char *const states[] = {
    [PT_TABLES_ENDED] = "ended",
    [PT_TABLES_RUNS] = "running",
    [PT_TABLES_KILLED] = "killed, or ended by a crash",
    [PT_TABLES_UNKNOWN] = "not ended when it last wrote, on another machine",
};

void pt_report_text(const struct pt_tables_one *one)
{
    static char buf[65536];
    const struct pt_table *t = pt_table();
    struct pt_text out;
    fflush(stdout);
    pt_text_init(&out, buf, sizeof buf, STDOUT_FILENO);
    pt_text_add(&out, "%s: %s on %s, pid %d, %s\n", one->path, pt_table_string(t->program), pt_table_string(t->host),
                t->pid, states[one->state]);
    (void)pt_report_write(&one->report, &out);
    if (t->cut_short != 0) {
        pt_text_add(&out, "  The file had no room for all of it: what came last is missing.\n");
    }
    pt_text_flush(&out);
}
