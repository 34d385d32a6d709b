#include "report/report.h"

#include "base/options.h"
#include "base/thread.h"
#include "report/advice.h"
#include "report/beside.h"
#include "report/headline.h"
#include "report/sections.h"
#include "report/turn.h"

static bool used(const struct pt_report *r, enum pt_door door)
{
    bool any = (pt_table()->doors_retired >> door & 1) != 0;
    for (uint32_t number = 0; number < r->sites && !any; number++) {
        any = PT_GET(r->site[number].allocated) > 0 && PT_GET(r->site[number].door) == (uint8_t)door;
    }
    return any;
}

/* Who uses no DeepSpeed is not told of it. */
static void write_last_line(const struct pt_report *r, struct pt_text *out)
{
    const struct pt_counters *c = r->counters;
    bool torch = used(r, PT_DOOR_TORCH), deepspeed = used(r, PT_DOOR_DEEPSPEED);
    pt_text_add(out, "  The same peak takes ");
    if (torch || deepspeed) {
        pt_text_add(out, "%B under stock %s", c->at_peak_stock,
                    !torch      ? "DeepSpeed"
                    : deepspeed ? "DeepSpeed and torch"
                                : "torch");
    }
    if (!torch) {
        pt_text_add(out, "%s%B rounded to powers of two", deepspeed ? ", " : "", c->at_peak_pow2);
    }
    pt_text_add(out, ". %N of %N block%s came from memory locked before.\n", c->reused, c->allocated,
                pt_plural(c->allocated));
    if (c->pageable > 0) {
        pt_text_add(out, "  %N block%s could not be locked and stayed pageable (PINTENSOR_ON_LIMIT=pageable).\n",
                    c->pageable, pt_plural(c->pageable));
    }
}

static bool any(const struct pt_entries *e, pt_share_of *of)
{
    unsigned entries;
    (void)pt_entries_sum(e, of, &entries);
    return entries > 0;
}

static unsigned sections_of(const struct pt_entries *e)
{
    return (any(e, pt_share_growing) ? PT_FAIL_GROWING : 0u) | (any(e, pt_share_reclaimed) ? PT_FAIL_RECLAIMED : 0u) |
           (any(e, pt_share_held) ? PT_FAIL_HELD : 0u) | (e->of->misuses > 0 ? PT_FAIL_MISUSED : 0u);
}

unsigned pt_report_write(const struct pt_report *r, struct pt_text *out)
{
    struct pt_entries e;
    pt_entries_begin(&e, r);
    pt_headline_write(&e, out);
    uint32_t told = pt_advice_write(&e, out);
    pt_sections_growing(&e, out, told);
    pt_sections_reclaimed(&e, out, told);
    pt_sections_held(&e, out);
    if (r->peak) {
        pt_sections_peak(&e, out);
    }
    pt_sections_misused(r, out);
    pt_beside_write(out);
    if (r->counters->allocated > 0) {
        write_last_line(r, out);
    }
    unsigned sections = sections_of(&e);
    pt_entries_end(&e);
    return sections;
}

unsigned pt_report_sections(const struct pt_report *r)
{
    struct pt_entries e = {.of = r}; /* whatever belongs together, there is some or none */
    return sections_of(&e);
}

/* Who cannot wait for others any longer says on each line whose it is. */
int pt_report_send(const struct pt_report *r, struct pt_text *out, int64_t turn_ns, int64_t most_ns)
{
    char whose[48];
    struct pt_text t;
    enum pt_turn turn = pt_turn_take(out->fd, pt_thread_now() + turn_ns);
    if (turn == PT_TURN_LATE) {
        pt_text_init(&t, whose, sizeof whose, -1);
        pt_text_add(&t, pt_table()->rank >= 0 ? "[rank %d] " : "[pid %d] ",
                    pt_table()->rank >= 0 ? pt_table()->rank : pt_table()->pid);
        out->prefix = whose;
    }
    pt_text_wait_most(out, most_ns);
    (void)pt_report_write(r, out);
    pt_text_flush(out);
    out->prefix = NULL;
    if (turn == PT_TURN_MINE) {
        pt_turn_give(out->fd);
    }
    return out->failed;
}

__attribute__((noinline)) struct pt_report_lost pt_report_lost(const struct pt_report *r)
{
    struct pt_report_lost all = {0};
    struct pt_entries e;
    pt_entries_begin(&e, r);
    all.bytes = pt_entries_sum(&e, pt_share_lost, &all.sites).bytes;
    all.worst = pt_entries_rank(&e, pt_share_lost).row[0];
    pt_entries_end(&e);
    return all;
}
