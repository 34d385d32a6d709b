#include "cli/report_suppress.h"

#include "base/options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- the file ---- */

static bool add(struct pt_suppressions *s, const char *pattern)
{
    size_t n = strlen(pattern);
    bool begins = pattern[0] == '^', ends = n > 1 && pattern[n - 1] == '$';
    struct pt_suppression x = {.pattern = strdup(pattern)};
    if (x.pattern == NULL || asprintf(&x.whole, "%s%.*s%s", begins ? "" : "*", (int)(n - begins - ends),
                                      pattern + begins, ends ? "" : "*") < 0) {
        return false;
    }
    s->one = pt_model_grow(s->one, s->count, sizeof *s->one);
    s->one[s->count++] = x;
    return true;
}

static char *trim(char *line)
{
    size_t n = strlen(line);
    while (n > 0 && isspace((unsigned char)line[n - 1])) {
        line[--n] = '\0';
    }
    return line + strspn(line, " \t");
}

bool pt_suppressions_read(struct pt_suppressions *s, const char *path)
{
    FILE *file = fopen(path, "re");
    char *buffer = NULL;
    size_t size = 0;
    bool good = file != NULL;
    errno = file != NULL ? 0 : errno;
    for (unsigned number = 1; good && getline(&buffer, &size, file) >= 0; number++) {
        char *line = trim(buffer);
        if (*line == '\0' || *line == '#') {
            continue;
        }
        if (strncmp(line, "leak:", 5) != 0 || line[5] == '\0') {
            fprintf(stderr, "pintensor: %s:%u: no suppression: they are written leak:PATTERN\n", path, number);
            good = false;
        } else {
            good = add(s, line + 5);
        }
    }
    if (file == NULL || ferror(file)) {
        fprintf(stderr, "pintensor: %s: %s\n", path, strerror(errno));
        good = false;
    }
    free(buffer);
    if (file != NULL) {
        fclose(file);
    }
    return good;
}

/* ---- what they name ---- */

static bool matches(const char *pattern, const char *s, size_t n)
{
    const char *end = s + n, *star = NULL, *back = s;
    while (s < end) {
        if (*pattern == '*') {
            star = ++pattern;
            back = s;
        } else if (*pattern == *s) { /* `s` holds no NUL */
            pattern++;
            s++;
        } else if (star != NULL) {
            pattern = star;
            s = ++back;
        } else {
            return false;
        }
    }
    return pattern[strspn(pattern, "*")] == '\0';
}

/* "until_the_end+0x2a": without the offset. */
static size_t name_length(const char *s)
{
    const char *plus = strstr(s, "+0x");
    return plus != NULL ? (size_t)(plus - s) : strlen(s);
}

static bool names(const struct pt_suppression *x, uint32_t string)
{
    const char *s = pt_table_string(string);
    return *s != '\0' && matches(x->whole, s, name_length(s));
}

static struct pt_suppression *find(struct pt_suppressions *s, const struct pt_site *site)
{
    for (uint32_t i = 0; i < s->count; i++) {
        struct pt_suppression *x = &s->one[i];
        bool found = names(x, site->symbol) || names(x, site->object);
        for (unsigned f = 0; !found && f < site->frames_count; f++) {
            found = names(x, site->frames[f].function) || names(x, site->frames[f].file);
        }
        if (found) {
            return x;
        }
    }
    return NULL;
}

static void silence(struct pt_suppression *x, struct pt_site *site)
{
    x->blocks += site->held + site->reclaimed;
    x->bytes += site->held_bytes + site->reclaimed_bytes;
    site->growing = 0;
    site->held = site->held_bytes = site->held_locked = 0;
    site->reclaimed = site->reclaimed_bytes = site->reclaimed_locked = 0;
}

void pt_suppressions_apply(struct pt_suppressions *s, struct pt_tables_one *one)
{
    struct pt_table *t = pt_table();
    struct pt_report *r = &one->report;
    for (uint32_t row = 0; row < r->sites && s->count > 0; row++) {
        struct pt_site *site = pt_table_site(row);
        struct pt_suppression *x = site->held > 0 || site->reclaimed > 0 ? find(s, site) : NULL;
        if (x != NULL) {
            silence(x, site);
        }
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < r->misuses; i++) {
        struct pt_suppression *x = find(s, pt_table_site(t->misuse[i].site));
        if (x != NULL) {
            x->misuses += t->misuse[i].count;
        } else {
            t->misuse[kept++] = t->misuse[i];
        }
    }
    r->misuses = kept;
}

void pt_suppressions_tell(const struct pt_suppressions *s, FILE *out)
{
    bool any = false;
    for (uint32_t i = 0; i < s->count; i++) {
        const struct pt_suppression *x = &s->one[i];
        if (x->blocks + x->misuses > 0) {
            if (!any) {
                fprintf(out, "Suppressions used:\n%7s %10s %s\n", "count", "bytes", "template");
            }
            fprintf(out, "%7" PRIu64 " %10" PRIu64 " %s\n", x->blocks + x->misuses, x->bytes, x->pattern);
            any = true;
        }
    }
}

/* ---- writing some ---- */

/* A name that outlives a change of lines: the function that asked; code outside of functions goes by its file. */
static const char *name_of(const struct pt_model_site *s)
{
    if (s->top >= 0) {
        const struct pt_model_frame *f = &s->frame[s->top];
        return f->function[0] != '<' && f->function[0] != '\0' ? f->function : f->file;
    }
    return *s->symbol != '\0' ? s->symbol : s->object;
}

static void comment(const struct pt_model_site *s, const char *word, const struct pt_model_sum *x, FILE *out)
{
    char buf[1024];
    struct pt_text t;
    if (x->blocks > 0) {
        pt_text_init(&t, buf, sizeof buf, -1);
        pt_text_add(&t, "# %s %B in %N block%s: ", word, x->bytes, x->blocks, x->blocks == 1 ? "" : "s");
        pt_model_place(s, &t);
        fprintf(out, "%s\n", buf);
    }
}

void pt_suppressions_print(const struct pt_model *m, unsigned words, FILE *out)
{
    const char **done = NULL;
    uint32_t count = 0;
    for (uint32_t i = 0; i < m->sites; i++) {
        const struct pt_model_site *s = &m->site[i];
        const char *name = name_of(s);
        unsigned found = pt_model_found(&s->sum) & words;
        if (found == 0 || *name == '\0') {
            continue;
        }
        comment(s, "GROWING", (found & PT_FAIL_GROWING) != 0 ? &s->sum.growing : &(struct pt_model_sum){0}, out);
        comment(s, "RECLAIMED", (found & PT_FAIL_RECLAIMED) != 0 ? &s->sum.reclaimed : &(struct pt_model_sum){0}, out);
        comment(s, "HELD", (found & PT_FAIL_HELD) != 0 ? &s->sum.held : &(struct pt_model_sum){0}, out);
        size_t length = name_length(name);
        bool known = false;
        for (uint32_t n = 0; !known && n < count; n++) {
            known = name_length(done[n]) == length && strncmp(done[n], name, length) == 0;
        }
        if (!known) {
            fprintf(out, "leak:^%.*s$\n", (int)length, name);
            done = pt_model_grow(done, count, sizeof *done);
            done[count++] = name;
        }
    }
    free(done);
}
