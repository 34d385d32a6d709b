#include "report/report.h"

#include "base/dtype.h"
#include "base/log.h"
#include "base/options.h"
#include "ledger/growth.h"
#include "report/misuse.h"
#include "trace/site.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHOWN_MOST 20 /* sites a section: the rest is summed up */
#define STACK_MOST 4  /* the user's own frames of a site that lost memory; half of that for one that held it */
#define INDENT "                 "

/* What a section says of a site. */
struct share {
    uint64_t blocks, bytes, locked;
};

static struct share growing(const struct pt_site *s)
{
    return s->growing ? (struct share){s->held, s->held_bytes, s->held_locked} : (struct share){0, 0, 0};
}

static struct share reclaimed(const struct pt_site *s)
{
    return (struct share){s->reclaimed, s->reclaimed_bytes, s->reclaimed_locked};
}

/* What growing and reclaimed have in common: a site may be both. */
static struct share lost(const struct pt_site *s)
{
    struct share a = growing(s), b = reclaimed(s);
    return (struct share){a.blocks + b.blocks, a.bytes + b.bytes, a.locked + b.locked};
}

static struct share held(const struct pt_site *s)
{
    return s->growing ? (struct share){0, 0, 0} : (struct share){s->held, s->held_bytes, s->held_locked};
}

/* The sites of a section, those with the most locked bytes first; and the sum over all of them. */
struct section {
    unsigned sites, shown;
    uint32_t site[SHOWN_MOST];
    struct share share[SHOWN_MOST], sum;
};

static struct section collect(struct share (*of)(const struct pt_site *))
{
    struct section c = {0};
    uint32_t sites = atomic_load(&pt_table()->sites);
    for (uint32_t number = 0; number < sites; number++) {
        struct share x = of(pt_table_site(number));
        if (x.blocks == 0) {
            continue;
        }
        c.sites++;
        c.sum.blocks += x.blocks;
        c.sum.bytes += x.bytes;
        c.sum.locked += x.locked;
        unsigned at = c.shown < SHOWN_MOST ? c.shown++ : SHOWN_MOST;
        while (at > 0 && c.share[at - 1].locked < x.locked) {
            if (at < SHOWN_MOST) {
                c.share[at] = c.share[at - 1];
                c.site[at] = c.site[at - 1];
            }
            at--;
        }
        if (at < SHOWN_MOST) {
            c.share[at] = x;
            c.site[at] = number;
        }
    }
    return c;
}

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

static void write_share(struct pt_text *out, const struct share *x)
{
    pt_text_add(out, "%B in %N block%s", x->bytes, x->blocks, plural(x->blocks));
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

static void write_kind(struct pt_text *out, const struct pt_site *s)
{
    static const char *const doors[] = {"the C interface", "DeepSpeed's manager", "torch"};
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
    pt_site_frame(f, out);
    pt_text_add(out, "\n");
}

/* The user's own lines, then how it came there: the innermost that is not the user's, and what is native. */
static void write_stack(struct pt_text *out, uint32_t number, unsigned most)
{
    const struct pt_site *s = pt_table_site(number);
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
        pt_text_add(out, INDENT "in %s  %s\n", pt_table_string(s->object), pt_table_string(s->symbol));
    } else if (s->frames_count == 0 && s->object == 0) {
        pt_text_add(out, INDENT "(no stack was recorded)\n");
    }
}

static void write_rest(struct pt_text *out, const struct section *c)
{
    if (c->sites > c->shown) {
        pt_text_add(out, "             and %u more site%s\n", c->sites - c->shown, plural(c->sites - c->shown));
    }
}

/* Allocations may come after exit began: nothing is younger than now. */
static uint64_t since(uint64_t ns)
{
    uint64_t now = pt_table()->now_ns;
    return now > ns ? now - ns : 0;
}

static void write_growing(struct pt_text *out)
{
    struct section c = collect(growing);
    for (unsigned i = 0; i < c.shown; i++) {
        const struct pt_site *s = pt_table_site(c.site[i]);
        uint64_t gone = s->allocated - s->live;
        uint64_t freed = gone > s->reclaimed ? gone - s->reclaimed : 0;
        pt_text_add(out, "  GROWING    ");
        write_share(out, &c.share[i]);
        pt_text_add(out, ", %B more each time, ", pt_growth_step(s));
        pt_text_add(out, freed == 0 ? "none freed\n" : "%N freed\n", freed);
        pt_text_add(out, INDENT);
        write_kind(out, s);
        pt_text_add(out, ", oldest %T\n", since(s->oldest_ns));
        write_stack(out, c.site[i], STACK_MOST);
    }
    write_rest(out, &c);
}

static void write_reclaimed(struct pt_text *out)
{
    struct section c = collect(reclaimed);
    for (unsigned i = 0; i < c.shown; i++) {
        const struct pt_site *s = pt_table_site(c.site[i]);
        pt_text_add(out, "  RECLAIMED  ");
        write_share(out, &c.share[i]);
        pt_text_add(out, ", dropped without free(): stock DeepSpeed never gives these back\n" INDENT);
        write_kind(out, s);
        pt_text_add(out, ", last one made %T ago\n", since(s->last_ns));
        write_stack(out, c.site[i], STACK_MOST);
    }
    write_rest(out, &c);
}

