#include "report/sections.h"

#include "base/dtype.h"
#include "ledger/growth.h"
#include "ledger/place.h"
#include "report/advice.h"
#include "report/held_by.h"
#include "report/misuse.h"

#define STACK_MOST   4 /* the user's own frames of a site that lost memory; half of that for one that held it */
#define CALLERS_MOST 8
#define INDENT       "                 "

static void write_kind(struct pt_text *out, const struct pt_site *s)
{
    static const char *const doors[] = {"the C interface", "DeepSpeed's manager", "torch", "cudaHostAlloc"};
    size_t size = pt_dtype_size(s->dtype);
    size = size > 0 ? size : 1;
    pt_text_add(out, "%s[%llu", pt_dtype_name(s->dtype), s->smallest / size);
    if (s->largest != s->smallest) {
        pt_text_add(out, "..%llu", s->largest / size);
    }
    pt_text_add(out, "] from %s", doors[s->door]);
    if (s->thread != 0) {
        pt_text_add(out, ", thread %u", s->thread);
    }
}

static void write_frame(struct pt_text *out, const char *before, const struct pt_frame *f)
{
    pt_text_add(out, INDENT "%s", before);
    pt_place_frame(f, out);
    pt_text_add(out, "\n");
}

/* The user's own lines, then how it came there: the innermost that is not the user's, and what is native. */
static void write_stack(struct pt_text *out, const struct pt_site *s, unsigned most)
{
    unsigned own = 0, native = 0;
    for (unsigned i = 0; i < s->frames_count && own < most; i++) {
        if ((s->library >> i & 1) == 0) {
            write_frame(out, "", &s->frames[i]);
            own++;
        }
    }
    unsigned via = own == 0 ? most : 1;
    for (unsigned i = 0; i < s->frames_count; i++) {
        if (s->frames[i].line == 0) {
            write_frame(out, "in ", &s->frames[i]); /* PINTENSOR_STACK=full */
            native++;
        } else if ((s->library >> i & 1) != 0 && via > 0) {
            write_frame(out, own > 0 ? "via " : "", &s->frames[i]);
            via--;
        }
    }
    if (native == 0 && s->object != 0 && (most == STACK_MOST || s->frames_count == 0)) {
        pt_text_add(out, INDENT "in %S  %S\n", pt_table_string(s->object), pt_table_string(s->symbol));
    } else if (s->frames_count == 0 && s->object == 0) {
        pt_text_add(out, INDENT "(no stack was recorded)\n");
    }
}

/* Who called the line: the user's own frames outside of it. */
static void write_callers(struct pt_text *out, const struct pt_site *s)
{
    int frame = pt_place_caller(s, pt_place_top(s));
    for (unsigned told = 0; frame >= 0 && told < STACK_MOST - 1; told++) {
        pt_text_add(out, told == 0 ? ", called from " : ", from ");
        pt_place_frame(&s->frames[frame], out);
        frame = pt_place_caller(s, frame);
    }
}

/* The line, and what each of its sites has. */
static __attribute__((noinline)) void write_sites(const struct pt_entries *e, struct pt_text *out,
                                                  const struct pt_ranking *sites)
{
    struct pt_site s;
    for (unsigned i = 0; i < sites->shown && i < CALLERS_MOST; i++) {
        pt_table_copy_site(&e->of->site[sites->row[i]], &s);
        if (i == 0) {
            pt_text_add(out, INDENT);
            pt_place_of_site(&s, out);
            pt_text_add(out, "\n");
        }
        pt_text_add(out, INDENT "  ");
        pt_share_add(out, &sites->share[i]);
        pt_text_add(out, ", ");
        write_kind(out, &s);
        write_callers(out, &s);
        pt_text_add(out, "\n");
    }
    if (sites->all > CALLERS_MOST) {
        pt_text_add(out, INDENT "  and %u more callers\n", sites->all - CALLERS_MOST);
    }
}

/* Who still holds the blocks of these sites. */
static void write_holders(const struct pt_report *r, struct pt_text *out, const struct pt_ranking *sites)
{
    for (unsigned i = 0; i < sites->shown; i++) {
        pt_report_held_by(r->held_by, r->held_bys, sites->row[i], out);
    }
}

static void write_rest(struct pt_text *out, const struct pt_ranking *c)
{
    if (c->all > c->shown) {
        pt_text_add(out, "             and %u more site%s\n", c->all - c->shown, pt_plural(c->all - c->shown));
    }
}

/* Allocations may come after exit began: nothing is younger than now. */
static uint64_t since(const struct pt_report *r, uint64_t ns)
{
    return r->now_ns > ns ? r->now_ns - ns : 0;
}

static void write_rises(const struct pt_report *r, struct pt_text *out, const struct pt_site *s)
{
    uint64_t rises = s->rises;
    pt_text_add(out, "; rose %N time%s, last %T ", rises, pt_plural(rises), since(r, s->rise_ns));
    pt_text_add(out, r->ended ? "before the end" : "ago");
}

static void write_growth(const struct pt_report *r, struct pt_text *out, const struct pt_site *s)
{
    pt_text_add(out, ", %B more each time, ", pt_growth_step(s));
    pt_text_add(out, s->freed == 0 ? "none freed" : "%N freed", s->freed);
    write_rises(r, out, s);
}

