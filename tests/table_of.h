/* Tables that a test writes word by word, as files that the command reads. */
#ifndef TESTS_TABLE_OF_H
#define TESTS_TABLE_OF_H

enum { TABLE_SITES = 400, TABLE_STRINGS = 32768, TABLE_FREE_STRINGS = 1024, TABLE_RECORDS = 4 };

#include "base/text.h"
#include "elsewhere.h"
#include "whole_table.h"

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
    whole.table = whole_layout();
    whole.table.sites = whole.table.records = 1; /* the first of each is none */
    whole.table.strings = 1;
    whole.table.pid = pid;
    whole.table.rank = rank;
    whole.table.born_ns = 1000000000;
    whole.table.exit_ns = whole.table.now_ns = 3000000000;
    whole.table.history.width_ns = PT_MOMENT_NS;
    whole.table.history.used = 1;
    whole.table.foreign.rows = PT_FOREIGN_OTHER + 1;
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
