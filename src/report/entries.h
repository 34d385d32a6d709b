/* What the report lists: a line of the user's code with all sites that it is the innermost line of. The table keeps
 * these apart, by the whole stack. */
#ifndef PT_ENTRIES_H
#define PT_ENTRIES_H

#include "report/share.h"
#include "report/view.h"

/* Each site by its row belongs to the entry that its line's first site stands for. */
struct pt_entries {
    const struct pt_report *of;
    uint32_t *first,
        *next; /* of each row: its entry, the entry's next site or 0; NULL: no memory, each is its own entry */
    void *memory;
    size_t bytes;
};

/* Memory is mapped for it, and nothing waited for. */
void pt_entries_begin(struct pt_entries *e, const struct pt_report *r);
void pt_entries_end(struct pt_entries *e);

/* The entries or the sites with most locked bytes, largest first; and the sum over all. */
#define PT_ENTRIES_SHOWN 20
struct pt_ranking {
    unsigned all, shown;
    uint32_t row[PT_ENTRIES_SHOWN];
    struct pt_share share[PT_ENTRIES_SHOWN], sum;
};
struct pt_ranking pt_entries_rank(const struct pt_entries *e, pt_share_of *of);
struct pt_ranking pt_entries_rank_sites(const struct pt_entries *e, uint32_t entry, pt_share_of *of);

/* All of one kind, in how many entries. */
struct pt_share pt_entries_sum(const struct pt_entries *e, pt_share_of *of, unsigned *entries);

#endif
