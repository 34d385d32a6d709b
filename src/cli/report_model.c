#include "cli/report_model.h"

#include "cli/native_lines.h"

#include "base/options.h"
#include "ledger/counters.h"
#include "ledger/foreign.h"
#include "ledger/growth.h"
#include "ledger/history.h"
#include "ledger/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *need(void *p)
{
    if (p == NULL) {
        fprintf(stderr, "pintensor: no memory left to read the tables\n");
        exit(1);
    }
    return p;
}

void *pt_model_grow(void *list, uint32_t count, size_t size)
{
    bool full = count == 0 || (count >= 16 && (count & (count - 1)) == 0);
    return full ? need(realloc(list, (count == 0 ? 16 : 2 * (size_t)count) * size)) : list;
}

static char *copy(uint32_t string)
{
    return need(strdup(pt_table_string(string)));
}

/* ---- which site it is ---- */

static uint64_t mix(uint64_t hash, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
    }
    return hash;
}

static uint64_t mix_string(uint64_t hash, uint32_t string)
{
    const char *s = pt_table_string(string);
    return mix(hash, s, strlen(s) + 1);
}

/* FNV-1a over all that tells sites apart in a table. The same forever: people keep ids in files. */
static uint64_t id_of(const struct pt_site *s, const struct pt_natives *natives)
{
    uint64_t hash = 14695981039346656037u;
    for (unsigned i = 0; i < s->frames_count; i++) {
        const struct pt_frame *f = &s->frames[i];
        unsigned char rest[5] = {f->line >> 24 & 255, f->line >> 16 & 255, f->line >> 8 & 255, f->line & 255,
                                 s->library >> i & 1};
        if (f->line == 0 || natives->frame[i].object == 0) {
            hash = mix(mix_string(mix_string(hash, f->file), f->function), rest, sizeof rest);
        } else if (natives->frame[i].object !=
                   PT_NATIVE_MORE) { /* whether there is debug information makes no difference */
            hash = mix(mix_string(mix_string(hash, natives->frame[i].object), natives->frame[i].at),
                       (unsigned char[]){0, 0, 0, 0, 1}, 5);
        }
    }
    return mix_string(mix_string(hash, s->symbol), s->object);
}

static uint32_t *slot_of(const struct pt_model *m, uint64_t id)
{
    uint32_t at = (uint32_t)(id ^ id >> 32) & (m->slots - 1);
    while (m->slot[at] != 0 && m->site[m->slot[at] - 1].id != id) {
        at = (at + 1) & (m->slots - 1);
    }
    return &m->slot[at];
}

static void make_slots(struct pt_model *m)
{
    if (2 * m->sites < m->slots) {
        return;
    }
    free(m->slot);
    m->slots = m->slots == 0 ? 1024 : 2 * m->slots;
    m->slot = need(calloc(m->slots, sizeof *m->slot));
    for (uint32_t i = 0; i < m->sites; i++) {
        *slot_of(m, m->site[i].id) = i + 1;
    }
}

static struct pt_model_site *site_of(struct pt_model *m, const struct pt_site *s, const struct pt_natives *natives)
{
    make_slots(m);
    uint64_t id = id_of(s, natives);
    uint32_t *slot = slot_of(m, id);
    if (*slot != 0) {
        return &m->site[*slot - 1];
    }
    m->site = pt_model_grow(m->site, m->sites, sizeof *m->site);
    struct pt_model_site *to = &m->site[m->sites++];
    *slot = m->sites;
    *to = (struct pt_model_site){.id = id,
                                 .symbol = copy(s->symbol),
                                 .object = copy(s->object),
                                 .frames = s->frames_count,
                                 .top = pt_place_top(s),
                                 .frame = need(calloc(s->frames_count + 1, sizeof *to->frame))};
    for (unsigned i = 0; i < s->frames_count; i++) {
        const struct pt_frame *f = &s->frames[i];
        to->frame[i] = (struct pt_model_frame){copy(f->file), copy(f->function), f->line, (s->library >> i & 1) == 0};
    }
    return to;
}

const struct pt_model_site *pt_model_find(const struct pt_model *m, uint64_t id)
{
    uint32_t found = m->slots > 0 ? *slot_of(m, id) : 0;
    return found != 0 ? &m->site[found - 1] : NULL;
}

/* ---- what is said of it ---- */

static void add_sum(struct pt_model_sum *to, const struct pt_model_sum *x)
{
    to->blocks += x->blocks;
    to->bytes += x->bytes;
    to->locked += x->locked;
}

