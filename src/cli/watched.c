#include "cli/watched.h"

#include "base/path.h"
#include "base/process.h"
#include "base/thread.h"
#include "ledger/table_peek.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { AGAIN_MS = 1000, GENERATIONS = 16 };

static int64_t now_ms(void)
{
    return pt_thread_now() / 1000000;
}

/* ---- one of them ---- */

static bool is_here(int fd, const struct pt_table *t)
{
    char host[256];
    pt_table_peek_string(fd, t, t->host, host, sizeof host);
    return pt_path_is_this_host(host);
}

/* The innermost line of the user's own, else the innermost there is. */
static void find_line(struct pt_watched *w, const struct pt_table *t)
{
    struct pt_site site;
    char file[200] = "", function[100] = "";
    w->line[0] = '\0';
    if (!pt_table_peek_largest(w->fd, t, &site)) {
        return;
    }
    uint32_t own = 0;
    while (own < site.frames_count && (site.library >> own & 1) != 0) {
        own++;
    }
    if (site.frames_count == 0) {
        pt_table_peek_string(w->fd, t, site.symbol, function, sizeof function);
        (void)snprintf(w->line, sizeof w->line, "%s", function);
        return;
    }
    const struct pt_frame *f = &site.frames[own < site.frames_count ? own : 0];
    pt_table_peek_string(w->fd, t, f->file, file, sizeof file);
    pt_table_peek_string(w->fd, t, f->function, function, sizeof function);
    if (f->line != 0) {
        (void)snprintf(w->line, sizeof w->line, "%s:%u  %s", file, f->line, function);
    } else {
        (void)snprintf(w->line, sizeof w->line, "%s", function);
    }
}

/* What a thread has yet to tell may take a sum below none. */
static uint64_t bytes(uint64_t n)
{
    return (int64_t)n > 0 ? n : 0;
}

static void close_it(struct pt_watched *w)
{
    if (w->fd >= 0) {
        close(w->fd);
    }
    w->fd = -1;
}

/* A table is read for the last time when its process has ended. A process of the same number that was started at
 * another time is another. */
static int look_at(struct pt_watched *w, int64_t now)
{
    struct pt_table t;
    int error = pt_table_peek(w->fd, &t);
    if (error != 0) {
        return error;
    }
    const struct pt_counters *c = &t.counters;
    w->pid = t.pid;
    w->rank = t.rank;
    w->live = bytes(c->live_bytes);
    w->cached = c->cached_locked;
    w->locked = bytes(c->live_locked) + w->cached;
    w->peak = c->peak_locked;
    w->others = bytes(t.foreign.live_bytes);
    w->state = t.exit_ns != 0                                                ? PT_WATCHED_ENDED
               : pt_process_runs(t.pid, t.start_ticks) && is_here(w->fd, &t) ? PT_WATCHED_RUNS
                                                                             : PT_WATCHED_KILLED;
    if (w->state != PT_WATCHED_RUNS) {
        return 0;
    }
    w->seen_running = true;
    if (w->looked_ms == 0 || now - w->looked_ms >= AGAIN_MS) {
        w->looked_ms = now;
        pt_table_peek_string(w->fd, &t, t.program, w->program, sizeof w->program);
        find_line(w, &t);
    }
    return 0;
}

/* ---- all of them ---- */

static bool known(const struct pt_watched_all *w, const char *name)
{
    for (size_t i = 0; i < w->count; i++) {
        if (strcmp(w->all[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* A file that is no table yet is tried again the next time. */
static void add(struct pt_watched_all *w, const char *directory, const char *name, int64_t now)
{
    struct pt_watched one = {.fd = -1};
    char path[PATH_MAX];
    _Static_assert(sizeof one.name >= sizeof((struct dirent *)NULL)->d_name, "a name of a file fits");
    if (snprintf(path, sizeof path, "%s/%s", directory, name) >= (int)sizeof path) {
        return;
    }
    strcpy(one.name, name);
    one.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (one.fd < 0 || look_at(&one, now) != 0) {
        close_it(&one);
        return;
    }
    struct pt_watched *more = reallocarray(w->all, w->count + 1, sizeof *more);
    if (more == NULL) {
        close_it(&one);
        return;
    }
    if (one.state != PT_WATCHED_RUNS) {
        close_it(&one);
    }
    w->all = more;
    more[w->count++] = one;
}

static int by_rank(const void *a, const void *b)
{
    const struct pt_watched *x = a, *y = b;
    return x->rank != y->rank ? (x->rank > y->rank) - (x->rank < y->rank) : (x->pid > y->pid) - (x->pid < y->pid);
}

static int scan(struct pt_watched_all *w, const char *directory, int64_t now)
{
    DIR *d = opendir(directory);
    if (d == NULL) {
        return -errno;
    }
    size_t before = w->count;
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        if (fnmatch("*.table", entry->d_name, 0) == 0 && !known(w, entry->d_name)) {
            add(w, directory, entry->d_name, now);
        }
    }
    closedir(d);
    if (w->count > before) {
        qsort(w->all, w->count, sizeof *w->all, by_rank);
    }
    return 0;
}

int pt_watched_look(struct pt_watched_all *w, const char *directory)
{
    int64_t now = now_ms();
    for (size_t i = 0; i < w->count; i++) {
        struct pt_watched *one = &w->all[i];
        if (one->fd >= 0 && look_at(one, now) != 0) {
            one->state = PT_WATCHED_KILLED;
        }
        if (one->state != PT_WATCHED_RUNS) {
            close_it(one);
        }
    }
    if (w->scanned_ms != 0 && now - w->scanned_ms < AGAIN_MS) {
        return 0;
    }
    w->scanned_ms = now;
    return scan(w, directory, now);
}

/* ---- whose ---- */

/* The table is mapped by the process that keeps it, under its whole path. */
static bool has_table(int pid, char *out, size_t cap)
{
    char path[64], *line = NULL;
    size_t size = 0;
    bool found = false;
    (void)snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *f = fopen(path, "re");
    while (f != NULL && !found && getline(&line, &size, f) > 0) {
        char *begins = strchr(line, '/'), *slash;
        if (begins != NULL && fnmatch("/*.table\n", begins, 0) == 0 && (slash = strrchr(begins, '/')) != NULL) {
            *(slash > begins ? slash : slash + 1) = '\0';
            found = snprintf(out, cap, "%s", begins) < (int)cap;
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    free(line);
    return found;
}

static bool descendant_has_table(int pid, char *out, size_t cap, unsigned left)
{
    char path[64];
    DIR *d;
    bool found = has_table(pid, out, cap);
    (void)snprintf(path, sizeof path, "/proc/%d/task", pid);
    if (found || left == 0 || (d = opendir(path)) == NULL) {
        return found;
    }
    for (struct dirent *entry; !found && (entry = readdir(d)) != NULL;) {
        char children[400];
        int child;
        (void)snprintf(children, sizeof children, "%s/%s/children", path, entry->d_name);
        FILE *f = entry->d_name[0] != '.' ? fopen(children, "re") : NULL;
        while (f != NULL && !found && fscanf(f, "%d", &child) == 1) {
            found = descendant_has_table(child, out, cap, left - 1);
        }
        if (f != NULL) {
            fclose(f);
        }
    }
    closedir(d);
    return found;
}

bool pt_watched_directory_of(int pid, char *out, size_t cap)
{
    return descendant_has_table(pid, out, cap, GENERATIONS);
}
