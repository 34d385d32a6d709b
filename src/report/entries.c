#include "report/entries.h"

#include "ledger/place.h"
#include "memory/pages.h"

/* What is alike in all sites of an entry, as a number that no other line gets by any likely accident; 0 is nobody's. */
static uint64_t key_of(const struct pt_site *s)
{
    int top = pt_place_top(s);
    const struct pt_frame *f = &s->frames[top > 0 ? top : 0];
    uint64_t a = top < 0 ? s->object : f->file;
    uint64_t b = top < 0 ? s->symbol : f->line > 0 ? f->line : f->function;
    uint64_t kind = top < 0 ? 1 : f->line > 0 ? 2 : 3;
    uint64_t x = (a << 32 | b) ^ kind * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    x ^= x >> 31;
    return x != 0 ? x : 1;
}

static void group(struct pt_entries *e, uint64_t *keys, uint32_t *rows, uint32_t slots)
{
    struct pt_site s;
    for (uint32_t row = 0; row < e->of->sites; row++) {
        pt_table_copy_site(&e->of->site[row], &s);
        uint64_t key = key_of(&s);
        uint32_t at = (uint32_t)key & (slots - 1);
        while (keys[at] != 0 && keys[at] != key) {
            at = (at + 1) & (slots - 1);
        }
        if (keys[at] == 0) {
            keys[at] = key;
            rows[at] = row;
        } else {
            e->next[row] = e->next[rows[at]];
            e->next[rows[at]] = row;
        }
        e->first[row] = rows[at];
    }
}

void pt_entries_begin(struct pt_entries *e, const struct pt_report *r)
{
    uint32_t slots = 64;
    while (slots < 2 * r->sites) {
        slots *= 2;
    }
    *e = (struct pt_entries){.of = r};
    e->bytes = slots * (sizeof(uint64_t) + sizeof(uint32_t)) + 2 * r->sites * sizeof(uint32_t);
    uint64_t *keys = pt_pages_scratch(e->bytes);
    e->memory = keys;
    if (keys != NULL) {
        uint32_t *rows = (uint32_t *)(keys + slots);
        e->first = rows + slots;
        e->next = e->first + r->sites;
        group(e, keys, rows, slots);
    }
}

void pt_entries_end(struct pt_entries *e)
{
    if (e->memory != NULL) {
        pt_pages_scratch_end(e->memory, e->bytes);
    }
}

static __attribute__((noinline)) struct pt_share share_of(const struct pt_entries *e, uint32_t row, pt_share_of *of)
{
    struct pt_site s;
    pt_table_copy_site(&e->of->site[row], &s);
    return of(&s);
}

static uint32_t next_of(const struct pt_entries *e, uint32_t row)
{
    return e->next != NULL ? e->next[row] : 0;
}

static struct pt_share sum_of(const struct pt_entries *e, uint32_t entry, pt_share_of *of)
{
    struct pt_share sum = share_of(e, entry, of);
    for (uint32_t row = next_of(e, entry); row != 0; row = next_of(e, row)) {
        struct pt_share x = share_of(e, row, of);
        pt_share_plus(&sum, &x);
    }
    return sum;
}

static void rank(struct pt_ranking *c, uint32_t row, const struct pt_share *x)
{
    if (x->blocks == 0) {
        return;
    }
    c->all++;
    pt_share_plus(&c->sum, x);
    unsigned at = c->shown < PT_ENTRIES_SHOWN ? c->shown++ : PT_ENTRIES_SHOWN;
    while (at > 0 && c->share[at - 1].locked < x->locked) {
        if (at < PT_ENTRIES_SHOWN) {
            c->share[at] = c->share[at - 1];
            c->row[at] = c->row[at - 1];
        }
        at--;
    }
    if (at < PT_ENTRIES_SHOWN) {
        c->share[at] = *x;
        c->row[at] = row;
    }
}

static bool is_entry(const struct pt_entries *e, uint32_t row)
{
    return e->first == NULL || e->first[row] == row;
}

struct pt_ranking pt_entries_rank(const struct pt_entries *e, pt_share_of *of)
{
    struct pt_ranking c = {0};
    for (uint32_t row = 0; row < e->of->sites; row++) {
        if (is_entry(e, row)) {
            struct pt_share x = sum_of(e, row, of);
            rank(&c, row, &x);
        }
    }
    return c;
}

struct pt_ranking pt_entries_rank_sites(const struct pt_entries *e, uint32_t entry, pt_share_of *of)
{
    struct pt_ranking c = {0};
    uint32_t row = entry;
    do {
        struct pt_share x = share_of(e, row, of);
        rank(&c, row, &x);
    } while ((row = next_of(e, row)) != 0);
    return c;
}

struct pt_share pt_entries_sum(const struct pt_entries *e, pt_share_of *of, unsigned *entries)
{
    struct pt_share sum = {0};
    *entries = 0;
    for (uint32_t row = 0; row < e->of->sites; row++) {
        if (is_entry(e, row)) {
            struct pt_share x = sum_of(e, row, of);
            *entries += x.blocks != 0;
            pt_share_plus(&sum, &x);
        }
    }
    return sum;
}