static void add_words(struct pt_model_words *to, const struct pt_model_words *x)
{
    add_sum(&to->growing, &x->growing);
    add_sum(&to->reclaimed, &x->reclaimed);
    add_sum(&to->held, &x->held);
    add_sum(&to->peak, &x->peak);
}

static struct pt_model_words words_of(const struct pt_site *s)
{
    struct pt_at_peak peak = pt_counters_at_peak(&pt_table()->counters, s);
    struct pt_model_sum alive = {s->held, s->held_bytes, s->held_locked};
    struct pt_model_words w = {.reclaimed = {s->reclaimed, s->reclaimed_bytes, s->reclaimed_locked},
                               .peak = {peak.blocks, peak.bytes, peak.locked}};
    *(s->growing ? &w.growing : &w.held) = alive;
    return w;
}

static uint64_t after(uint64_t ns, uint64_t begin)
{
    return ns > begin ? ns - begin : 0;
}

static void add_held_by(struct pt_model_share *x, const struct pt_report *r, uint32_t row)
{
    for (uint32_t i = 0; i < r->held_bys; i++) {
        if (r->held_by[i].row == row) {
            x->held_by = need(realloc(x->held_by, (x->held_bys + 1) * sizeof *x->held_by));
            x->held_by[x->held_bys++] = r->held_by[i];
        }
    }
}

static void add_share(struct pt_model *m, const struct pt_report *r, uint32_t row)
{
    const struct pt_site *s = &r->site[row];
    uint32_t process = m->processes - 1;
    struct pt_model_site *site = site_of(m, s, pt_table_natives(row));
    struct pt_model_words w = words_of(s);
    add_words(&site->sum, &w);
    add_words(&m->process[process].sum, &w);
    if (site->last != 0 && m->share[site->last].process == process) { /* two rows of which nothing is known */
        add_words(&m->share[site->last].words, &w);
        m->share[site->last].allocated += s->allocated;
        return;
    }
    m->shares += m->shares == 0;
    m->share = pt_model_grow(m->share, m->shares == 1 ? 0 : m->shares, sizeof *m->share);
    uint64_t begin = pt_table()->born_ns;
    m->share[m->shares] = (struct pt_model_share){
        .process = process,
        .dtype = s->dtype,
        .door = s->door,
        .thread = s->thread,
        .smallest = s->smallest <= s->largest ? s->smallest : s->largest,
        .largest = s->largest,
        .allocated = s->allocated,
        .freed = s->freed,
        .rises = s->rises,
        .step = pt_growth_step(s),
        .first_ns = after(s->first_ns, begin),
        .last_ns = after(s->last_ns, begin),
        .words = w,
    };
    add_held_by(&m->share[m->shares], r, row);
    *(site->last != 0 ? &m->share[site->last].next : &site->first) = m->shares;
    site->last = m->shares++;
}

static uint64_t known_id(uint32_t number)
{
    return number != 0 && pt_table_site_is(number) ? id_of(pt_table_site(number), pt_table_natives(number)) : 0;
}

static uint64_t known_site(struct pt_model *m, uint32_t number)
{
    uint64_t id = known_id(number);
    if (id != 0) {
        (void)site_of(m, pt_table_site(number),
                      pt_table_natives(number)); /* where nothing was allocated, it is known for this alone */
    }
    return id;
}

static void add_misuse(struct pt_model *m, const struct pt_misuse *from)
{
    m->misuse = pt_model_grow(m->misuse, m->misuses, sizeof *m->misuse);
    m->misuse[m->misuses++] = (struct pt_model_misuse){.process = m->processes - 1,
                                                       .kind = from->kind,
                                                       .times = from->count,
                                                       .site = known_site(m, from->site),
                                                       .alloc_site = known_site(m, from->alloc_site),
                                                       .release_site = known_site(m, from->release_site)};
}

static void add_others_line(struct pt_model *m, const struct pt_foreign *from)
{
    struct pt_foreign_share peak = pt_foreign_at_peak(pt_table(), from);
    if (from->pinned == 0) {
        return;
    }
    m->others = pt_model_grow(m->others, m->others_lines, sizeof *m->others);
    m->others[m->others_lines++] = (struct pt_model_others_line){.process = m->processes - 1,
                                                                 .call = from->call,
                                                                 .site = known_site(m, from->site),
                                                                 .pinned = from->pinned,
                                                                 .live = from->live,
                                                                 .live_bytes = from->live_bytes,
                                                                 .peak = peak.blocks,
                                                                 .peak_bytes = peak.bytes};
}

