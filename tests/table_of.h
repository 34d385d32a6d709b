/* Tables that a test writes word by word, as files that the command reads. */
#ifndef TESTS_TABLE_OF_H
#define TESTS_TABLE_OF_H

#include "base/text.h"
#include "elsewhere.h"
#include "ledger/table.h"

enum { TABLE_SITES = 400, TABLE_STRINGS = 32768, TABLE_RECORDS = 4 };

/* All of a table. Row 0 of the sites is unknown, string 0 has no letters. */
static struct whole {
    struct pt_table table;
    struct pt_foreign foreign[PT_FOREIGN_MOST];
    struct pt_site site[TABLE_SITES] __attribute__((aligned(128)));
    struct pt_growth growth[TABLE_SITES];
    struct pt_natives natives[TABLE_SITES];
    char strings[TABLE_STRINGS];
    char free_strings[1024]; /* what the command adds goes here */
    struct pt_record record[TABLE_RECORDS];
} whole;

static inline uint32_t table_string(const char *s)
{
    uint64_t at = whole.table.strings;
    REQUIRE(at + strlen(s) + 1 <= TABLE_STRINGS);
    strcpy(whole.strings + at, s);
    whole.table.strings = at + strlen(s) + 1;
    return (uint32_t)at;
}

/* A table of a process that has ended, with nothing in it. */
static inline void table_begin(int pid, int rank)
{
    memset(&whole, 0, sizeof whole);
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
                                    .sites_most = TABLE_SITES,
                                    .records_most = TABLE_RECORDS,
                                    .strings_most = TABLE_STRINGS,
                                    .sites = 1,
                                    .records = 1,
                                    .strings = 1,
                                    .pid = pid,
                                    .rank = rank,
                                    .born_ns = 1000000000,
                                    .exit_ns = 3000000000,
                                    .now_ns = 3000000000,
                                    .history = {.width_ns = PT_MOMENT_NS, .used = 1},
                                    .foreign = {.rows = PT_FOREIGN_OTHER + 1}};
    whole.table.host = table_string("elsewhere");
    whole.table.program = table_string("train.py");
}

/* A site of its own, by a function of a file; the caller fills in the rest. */
static inline struct pt_site *table_site(const char *file, unsigned line, const char *function)
{
    struct pt_site *s = &whole.site[whole.table.sites++];
    REQUIRE(whole.table.sites <= TABLE_SITES);
    *s = (struct pt_site){.frames_count = 1, .dtype = -1, .allocated = 1, .smallest = 64, .largest = 64};
    s->frames[0] = (struct pt_frame){table_string(file), table_string(function), line};
    return s;
}

static inline uint32_t table_row(const struct pt_site *s)
{
    return (uint32_t)(s - whole.site);
}

static inline void table_write(const char *path)
{
    int fd = openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    REQUIRE(fd >= 0 && write(fd, &whole, sizeof whole) == (ssize_t)sizeof whole);
    close(fd);
}

#endif
