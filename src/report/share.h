/* What a section of the report says of a site: blocks and bytes of one kind. */
#ifndef PT_SHARE_H
#define PT_SHARE_H

#include "base/text.h"
#include "ledger/table.h"

struct pt_share {
    uint64_t blocks, bytes, locked;
};
typedef struct pt_share pt_share_of(const struct pt_site *s);

pt_share_of pt_share_growing;
pt_share_of pt_share_reclaimed;
pt_share_of pt_share_lost; /* growing or reclaimed: a site may be both */
pt_share_of pt_share_held; /* and not growing */
pt_share_of pt_share_at_peak;
pt_share_of
    pt_share_held_and_rose; /* held, and made bit by bit: likely buffers of a start, which nobody can tell for sure */

void pt_share_plus(struct pt_share *to, const struct pt_share *x);

/* "5.7 MiB in 6 blocks (6.0 MiB locked)" */
void pt_share_add(struct pt_text *out, const struct pt_share *x);

/* "s", or nothing where there is one. */
const char *pt_plural(uint64_t n);

#endif
