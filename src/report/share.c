#include "report/share.h"

#include "ledger/counters.h"
#include "ledger/growth.h"

#include <string.h>

struct pt_share pt_share_growing(const struct pt_site *s)
{
    return s->growing ? (struct pt_share){s->held, s->held_bytes, s->held_locked} : (struct pt_share){0, 0, 0};
}

struct pt_share pt_share_reclaimed(const struct pt_site *s)
{
    return (struct pt_share){s->reclaimed, s->reclaimed_bytes, s->reclaimed_locked};
}

struct pt_share pt_share_lost(const struct pt_site *s)
{
    struct pt_share a = pt_share_growing(s), b = pt_share_reclaimed(s);
    pt_share_plus(&a, &b);
    return a;
}

struct pt_share pt_share_held(const struct pt_site *s)
{
    return s->growing ? (struct pt_share){0, 0, 0} : (struct pt_share){s->held, s->held_bytes, s->held_locked};
}

struct pt_share pt_share_at_peak(const struct pt_site *s)
{
    struct pt_at_peak x = pt_counters_at_peak(&pt_table()->counters, s);
    return (struct pt_share){x.blocks, x.bytes, x.locked};
}

struct pt_share pt_share_held_and_rose(const struct pt_site *s)
{
    return pt_growth_rose_often(s) ? pt_share_held(s) : (struct pt_share){0, 0, 0};
}

void pt_share_plus(struct pt_share *to, const struct pt_share *x)
{
    to->blocks += x->blocks;
    to->bytes += x->bytes;
    to->locked += x->locked;
}

const char *pt_plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

void pt_share_add(struct pt_text *out, const struct pt_share *x)
{
    pt_text_add(out, "%B in %N block%s", x->bytes, x->blocks, pt_plural(x->blocks));
    char asked[32], locked[32]; /* what reads alike is not said twice */
    struct pt_text a, l;
    pt_text_init(&a, asked, sizeof asked, -1);
    pt_text_init(&l, locked, sizeof locked, -1);
    pt_text_add(&a, "%B", x->bytes);
    pt_text_add(&l, "%B", x->locked);
    if (strcmp(asked, locked) != 0) {
        pt_text_add(out, " (%s locked)", locked);
    }
}