static void add_others(struct pt_model *m)
{
    const struct pt_foreign_sum *f = &pt_table()->foreign;
    m->process[m->processes - 1].others = (struct pt_model_others){.pinned = f->pinned,
                                                                   .missed = f->missed,
                                                                   .live = f->live,
                                                                   .live_bytes = f->live_bytes,
                                                                   .peak = f->peak,
                                                                   .peak_bytes = f->peak_bytes,
                                                                   .peak_ours = f->peak_ours};
    for (uint32_t row = PT_FOREIGN_OTHER; row < f->rows; row++) {
        struct pt_foreign line = pt_foreign_row(pt_table(), row);
        add_others_line(m, &line);
    }
}

void pt_model_add(struct pt_model *m, const struct pt_tables_one *one)
{
    const struct pt_table *t = pt_table();
    const struct pt_report *r = &one->report;
    const struct pt_counters *c = r->counters;
    m->process = pt_model_grow(m->process, m->processes, sizeof *m->process);
    m->process[m->processes++] = (struct pt_model_process){
        .path = need(strdup(one->path)),
        .host = copy(t->host),
        .program = copy(t->program),
        .pid = t->pid,
        .rank = t->rank,
        .state = one->state,
        .cut_short = t->cut_short != 0,
        .run_ns = after(t->exit_ns != 0 ? t->exit_ns : r->now_ns, t->born_ns),
        .peak_asked = c->peak_bytes,
        .peak_locked = c->at_peak_locked,
        .peak_stock = c->at_peak_stock,
        .peak_pow2 = c->at_peak_pow2,
        .allocated = c->allocated,
        .reused = c->reused,
        .pageable = c->pageable,
    };
    pt_history_copy(t, t->exit_ns != 0 ? t->exit_ns : r->now_ns, &m->process[m->processes - 1].history);
    for (uint32_t row = 0; row < r->sites; row++) {
        if (r->site[row].allocated > 0 || r->site[row].held > 0) {
            add_share(m, r, row);
        }
    }
    for (uint32_t i = 0; i < r->misuses; i++) {
        add_misuse(m, &r->misuse[i]);
    }
    add_others(m);
}

/* ---- all of it ---- */

static int compare(uint64_t a, uint64_t b)
{
    return a < b ? 1 : a > b ? -1 : 0;
}

static int worse(const void *a, const void *b)
{
    const struct pt_model_site *s = a, *o = b;
    const struct pt_model_words *x = &s->sum, *y = &o->sum;
    int by = compare(x->growing.locked + x->reclaimed.locked, y->growing.locked + y->reclaimed.locked);
    by = by != 0 ? by
                 : compare(x->held.locked > x->peak.locked ? x->held.locked : x->peak.locked,
                           y->held.locked > y->peak.locked ? y->held.locked : y->peak.locked);
    return by != 0 ? by : compare(o->id, s->id);
}

void pt_model_sort(struct pt_model *m)
{
    if (m->sites > 1) {
        qsort(m->site, m->sites, sizeof *m->site, worse);
    }
    free(m->slot);
    m->slot = NULL;
    m->slots = 0;
}

unsigned pt_model_found(const struct pt_model_words *w)
{
    return (w->growing.blocks > 0 ? PT_FAIL_GROWING : 0u) | (w->reclaimed.blocks > 0 ? PT_FAIL_RECLAIMED : 0u) |
           (w->held.blocks > 0 ? PT_FAIL_HELD : 0u);
}

unsigned pt_model_found_all(const struct pt_model *m)
{
    unsigned found = m->misuses > 0 ? PT_FAIL_MISUSED : 0;
    for (uint32_t i = 0; i < m->processes; i++) {
        found |= pt_model_found(&m->process[i].sum);
    }
    return found;
}

static void add_frame(const struct pt_model_frame *f, struct pt_text *out)
{
    pt_text_add(out, f->line > 0 ? "%s:%u" : "%s", f->file, f->line);
    pt_text_add(out, "  %s", f->function);
}

void pt_model_place(const struct pt_model_site *s, struct pt_text *out)
{
    if (s->top >= 0) {
        add_frame(&s->frame[s->top], out);
        if ((unsigned)s->top + 1 < s->frames) { /* the first may be a wrapper that all go through */
            pt_text_add(out, "  from ");
            add_frame(&s->frame[s->top + 1], out);
        }
    } else if (*s->object != '\0' || *s->symbol != '\0') {
        pt_text_add(out, "%s  %s", s->object, s->symbol);
    } else {
        pt_text_add(out, "(no stack was recorded)");
    }
}
