/* A table that another process left, damaged in any way: refused, or reported without a step aside. Each six bytes of
 * input are a place in a table that is whole, and what is written there. */
enum { TABLE_SITES = 8, TABLE_STRINGS = 1024, TABLE_FREE_STRINGS = 0, TABLE_RECORDS = 16 };

#include "../whole_table.h"
#include "ledger/table_load.h"
#include "report/report.h"

#include <stdlib.h>
#include <string.h>

static void make_whole(void)
{
    whole.table = whole_layout();
    whole.table.sites = TABLE_SITES;
    whole.table.records = TABLE_RECORDS;
    whole.table.strings = TABLE_STRINGS;
    whole.table.misuses = 2;
    whole.table.foreign.rows = 5;
    whole.table.foreign.peak_bytes = 5000;
    whole.table.foreign.peaks = 1;
    whole.table.foreign.missed = 3;
    for (unsigned i = PT_FOREIGN_OTHER; i < 5; i++) {
        whole.foreign[i] = (struct pt_foreign){.site = i, .pinned = 9, .live = i, .live_bytes = 1 << i};
    }
    memset(whole.strings + 1, 'a', TABLE_STRINGS - 2);
    for (unsigned i = 0; i < TABLE_RECORDS; i++) {
        whole.record[i] = (struct pt_record){.state = PT_LIVE, .site = i % TABLE_SITES, .asked = 1 << i, .locked = 2 << i};
    }
    for (unsigned i = 0; i < TABLE_SITES; i++) {
        whole.site[i] = (struct pt_site){.frames_count = 2, .allocated = 9, .live = 2, .symbol = 5, .object = 900};
        whole.growth[i] = (struct pt_growth){.windows = 8, .width = 4, .visits = 32};
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t len);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t len)
{
    static char text[1 << 16];
    if (whole.table.magic == 0) {
        make_whole();
    }
    struct whole *copy = aligned_alloc(128, sizeof whole); /* of the heap, whose ends are watched */
    memcpy(copy, &whole, sizeof whole);
    for (; len >= 6; data += 6, len -= 6) {
        size_t at = (data[0] | (size_t)data[1] << 8) % (sizeof whole - 4);
        memcpy((char *)copy + at, data + 2, 4);
    }
    if (pt_table_load_bytes(copy, sizeof *copy) == 0) {
        struct pt_report r;
        struct pt_text out;
        pt_counters_count_held(pt_table_site(0), pt_table()->sites);
        pt_growth_judge_all(pt_table_site(0), pt_table()->sites, 1000000000);
        pt_report_of_table(&r);
        r.peak = true;
        pt_text_init(&out, text, sizeof text, -1);
        (void)pt_report_write(&r, &out);
    }
    free(copy);
    return 0;
}
