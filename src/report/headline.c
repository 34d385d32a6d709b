#include "report/headline.h"

static __attribute__((noinline)) uint64_t bytes_of(const struct pt_entries *e, pt_share_of *of)
{
    unsigned entries;
    return pt_entries_sum(e, of, &entries).bytes;
}

static void write_bytes(const struct pt_entries *e, struct pt_text *out)
{
    const struct pt_report *r = e->of;
    uint64_t growing = bytes_of(e, pt_share_growing), reclaimed = bytes_of(e, pt_share_reclaimed);
    uint64_t held = bytes_of(e, pt_share_held);
    const char *alive = r->ended ? "held at exit" : r->killed ? "alive when it was killed" : "alive now";
    if (growing > 0) {
        pt_text_add(out, "%s%B growing", r->ended || r->killed ? "lost " : "", growing);
    }
    if (reclaimed > 0) {
        pt_text_add(out, growing > 0 ? ", %B dropped without free()" : "lost %B dropped without free()", reclaimed);
    }
    if (growing + reclaimed > 0) {
        if (held > 0) {
            pt_text_add(out, "; %B more %s", held, alive);
        }
    } else if (held == 0) {
        pt_text_add(out, "no pinned memory lost");
    } else {
        pt_text_add(out, "%B %s, %s", held, alive,
                    bytes_of(e, pt_share_held_and_rose) == 0 ? "none known to be lost"
                                                             : "no line was losing any at the end");
    }
}

void pt_headline_write(const struct pt_entries *e, struct pt_text *out)
{
    const struct pt_table *t = pt_table();
    const struct pt_counters *c = e->of->counters;
    uint64_t end = t->exit_ns != 0 ? t->exit_ns : e->of->now_ns;
    pt_text_add(out, "pintensor: ");
    write_bytes(e, out);
    const char *host = pt_table_string(t->host); /* empty in a sandbox */
    if (t->rank >= 0) {
        pt_text_add(out, "; rank %d", t->rank);
    }
    if (*host != '\0') {
        pt_text_add(out, t->rank >= 0 ? " on %S" : "; on %S", host);
    }
    pt_text_add(out, "%s%S (pid %d), ran %T; peak %B locked for %B asked\n",
                t->rank >= 0 || *host != '\0' ? ", " : "; ", pt_table_string(t->program), t->pid,
                end > t->born_ns ? end - t->born_ns : 0, c->at_peak_locked, c->peak_bytes);
}
