#include "cli/report_json.h"

#include "base/dtype.h"
#include "cli/report_escape.h"
#include "report/beside.h"

#include <inttypes.h>
#include <stddef.h>

static const char *const states[] = {"ended", "running", "killed", "unknown"};
static const char *const doors[] = {"c", "deepspeed", "torch", "cuda"};
static const char *const kinds[] = {"twice", "interior", "foreign", "stale", "other manager"};

static void name(FILE *out, const char *before, const char *value)
{
    fprintf(out, "%s", before);
    pt_escape_json(out, value);
}

static void sum(FILE *out, const char *word, const struct pt_model_sum *x)
{
    if (x->blocks > 0) {
        fprintf(out, ",\"%s\":{\"blocks\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"locked\":%" PRIu64 "}", word, x->blocks,
                x->bytes, x->locked);
    }
}

static void words(FILE *out, const struct pt_model_words *w)
{
    sum(out, "growing", &w->growing);
    sum(out, "reclaimed", &w->reclaimed);
    sum(out, "held", &w->held);
    sum(out, "peak", &w->peak);
}

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static void amount(FILE *out, const char *word, uint64_t blocks, uint64_t bytes)
{
    fprintf(out, ",\"%s\":{\"blocks\":%" PRIu64 ",\"bytes\":%" PRIu64 "}", word, blocks, bytes);
}

static void others_line(FILE *out, const struct pt_model_others_line *x)
{
    fprintf(out, x->site != 0 ? "{\"site\":\"%016" PRIx64 "\"" : "{\"site\":null", x->site);
    fprintf(out, ",\"call\":\"%s\",\"pinned\":%" PRIu64, pt_beside_call(x->call), x->pinned);
    amount(out, "live", x->live, x->live_bytes);
    amount(out, "peak", x->peak, x->peak_bytes);
    fputs("}", out);
}

static void others(FILE *out, const struct pt_model *m, uint32_t process)
{
    const struct pt_model_others *x = &m->process[process].others;
    const char *before = "";
    if (x->pinned == 0) {
        return;
    }
    fprintf(out, ",\"others\":{\"pinned\":%" PRIu64 ",\"missed\":%" PRIu64, x->pinned, x->missed);
    amount(out, "live", x->live, x->live_bytes);
    fprintf(out, ",\"at_peak\":{\"blocks\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"pintensor\":%" PRIu64 "},\"lines\":[",
            x->peak, x->peak_bytes, x->peak_ours);
    for (uint32_t i = 0; i < m->others_lines; i++) {
        if (m->others[i].process == process) {
            fputs(before, out);
            others_line(out, &m->others[i]);
            before = ",";
        }
    }
    fputs("]}", out);
}

static void moments(FILE *out, const struct pt_history *h, const char *key, size_t field)
{
    fprintf(out, ",\"%s\":[", key);
    for (uint32_t i = 0; i < h->used; i++) {
        fprintf(out, i > 0 ? ",%" PRIu64 : "%" PRIu64, *(const uint64_t *)((const char *)&h->moment[i] + field));
    }
    fputs("]", out);
}

static void history(FILE *out, const struct pt_history *h)
{
    fprintf(out, ",\"history\":{\"moment_seconds\":%.2f", seconds(h->width_ns));
    moments(out, h, "asked", offsetof(struct pt_moment, asked));
    moments(out, h, "locked", offsetof(struct pt_moment, locked));
    moments(out, h, "waiting", offsetof(struct pt_moment, waiting));
    moments(out, h, "stock", offsetof(struct pt_moment, stock));
    moments(out, h, "powers_of_two", offsetof(struct pt_moment, pow2));
    fputs("}", out);
}

/* `most`: see pt_report_json(). */
static void process(FILE *out, const struct pt_model *m, uint32_t number, long most)
{
    const struct pt_model_process *p = &m->process[number];
    name(out, "{\"file\":", p->path);
    name(out, ",\"program\":", p->program);
    name(out, ",\"host\":", p->host);
    fprintf(out, ",\"pid\":%d,\"rank\":", p->pid);
    fprintf(out, p->rank >= 0 ? "%d" : "null", p->rank);
    fprintf(out, ",\"state\":\"%s\",\"complete\":%s,\"seconds\":%.3f", states[p->state],
            p->cut_short ? "false" : "true", seconds(p->run_ns));
    fprintf(out,
            ",\"at_peak\":{\"asked\":%" PRIu64 ",\"locked\":%" PRIu64 ",\"stock\":%" PRIu64
            ",\"powers_of_two\":%" PRIu64 "}",
            p->peak_asked, p->peak_locked, p->peak_stock, p->peak_pow2);
    fprintf(out, ",\"blocks\":{\"allocated\":%" PRIu64 ",\"reused\":%" PRIu64 ",\"pageable\":%" PRIu64 "}",
            p->allocated, p->reused, p->pageable);
    words(out, &p->sum);
    others(out, m, number);
    if (most == 0 || ftell(out) < most / 4) {
        history(out, &p->history);
    } else {
        fputs(",\"history\":null", out);
    }
    fputs("}", out);
}

