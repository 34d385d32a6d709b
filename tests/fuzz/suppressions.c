/* Any file of suppressions, and a name for them to be held against: the name is what comes before the first zero. */
#include "cli/report_suppress.h"
#include "ledger/table_load.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STRINGS = 256 };

static struct whole {
    struct pt_table table;
    struct pt_foreign foreign[PT_FOREIGN_MOST];
    struct pt_site site __attribute__((aligned(128)));
    struct pt_growth growth;
    struct pt_natives natives;
    char strings[STRINGS];
    struct pt_record record;
} whole;

static void make_whole(const char *name, size_t len)
{
    whole.table = (struct pt_table){.magic = PT_TABLE_MAGIC,
                                    .version = PT_TABLE_VERSION,
                                    .header_size = sizeof whole.table,
                                    .record_size = sizeof whole.record,
                                    .site_size = sizeof whole.site,
                                    .foreign_at = offsetof(struct whole, foreign),
                                    .sites_at = offsetof(struct whole, site),
                                    .growth_at = offsetof(struct whole, growth),
                                    .natives_at = offsetof(struct whole, natives),
                                    .strings_at = offsetof(struct whole, strings),
                                    .records_at = offsetof(struct whole, record),
                                    .sites_most = 1,
                                    .records_most = 1,
                                    .strings_most = STRINGS,
                                    .sites = 1,
                                    .records = 1,
                                    .strings = STRINGS,
                                    .foreign = {.rows = PT_FOREIGN_OTHER + 1}};
    memset(whole.strings, 0, sizeof whole.strings);
    memcpy(whole.strings + 1, name, len < STRINGS - 2 ? len : STRINGS - 2);
    whole.site = (struct pt_site){.frames_count = 1, .allocated = 2, .held = 1, .held_bytes = 64, .symbol = 1};
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t len);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t len)
{
    static int file = -1;
    char path[64];
    size_t name = strnlen((const char *)data, len);
    size_t begin = name < len ? name + 1 : name;
    struct pt_suppressions s = {0};
    struct pt_tables_one one = {.report = {.sites = 1}};
    file = file < 0 ? memfd_create("suppressions", 0) : file;
    if (file < 0 || ftruncate(file, 0) != 0 || pwrite(file, data + begin, len - begin, 0) != (ssize_t)(len - begin)) {
        abort();
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    make_whole((const char *)data, name);
    if (pt_table_load_bytes(&whole, sizeof whole) == 0 && pt_suppressions_read(&s, path)) {
        pt_suppressions_apply(&s, &one);
        if (s.count == 0 && whole.site.held == 0) {
            abort(); /* nothing named it */
        }
    }
    for (uint32_t i = 0; i < s.count; i++) {
        free(s.one[i].pattern);
        free(s.one[i].whole);
    }
    free(s.one);
    return 0;
}
