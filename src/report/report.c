#include "report/report.h"

#include "base/dtype.h"
#include "base/kept.h"
#include "base/log.h"
#include "base/options.h"
#include "base/path.h"
#include "base/sandbox.h"
#include "ledger/counters.h"
#include "ledger/growth.h"
#include "ledger/place.h"
#include "report/beside.h"
#include "report/misuse.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHOWN_MOST 20 /* sites a section: the rest is summed up */
#define STACK_MOST 4  /* the user's own frames of a site that lost memory; half of that for one that held it */
#define INDENT     "                 "

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

static struct share share_of(const struct pt_report *r, uint32_t number, struct share (*of)(const struct pt_site *))
{
    struct pt_site s;
    pt_table_copy_site(&r->site[number], &s);
    return of(&s);
}

/* Held, and made bit by bit: likely buffers of a start, which no program can tell for sure. */
static struct share held_and_rose(const struct pt_site *s)
{
    return pt_growth_rose_often(s) ? held(s) : (struct share){0, 0, 0};
}

static struct share at_peak(const struct pt_site *s)
{
    struct pt_at_peak x = pt_counters_at_peak(&pt_table()->counters, s);
    return (struct share){x.blocks, x.bytes, x.locked};
}

/* The sites of a section, those with the most locked bytes first; and the sum over all of them. */
struct section {
    unsigned sites, shown;
    uint32_t site[SHOWN_MOST];
    struct share share[SHOWN_MOST], sum;
};