static void share(FILE *out, const struct pt_model_share *x)
{
    fprintf(out, "{\"process\":%u,\"door\":\"%s\"", x->process, doors[x->door]);
    name(out, ",\"dtype\":", pt_dtype_name(x->dtype));
    fprintf(out,
            ",\"thread\":%u,\"smallest\":%" PRIu64 ",\"largest\":%" PRIu64 ",\"allocated\":%" PRIu64
            ",\"freed\":%" PRIu64 ",\"rises\":%" PRIu64 ",\"rise_bytes\":%" PRIu64
            ",\"first_seconds\":%.3f,\"last_seconds\":%.3f",
            x->thread, x->smallest, x->largest, x->allocated, x->freed, x->rises, x->step, seconds(x->first_ns),
            seconds(x->last_ns));
    words(out, &x->words);
    fputs(",\"held_by\":[", out);
    for (uint32_t i = 0; i < x->held_bys; i++) {
        const struct pt_held_by *h = &x->held_by[i];
        name(out, i > 0 ? ",{\"way\":" : "{\"way\":", h->words);
        fprintf(out, ",\"blocks\":%" PRIu32 ",\"bytes\":%" PRIu64 "}", h->blocks, h->bytes);
    }
    fputs("]}", out);
}

static void site(FILE *out, const struct pt_model *m, const struct pt_model_site *s)
{
    fprintf(out, "{\"id\":\"%016" PRIx64 "\",\"top\":", s->id);
    fprintf(out, s->top >= 0 ? "%d" : "null", s->top);
    fputs(",\"frames\":[", out);
    for (unsigned i = 0; i < s->frames; i++) {
        const struct pt_model_frame *f = &s->frame[i];
        name(out, i > 0 ? ",{\"file\":" : "{\"file\":", f->file);
        fprintf(out, ",\"line\":%u", f->line);
        name(out, ",\"function\":", f->function);
        fprintf(out, ",\"own\":%s}", f->own ? "true" : "false");
    }
    name(out, "],\"symbol\":", s->symbol);
    name(out, ",\"object\":", s->object);
    words(out, &s->sum);
    fputs(",\"in\":[", out);
    for (uint32_t i = s->first; i != 0; i = m->share[i].next) {
        fputs(i != s->first ? "," : "", out);
        share(out, &m->share[i]);
    }
    fputs("]}", out);
}

static void place(FILE *out, const char *word, uint64_t id)
{
    fprintf(out, id != 0 ? ",\"%s\":\"%016" PRIx64 "\"" : ",\"%s\":null", word, id);
}

static void misuse(FILE *out, const struct pt_model_misuse *x)
{
    fprintf(out, "{\"process\":%u,\"kind\":\"%s\",\"times\":%u", x->process, kinds[x->kind], x->times);
    place(out, "at", x->site);
    place(out, "allocated_at", x->alloc_site);
    place(out, "freed_at", x->release_site);
    fputs("}", out);
}

static void suppressed(FILE *out, const struct pt_suppressions *s)
{
    const char *before = "";
    for (uint32_t i = 0; i < s->count; i++) {
        const struct pt_suppression *x = &s->one[i];
        if (x->blocks + x->misuses > 0) {
            fputs(before, out);
            name(out, "{\"pattern\":", x->pattern);
            fprintf(out, ",\"blocks\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"misused\":%" PRIu64 "}", x->blocks, x->bytes,
                    x->misuses);
            before = ",";
        }
    }
}

void pt_report_json(FILE *out, const struct pt_model *m, const struct pt_suppressions *suppressions, long most)
{
    fprintf(out, "{\"format\":\"pintensor report\",\"version\":%d,\"pintensor\":\"%s\",\n\"processes\":[",
            PT_REPORT_JSON_VERSION, PINTENSOR_VERSION);
    for (uint32_t i = 0; i < m->processes; i++) {
        fputs(i > 0 ? ",\n" : "\n", out);
        process(out, m, i, most);
    }
    fputs("],\n\"misused\":[", out);
    for (uint32_t i = 0; i < m->misuses; i++) {
        fputs(i > 0 ? ",\n" : "\n", out);
        misuse(out, &m->misuse[i]);
    }
    fputs("],\n\"suppressed\":[", out);
    suppressed(out, suppressions);
    fputs("],\n\"sites\":[", out);
    uint32_t written = 0;
    while (written < m->sites && (most == 0 || ftell(out) < most)) {
        fputs(written > 0 ? ",\n" : "\n", out);
        site(out, m, &m->site[written++]);
    }
    fprintf(out, "],\n\"left_out\":%u}\n", m->sites - written);
}