/* An entry of what is lost. Of a single site more is known than of many. */
static __attribute__((noinline)) void write_lost(const struct pt_entries *e, struct pt_text *out, uint32_t entry,
                                                 enum pt_loss loss, bool told)
{
    struct pt_ranking sites =
        pt_entries_rank_sites(e, entry, loss == PT_LOSS_GROWING ? pt_share_growing : pt_share_reclaimed);
    struct pt_site s; /* a copy: other threads may go on */
    pt_table_copy_site(&e->of->site[sites.shown > 0 ? sites.row[0] : entry], &s);
    pt_text_add(out, loss == PT_LOSS_GROWING ? "  GROWING    " : "  RECLAIMED  ");
    pt_share_add(out, &sites.sum);
    if (sites.all > 1) {
        pt_text_add(out, " from %u callers", sites.all);
    }
    if (loss == PT_LOSS_RECLAIMED) {
        pt_text_add(out, ", dropped without free()%s",
                    s.door == PT_DOOR_DEEPSPEED ? ": stock DeepSpeed never gives these back" : "");
    } else if (sites.all <= 1) {
        write_growth(e->of, out, &s);
    } else {
        pt_text_add(out, ", more each time");
    }
    pt_text_add(out, "\n");
    if (!told) {
        pt_text_add(out, INDENT "fix: ");
        pt_advice_add(out, loss, s.door);
        pt_text_add(out, "\n");
    }
    if (sites.all > 1) {
        write_sites(e, out, &sites);
    } else {
        pt_text_add(out, INDENT);
        write_kind(out, &s);
        pt_text_add(out, loss == PT_LOSS_GROWING ? ", oldest %T\n" : ", last one made %T ago\n",
                    since(e->of, loss == PT_LOSS_GROWING ? s.oldest_ns : s.last_ns));
        write_stack(out, &s, STACK_MOST);
    }
    if (loss == PT_LOSS_GROWING) {
        write_holders(e->of, out, &sites);
    }
}

static __attribute__((noinline)) void write_all_lost(const struct pt_entries *e, struct pt_text *out, enum pt_loss loss,
                                                     uint32_t told)
{
    struct pt_ranking c = pt_entries_rank(e, loss == PT_LOSS_GROWING ? pt_share_growing : pt_share_reclaimed);
    for (unsigned i = 0; i < c.shown; i++) {
        write_lost(e, out, c.row[i], loss, c.row[i] == told);
    }
    write_rest(out, &c);
}

void pt_sections_growing(const struct pt_entries *e, struct pt_text *out, uint32_t told)
{
    write_all_lost(e, out, PT_LOSS_GROWING, told);
}

void pt_sections_reclaimed(const struct pt_entries *e, struct pt_text *out, uint32_t told)
{
    write_all_lost(e, out, PT_LOSS_RECLAIMED, told);
}

static void write_kept_site(const struct pt_entries *e, struct pt_text *out, const struct pt_site *s, pt_share_of *of)
{
    pt_text_add(out, ", ");
    write_kind(out, s);
    if (of == pt_share_held) {
        pt_text_add(out, ", oldest %T", since(e->of, s->oldest_ns));
        if (pt_growth_rose_often(s)) {
            write_rises(e->of, out, s);
        }
    }
    pt_text_add(out, "\n");
    write_stack(out, s, STACK_MOST / 2);
}

static __attribute__((noinline)) void write_kept(const struct pt_entries *e, struct pt_text *out, uint32_t entry,
                                                 pt_share_of *of)
{
    struct pt_ranking sites = pt_entries_rank_sites(e, entry, of);
    struct pt_site s; /* a copy: other threads may go on */
    pt_table_copy_site(&e->of->site[sites.shown > 0 ? sites.row[0] : entry], &s);
    pt_text_add(out, "             ");
    pt_share_add(out, &sites.sum);
    if (sites.all > 1) {
        pt_text_add(out, " from %u callers\n", sites.all);
        write_sites(e, out, &sites);
    } else {
        write_kept_site(e, out, &s, of);
    }
    if (of == pt_share_held) {
        write_holders(e->of, out, &sites);
    }
}

/* The entries of a section whose memory is not lost, and what they have in common. */
static __attribute__((noinline)) void write_section(const struct pt_entries *e, struct pt_text *out, const char *word,
                                                    pt_share_of *of, const char *when)
{
    struct pt_ranking c = pt_entries_rank(e, of);
    if (c.all == 0) {
        return;
    }
    pt_text_add(out, "  %-10s ", word);
    pt_share_add(out, &c.sum);
    pt_text_add(out, " from %u site%s, %s\n", c.all, pt_plural(c.all), when);
    for (unsigned i = 0; i < c.shown; i++) {
        write_kept(e, out, c.row[i], of);
    }
    write_rest(out, &c);
}

void pt_sections_held(const struct pt_entries *e, struct pt_text *out)
{
    write_section(e, out, "HELD", pt_share_held,
                  e->of->ended    ? "alive when exit began: given back now"
                  : e->of->killed ? "alive when it was killed"
                                  : "alive now");
}

void pt_sections_peak(const struct pt_entries *e, struct pt_text *out)
{
    write_section(e, out, "PEAK", pt_share_at_peak, "when most was alive");
}

void pt_sections_misused(const struct pt_report *r, struct pt_text *out)
{
    for (uint32_t i = 0; i < r->misuses; i++) {
        const struct pt_misuse *m = &r->misuse[i];
        uint32_t times = PT_GET(m->count);
        pt_text_add(out, "  MISUSED    %u time%s: free() of an address that %s; nothing was changed\n" INDENT, times,
                    pt_plural(times), pt_misuse_name(m->kind));
        pt_place_of(m->site, out);
        pt_text_add(out, "\n");
        if (m->alloc_site != 0) {
            pt_text_add(out, INDENT "the block came from  ");
            pt_place_of(m->alloc_site, out);
            pt_text_add(out, "\n");
        }
        if (m->release_site != 0) {
            pt_text_add(out, INDENT "it was freed at  ");
            pt_place_of(m->release_site, out);
            pt_text_add(out, "\n");
        }
    }
}
