#include "cli/report_diff.h"

#include "base/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SHOWN_MOST 100

/* A site's bytes in both runs. Kept: alive at the end, or reclaimed. */
struct change {
    const struct pt_model_site *site;
    uint64_t kept[2], peak[2];
};

static uint64_t distance(const uint64_t x[2])
{
    return x[1] > x[0] ? x[1] - x[0] : x[0] - x[1];
}

static uint64_t kept(const struct pt_model_words *w)
{
    return w->growing.bytes + w->held.bytes + w->reclaimed.bytes;
}

static const struct pt_model_words nothing;

static struct change compare(const struct pt_model_site *s, const struct pt_model_words *a,
                             const struct pt_model_words *b)
{
    return (struct change){s, {kept(a), kept(b)}, {a->peak.bytes, b->peak.bytes}};
}

static int larger(const void *a, const void *b)
{
    const struct change *x = a, *y = b;
    uint64_t key[][2] = {{distance(x->kept), distance(y->kept)}, {distance(x->peak), distance(y->peak)}};
    for (unsigned i = 0; i < 2; i++) {
        if (key[i][0] != key[i][1]) {
            return key[i][0] < key[i][1] ? 1 : -1;
        }
    }
    return x->site->id < y->site->id ? -1 : x->site->id > y->site->id;
}

static const char *word(const struct change *c)
{
    bool before = c->kept[0] > 0 || c->peak[0] > 0, after = c->kept[1] > 0 || c->peak[1] > 0;
    bool grew = c->kept[1] != c->kept[0] ? c->kept[1] > c->kept[0] : c->peak[1] > c->peak[0];
    return !before ? "NEW" : !after ? "GONE" : grew ? "GREW" : "SHRANK";
}

static void add_pair(struct pt_text *out, const uint64_t x[2], const char *what)
{
    pt_text_add(out, "%B -> %B %s", x[0], x[1], what);
}

static void add_change(struct pt_text *out, const struct change *c)
{
    char id[24];
    (void)snprintf(id, sizeof id, "%016llx", (unsigned long long)c->site->id);
    pt_text_add(out, "  %-10s ", word(c));
    add_pair(out, c->kept, "kept, ");
    add_pair(out, c->peak, "at the peak");
    pt_text_add(out, "  (%s)\n             ", id);
    pt_model_place(c->site, out);
    pt_text_add(out, "\n");
}

static void add_first_line(struct pt_text *out, const struct pt_report_side *a, const struct pt_report_side *b)
{
    uint64_t all_kept[2] = {0}, peak[2] = {0};
    for (unsigned side = 0; side < 2; side++) {
        const struct pt_model *m = side == 0 ? &a->model : &b->model;
        for (uint32_t i = 0; i < m->processes; i++) {
            all_kept[side] += kept(&m->process[i].sum);
            peak[side] += m->process[i].peak_asked;
        }
    }
    pt_text_add(out, "pintensor: %s (%u process%s) -> %s (%u process%s): ", a->name, a->model.processes,
                a->model.processes == 1 ? "" : "es", b->name, b->model.processes, b->model.processes == 1 ? "" : "es");
    add_pair(out, all_kept, "kept, ");
    add_pair(out, peak, "at the peaks\n");
}

static unsigned more(const struct pt_model_words *a, const struct pt_model_words *b)
{
    return (b->growing.bytes > a->growing.bytes ? PT_FAIL_GROWING : 0u) |
           (b->reclaimed.bytes > a->reclaimed.bytes ? PT_FAIL_RECLAIMED : 0u) |
           (b->held.bytes > a->held.bytes ? PT_FAIL_HELD : 0u);
}

static uint64_t misused(const struct pt_model *m)
{
    uint64_t times = 0;
    for (uint32_t i = 0; i < m->misuses; i++) {
        times += m->misuse[i].times;
    }
    return times;
}

unsigned pt_report_diff(const struct pt_report_side *a, const struct pt_report_side *b)
{
    static char buf[65536];
    struct pt_text out;
    struct change *list = NULL;
    uint32_t changes = 0;
    unsigned found = misused(&b->model) > misused(&a->model) ? PT_FAIL_MISUSED : 0;
    for (uint32_t i = 0; i < a->model.sites + b->model.sites; i++) {
        bool of_a = i < a->model.sites;
        const struct pt_model_site *s = of_a ? &a->model.site[i] : &b->model.site[i - a->model.sites];
        const struct pt_model_site *other = pt_model_find(of_a ? &b->model : &a->model, s->id);
        if (!of_a && other != NULL) {
            continue; /* was seen as one of A's */
        }
        const struct pt_model_words *there = other != NULL ? &other->sum : &nothing;
        const struct pt_model_words *in_a = of_a ? &s->sum : there, *in_b = of_a ? there : &s->sum;
        struct change c = compare(s, in_a, in_b);
        found |= more(in_a, in_b);
        if (distance(c.kept) > 0 || distance(c.peak) > 0) {
            list = pt_model_grow(list, changes, sizeof *list);
            list[changes++] = c;
        }
    }
    pt_text_init(&out, buf, sizeof buf, STDOUT_FILENO);
    add_first_line(&out, a, b);
    if (changes > 1) {
        qsort(list, changes, sizeof *list, larger);
    }
    for (uint32_t i = 0; i < changes && i < SHOWN_MOST; i++) {
        add_change(&out, &list[i]);
    }
    if (changes > SHOWN_MOST) {
        pt_text_add(&out, "             and %u more sites\n", changes - SHOWN_MOST);
    } else if (changes == 0) {
        pt_text_add(&out, "  No site differs.\n");
    }
    pt_text_flush(&out);
    free(list);
    return found;
}
