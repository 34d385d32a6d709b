/* A table that another process left, damaged in any way: refused, or reported without a step aside. Each six bytes of
 * input are a place in a table that is whole, and what is written there. */
#include "ledger/counters.h"
#include "ledger/growth.h"
#include "ledger/table_load.h"
#include "report/report.h"

#include <stdlib.h>
#include <string.h>

enum { SITES = 8, RECORDS = 16, STRINGS = 1024 };

static struct whole {
    struct pt_table table;
    struct pt_foreign foreign[PT_FOREIGN_MOST];
    struct pt_site site[SITES] __attribute__((aligned(128)));
    struct pt_growth growth[SITES];
    struct pt_natives natives[SITES];
    char strings[STRINGS];
    struct pt_record record[RECORDS];
} whole;

static void make_whole(void)
{
    whole.table = (struct pt_table){.magic = PT_TABLE_MAGIC,
                                    .version = PT_TABLE_VERSION,
                                    .header_size = sizeof whole.table,
                                    .record_size = sizeof whole.record[0],
                                    .site_size = sizeof whole.site[0],
                                    .foreign_at = offsetof(struct whole, foreign),
                                    .sites_at = offsetof(struct whole, site),
                                    .growth_at = offsetof(struct whole, growth),
                                    .natives_at = offsetof(struct whole, natives),
                                    .strings_at = offsetof(struct whole, strings),
                                    .records_at = offsetof(struct whole, record),
                                    .sites_most = SITES,
                                    .records_most = RECORDS,
                                    .strings_most = STRINGS,
                                    .sites = SITES,
                                    .records = RECORDS,
                                    .strings = STRINGS,
                                    .misuses = 2,
                                    .foreign = {.rows = 5, .peak_bytes = 5000, .peaks = 1, .missed = 3}};
    for (unsigned i = PT_FOREIGN_OTHER; i < 5; i++) {
        whole.foreign[i] = (struct pt_foreign){.site = i, .pinned = 9, .live = i, .live_bytes = 1 << i};
    }
    memset(whole.strings + 1, 'a', STRINGS - 2);
    for (unsigned i = 0; i < RECORDS; i++) {
        whole.record[i] = (struct pt_record){.state = PT_LIVE, .site = i % SITES, .asked = 1 << i, .locked = 2 << i};
    }
    for (unsigned i = 0; i < SITES; i++) {
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
