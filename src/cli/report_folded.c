#include "cli/report_folded.h"

#include "cli/report_escape.h"

#include <inttypes.h>

static void frame(FILE *out, const struct pt_model_frame *f)
{
    pt_escape_plain(out, f->function);
    fputs(" (", out);
    pt_escape_plain(out, f->file);
    fprintf(out, f->line > 0 ? ":%u)" : ")", f->line);
}

static void stack(FILE *out, const struct pt_model_site *s)
{
    for (unsigned i = s->frames; i-- > 0;) {
        frame(out, &s->frame[i]);
        fputs(i > 0 ? ";" : "", out);
    }
    if (s->frames > 0) {
        return;
    }
    if (*s->symbol == '\0' && *s->object == '\0') {
        fputs("(no stack was recorded)", out);
        return;
    }
    pt_escape_plain(out, s->symbol);
    fputs(" (", out);
    pt_escape_plain(out, s->object);
    fputs(")", out);
}

static void whose(FILE *out, const struct pt_model_process *p)
{
    if (p->rank >= 0) {
        fprintf(out, "rank %d;", p->rank);
    } else {
        pt_escape_plain(out, p->program);
        fprintf(out, " pid %d;", p->pid);
    }
}

void pt_report_folded(FILE *out, const struct pt_model *m, bool held)
{
    for (uint32_t i = 0; i < m->sites; i++) {
        for (uint32_t n = m->site[i].first; n != 0; n = m->share[n].next) {
            const struct pt_model_words *w = &m->share[n].words;
            uint64_t bytes = held ? w->growing.bytes + w->held.bytes + w->reclaimed.bytes : w->peak.bytes;
            if (bytes > 0) {
                if (m->processes > 1) {
                    whose(out, &m->process[m->share[n].process]);
                }
                stack(out, &m->site[i]);
                fprintf(out, " %" PRIu64 "\n", bytes);
            }
        }
    }
}