static void write_held(struct pt_text *out)
{
    struct section c = collect(held);
    if (c.sites == 0) {
        return;
    }
    pt_text_add(out, "  HELD       ");
    write_share(out, &c.sum);
    pt_text_add(out, " from %u site%s%s\n", c.sites, plural(c.sites),
                pt_table()->exit_ns != 0 ? ", alive when exit began: given back now" : ", alive now");
    for (unsigned i = 0; i < c.shown; i++) {
        const struct pt_site *s = pt_table_site(c.site[i]);
        pt_text_add(out, "             ");
        write_share(out, &c.share[i]);
        pt_text_add(out, ", ");
        write_kind(out, s);
        pt_text_add(out, ", oldest %T\n", since(s->oldest_ns));
        write_stack(out, c.site[i], STACK_MOST / 2);
    }
    write_rest(out, &c);
}

static uint64_t write_misused(struct pt_text *out)
{
    struct pt_table *t = pt_table();
    uint32_t used = atomic_load(&t->misuses);
    uint64_t calls = 0;
    for (uint32_t i = 0; i < used; i++) {
        const struct pt_misuse *m = &t->misuse[i];
        calls += m->count;
        pt_text_add(out, "  MISUSED    %u time%s: free() of an address that %s; nothing was changed\n" INDENT, m->count,
                    plural(m->count), pt_misuse_name(m->kind));
        pt_site_place(m->site, out);
        pt_text_add(out, "\n");
        if (m->alloc_site != 0) {
            pt_text_add(out, INDENT "the block came from  ");
            pt_site_place(m->alloc_site, out);
            pt_text_add(out, "\n");
        }
        if (m->release_site != 0) {
            pt_text_add(out, INDENT "it was freed at  ");
            pt_site_place(m->release_site, out);
            pt_text_add(out, "\n");
        }
    }
    return calls;
}

static void write_first_line(struct pt_text *out, unsigned losing)
{
    struct pt_table *t = pt_table();
    struct pt_counters *c = &t->counters;
    pt_text_add(out, t->rank >= 0 ? "pintensor: rank %d (pid %d): " : "pintensor: pid %d: ",
                t->rank >= 0 ? t->rank : t->pid, t->pid);
    if (losing > 0) {
        pt_text_add(out, "%u site%s pinned memory", losing, losing == 1 ? " loses" : "s lose");
    } else {
        pt_text_add(out, "no pinned memory lost");
    }
    pt_text_add(out, "; peak %B locked for %B asked\n", c->at_peak_locked, c->peak_bytes);
}

static bool used(enum pt_door door)
{
    uint32_t count = atomic_load(&pt_table()->sites);
    bool any = false;
    for (uint32_t number = 0; number < count && !any; number++) {
        any = pt_table_site(number)->allocated > 0 && pt_table_site(number)->door == (uint8_t)door;
    }
    return any;
}

static void write_last_line(struct pt_text *out)
{
    struct pt_counters *c = &pt_table()->counters;
    bool torch = used(PT_DOOR_TORCH), others = used(PT_DOOR_DEEPSPEED) || used(PT_DOOR_C);
    pt_text_add(out, "  The same peak takes %B under stock %s", c->at_peak_stock,
                !torch ? "DeepSpeed" : others ? "DeepSpeed and torch" : "torch");
    if (!torch) {
        pt_text_add(out, ", %B rounded to powers of two", c->at_peak_pow2);
    }
    pt_text_add(out, ". %N of %N block%s came from memory locked before.\n", c->reused, c->allocated, plural(c->allocated));
    if (c->pageable > 0) {
        pt_text_add(out, "  %N block%s could not be locked and stayed pageable (PINTENSOR_ON_LIMIT=pageable).\n",
                    c->pageable, plural(c->pageable));
    }
}

unsigned pt_report_write(struct pt_text *out)
{
    write_first_line(out, collect(lost).sites);
    write_growing(out);
    write_reclaimed(out);
    write_held(out);
    uint64_t misused = write_misused(out);
    write_last_line(out);
    return (collect(growing).sites > 0 ? PT_FAIL_GROWING : 0u) | (collect(reclaimed).sites > 0 ? PT_FAIL_RECLAIMED : 0u) |
           (collect(held).sites > 0 ? PT_FAIL_HELD : 0u) | (misused > 0 ? PT_FAIL_MISUSED : 0u);
}

/* Where a relative PINTENSOR_REPORT begins: the program may change its directory before it ends. */
static char directory[4096];

__attribute__((constructor)) static void remember_directory(void)
{
    const char *pattern = getenv("PINTENSOR_REPORT");
    if (pattern != NULL && pattern[0] != '\0' && pattern[0] != '/' && getcwd(directory, sizeof directory) == NULL) {
        directory[0] = '\0';
    }
}

static void write_path(struct pt_text *t, const char *pattern)
{
    if (pattern[0] != '/' && directory[0] != '\0') {
        pt_text_add(t, "%s/", directory);
    }
    for (const char *p = pattern; *p != '\0'; p++) {
        if (p[0] == '%' && p[1] == 'p') {
            pt_text_add(t, "%d", pt_table()->pid);
            p++;
        } else if (p[0] == '%' && p[1] == 'r') {
            pt_text_add(t, "%d", pt_table()->rank >= 0 ? pt_table()->rank : 0);
            p++;
        } else {
            char one[2] = {*p, '\0'};
            pt_text_add(t, "%s", one);
        }
    }
}

int pt_report_open(void)
{
    static char path[2 * sizeof directory];
    const char *pattern = pt_option_text(PT_OPTION_REPORT);
    if (pattern[0] == '\0') {
        return pt_log_fd();
    }
    struct pt_text t;
    pt_text_init(&t, path, sizeof path, -1);
    write_path(&t, pattern);
    /* A pipe without a reader is an error, and no terminal becomes this process's. */
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
    if (fd < 0) {
        pt_log("cannot write the report to %s (errno %d): here it is instead", path, errno);
        return pt_log_fd();
    }
    return fd;
}