static struct section collect(const struct pt_report *r, struct share (*of)(const struct pt_site *))
{
    struct section c = {0};
    for (uint32_t number = 0; number < r->sites; number++) {
        struct share x = share_of(r, number, of);
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
static uint64_t since(const struct pt_report *r, uint64_t ns)
{
    return r->now_ns > ns ? r->now_ns - ns : 0;
}

static void write_rises(const struct pt_report *r, struct pt_text *out, const struct pt_site *s)
{
    uint64_t rises = s->rises;
    pt_text_add(out, "; rose %N time%s, last %T ", rises, plural(rises), since(r, s->rise_ns));
    pt_text_add(out, r->ended ? "before the end" : "ago");
}

static __attribute__((noinline)) void write_growing(const struct pt_report *r, struct pt_text *out)
{
    struct section c = collect(r, growing);
    for (unsigned i = 0; i < c.shown; i++) {
        struct pt_site copy;
        const struct pt_site *s = &copy; /* other threads may go on */
        pt_table_copy_site(&r->site[c.site[i]], &copy);
        pt_text_add(out, "  GROWING    ");
        write_share(out, &c.share[i]);
        pt_text_add(out, ", %B more each time, ", pt_growth_step(s));
        pt_text_add(out, s->freed == 0 ? "none freed" : "%N freed", s->freed);
        write_rises(r, out, s);
        pt_text_add(out, "\n");
        pt_text_add(out, INDENT);
        write_kind(out, s);
        pt_text_add(out, ", oldest %T\n", since(r, s->oldest_ns));
        write_stack(out, s, STACK_MOST);
    }
    write_rest(out, &c);
}

static __attribute__((noinline)) void write_reclaimed(const struct pt_report *r, struct pt_text *out)
{
    struct section c = collect(r, reclaimed);
    for (unsigned i = 0; i < c.shown; i++) {
        struct pt_site copy;
        const struct pt_site *s = &copy; /* other threads may go on */
        pt_table_copy_site(&r->site[c.site[i]], &copy);
        pt_text_add(out, "  RECLAIMED  ");
        write_share(out, &c.share[i]);
        pt_text_add(out, ", dropped without free(): stock DeepSpeed never gives these back\n" INDENT);
        write_kind(out, s);
        pt_text_add(out, ", last one made %T ago\n", since(r, s->last_ns));
        write_stack(out, s, STACK_MOST);
    }
    write_rest(out, &c);
}

/* The sites of a section whose memory is not lost, and what they have in common. */
static __attribute__((noinline)) void write_section(const struct pt_report *r, struct pt_text *out, const char *word,
                                                    struct share (*of)(const struct pt_site *), const char *when)
{
    struct section c = collect(r, of);
    if (c.sites == 0) {
        return;
    }
    pt_text_add(out, "  %-10s ", word);
    write_share(out, &c.sum);
    pt_text_add(out, " from %u site%s, %s\n", c.sites, plural(c.sites), when);
    for (unsigned i = 0; i < c.shown; i++) {
        struct pt_site copy;
        const struct pt_site *s = &copy; /* other threads may go on */
        pt_table_copy_site(&r->site[c.site[i]], &copy);
        pt_text_add(out, "             ");
        write_share(out, &c.share[i]);
        pt_text_add(out, ", ");
        write_kind(out, s);
        if (of == held) {
            pt_text_add(out, ", oldest %T", since(r, s->oldest_ns));
            if (pt_growth_rose_often(s)) {
                write_rises(r, out, s);
            }
        }
        pt_text_add(out, "\n");
        write_stack(out, s, STACK_MOST / 2);
    }
    write_rest(out, &c);
}

static uint64_t write_misused(const struct pt_report *r, struct pt_text *out)
{
    uint64_t calls = 0;
    for (uint32_t i = 0; i < r->misuses; i++) {
        const struct pt_misuse *m = &r->misuse[i];
        uint32_t times = PT_GET(m->count);
        calls += times;
        pt_text_add(out, "  MISUSED    %u time%s: free() of an address that %s; nothing was changed\n" INDENT, times,
                    plural(times), pt_misuse_name(m->kind));
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
    return calls;
}

static __attribute__((noinline)) unsigned count(const struct pt_report *r, struct share (*of)(const struct pt_site *))
{
    unsigned sites = 0;
    for (uint32_t number = 0; number < r->sites; number++) {
        sites += share_of(r, number, of).blocks != 0;
    }
    return sites;
}

static void write_first_line(const struct pt_report *r, struct pt_text *out, unsigned losing)
{
    const struct pt_table *t = pt_table();
    const struct pt_counters *c = r->counters;
    pt_text_add(out,
                t->rank >= 0 ? "pintensor: rank %d (pid %d): " : "pintensor: pid %d: ", t->rank >= 0 ? t->rank : t->pid,
                t->pid);
    if (losing > 0) {
        pt_text_add(out, "%u site%s pinned memory", losing, losing == 1 ? " loses" : "s lose");
    } else {
        pt_text_add(out, count(r, held_and_rose) == 0 ? "no pinned memory lost"
                                                      : "no line was losing pinned memory at the end");
    }
    pt_text_add(out, "; peak %B locked for %B asked\n", c->at_peak_locked, c->peak_bytes);
}

static bool used(const struct pt_report *r, enum pt_door door)
{
    bool any = (pt_table()->doors_retired >> door & 1) != 0;
    for (uint32_t number = 0; number < r->sites && !any; number++) {
        any = PT_GET(r->site[number].allocated) > 0 && PT_GET(r->site[number].door) == (uint8_t)door;
    }
    return any;
}

static void write_last_line(const struct pt_report *r, struct pt_text *out)
{
    const struct pt_counters *c = r->counters;
    bool torch = used(r, PT_DOOR_TORCH), others = used(r, PT_DOOR_DEEPSPEED) || used(r, PT_DOOR_C);
    pt_text_add(out, "  The same peak takes %B under stock %s", c->at_peak_stock,
                !torch   ? "DeepSpeed"
                : others ? "DeepSpeed and torch"
                         : "torch");
    if (!torch) {
        pt_text_add(out, ", %B rounded to powers of two", c->at_peak_pow2);
    }
    pt_text_add(out, ". %N of %N block%s came from memory locked before.\n", c->reused, c->allocated,
                plural(c->allocated));
    if (c->pageable > 0) {
        pt_text_add(out, "  %N block%s could not be locked and stayed pageable (PINTENSOR_ON_LIMIT=pageable).\n",
                    c->pageable, plural(c->pageable));
    }
}

unsigned pt_report_write(const struct pt_report *r, struct pt_text *out)
{
    write_first_line(r, out, count(r, lost));
    write_growing(r, out);
    write_reclaimed(r, out);
    write_section(r, out, "HELD", held,
                  r->ended    ? "alive when exit began: given back now"
                  : r->killed ? "alive when it was killed"
                              : "alive now");
    if (r->peak) {
        write_section(r, out, "PEAK", at_peak, "when most was alive");
    }
    uint64_t misused = write_misused(r, out);
    pt_beside_write(out);
    if (r->counters->allocated > 0) {
        write_last_line(r, out);
    }
    return (count(r, growing) > 0 ? PT_FAIL_GROWING : 0u) | (count(r, reclaimed) > 0 ? PT_FAIL_RECLAIMED : 0u) |
           (count(r, held) > 0 ? PT_FAIL_HELD : 0u) | (misused > 0 ? PT_FAIL_MISUSED : 0u);
}

__attribute__((noinline)) struct pt_report_lost pt_report_lost(const struct pt_report *r)
{
    struct pt_report_lost all = {0};
    for (uint32_t number = 0; number < r->sites; number++) {
        struct share x = share_of(r, number, lost);
        all.sites += x.blocks != 0;
        all.bytes += x.bytes;
    }
    return all;
}

void pt_report_of_table(struct pt_report *r)
{
    struct pt_table *t = pt_table();
    *r = (struct pt_report){.site = pt_table_site(0),
                            .sites = atomic_load(&t->sites),
                            .counters = &t->counters,
                            .misuse = t->misuse,
                            .misuses = atomic_load(&t->misuses),
                            .now_ns = t->now_ns,
                            .ended = t->exit_ns != 0};
}

static struct pt_kept kept;
static char path[PT_PATH_MOST]; /* empty: it goes to stderr */

/* A pipe without a reader is an error, and no terminal becomes this process's. */
static int open_file(void)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
}

static bool name_file(void)
{
    const char *pattern = pt_option_text(PT_OPTION_REPORT);
    struct pt_text t;
    pt_text_init(&t, path, sizeof path, -1);
    if (pattern[0] != '\0') {
        pt_path_add(&t, pattern, pt_table()->pid, pt_table()->rank);
    }
    return pattern[0] != '\0';
}

void pt_report_keep(void)
{
    struct stat is;
    pt_kept_close(&kept); /* in a forked child: its parent's */
    if (!name_file() || !pt_sandbox_may_open()) {
        return;
    }
    int fd = open_file();
    if (fd < 0 || fstat(fd, &is) != 0 || S_ISFIFO(is.st_mode)) { /* whose reader waits for the end */
        (void)(fd >= 0 && close(fd));
    } else {
        (void)pt_kept_take(&kept, fd);
    }
}

/* It may have been removed since, with a folder that a program makes anew. */
static int open_again(void)
{
    struct stat is;
    int fd = pt_kept_fd(&kept);
    if (fd >= 0 && fstat(fd, &is) == 0 && is.st_nlink > 0) {
        return fd;
    }
    errno = EPERM;
    return pt_sandbox_entered() ? -1 : open_file();
}

int pt_report_open_instead(int error)
{
    if (path[0] == '\0') {
        return -1;
    }
    pt_log("cannot write the report to %s (errno %d): here it is instead", path, error);
    return pt_log_fd();
}

int pt_report_open(void)
{
    if (path[0] == '\0') {
        return pt_log_fd();
    }
    int fd = open_again();
    return fd >= 0 ? fd : pt_report_open_instead(errno);
}

void pt_report_close(int fd)
{
    if (fd > STDERR_FILENO && fd != kept.fd) {
        (void)close(fd);
    }
}
