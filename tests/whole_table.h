/* A whole table, as a process would leave it: the sizes are of the file that includes this, and have to be known
 * before. */
#ifndef TESTS_WHOLE_TABLE_H
#define TESTS_WHOLE_TABLE_H

#include "ledger/counters.h"
#include "ledger/growth.h"
#include "ledger/table.h"

#include <stddef.h>

/* Row 0 of the sites is unknown, string 0 has no letters. */
static struct whole {
    struct pt_table table;
    struct pt_foreign foreign[PT_FOREIGN_MOST];
    struct pt_site site[TABLE_SITES] __attribute__((aligned(128)));
    struct pt_growth growth[TABLE_SITES];
    struct pt_natives natives[TABLE_SITES];
    char strings[TABLE_STRINGS];
    char free_strings[TABLE_FREE_STRINGS]; /* what the command adds goes here */
    struct pt_record record[TABLE_RECORDS];
} whole;

/* What says where all of it lies and how much it may hold; nothing else is set. */
static inline struct pt_table whole_layout(void)
{
    return (struct pt_table){.magic = PT_TABLE_MAGIC,
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
                             .sites_most = TABLE_SITES,
                             .records_most = TABLE_RECORDS,
                             .strings_most = TABLE_STRINGS};
}

#endif
