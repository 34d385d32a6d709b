#include "life/held_by.h"

#include "base/options.h"
#include "memory/owner.h"
#include "memory/pages.h"
#include "trace/python.h"
#include "trace/referrers.h"

#define SITES_MOST  8
#define BLOCKS_MOST ((size_t)1 << 16)

/* Growing ones come first, then those that hold most. */
static uint64_t weight(const struct pt_site *s)
{
    uint64_t bytes = PT_GET(s->held) > 0 ? PT_GET(s->held_bytes) : 0;
    return bytes > 0 && PT_GET(s->growing) ? bytes | (uint64_t)1 << 63 : bytes;
}

static unsigned choose(const struct pt_report *r, uint32_t *row)
{
    unsigned n = 0;
    for (uint32_t i = 0; i < r->sites; i++) {
        uint64_t w = weight(&r->site[i]);
        unsigned at = n;
        while (at > 0 && weight(&r->site[row[at - 1]]) < w) {
            at--;
        }
        if (w == 0 || at == SITES_MOST) {
            continue;
        }
        n += n < SITES_MOST;
        for (unsigned k = n - 1; k > at; k--) {
            row[k] = row[k - 1];
        }
        row[at] = i;
    }
    return n;
}

static bool among(const uint32_t *row, unsigned rows, uint32_t wanted)
{
    bool is = false;
    for (unsigned i = 0; i < rows; i++) {
        is = is || row[i] == wanted;
    }
    return is;
}

/* Others may go on: a block that ends meanwhile is one of which no tensor is found, or another's. */
static size_t collect(const uint32_t *row, unsigned rows, struct pt_referrers_block *block)
{
    uint32_t records = atomic_load(&pt_table()->records);
    size_t n = 0;
    for (uint32_t number = 1; number < records && n < BLOCKS_MOST; number++) {
        const struct pt_record *r = pt_table_record(number);
        uint32_t site = pt_site_row(PT_GET(r->site));
        if (PT_GET(r->state) == PT_LIVE && (PT_GET(r->flags) & PT_DROPPED) == 0 && among(row, rows, site)) {
            uint64_t base = PT_GET(r->base);
            block[n++] = (struct pt_referrers_block){base, base + PT_GET(r->asked), site};
        }
    }
    return n;
}

uint32_t pt_held_by_find(const struct pt_report *r, struct pt_held_by *out)
{
    uint32_t row[SITES_MOST], found = 0;
    unsigned seconds = (unsigned)pt_option(PT_OPTION_REFERRERS), rows = seconds > 0 ? choose(r, row) : 0;
    size_t bytes = BLOCKS_MOST * sizeof(struct pt_referrers_block);
    struct pt_referrers_block *block = rows > 0 ? pt_pages_scratch(bytes) : NULL;
    if (block != NULL) {
        found = pt_referrers_find(block, collect(row, rows, block), seconds, out, PT_HELD_BY_MOST);
        pt_pages_scratch_end(block, bytes);
    }
    return found;
}

void pt_held_by_at_exit(void)
{
    struct pt_report r;
    if (pt_owner_owns_strictly() && pt_python_quiet()) {
        pt_report_of_table(&r);
        uint32_t found = pt_held_by_find(&r, pt_table()->held_by);
        atomic_store(&pt_table()->held_bys, found);
    }
}
