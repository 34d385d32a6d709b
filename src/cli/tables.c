#include "cli/tables.h"

#include "ledger/counters.h"
#include "ledger/growth.h"
#include "ledger/table_file.h"
#include "ledger/table_load.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* A process of the same number that was started at another time is another. */
static enum pt_tables_state state_of(const struct pt_table *t)
{
    struct utsname host;
    if (t->exit_ns != 0) {
        return PT_TABLES_ENDED;
    }
    if (uname(&host) != 0) {
        return PT_TABLES_UNKNOWN;
    }
    host.nodename[strcspn(host.nodename, "./")] = '\0';
    if (strcmp(host.nodename, pt_table_string(t->host)) != 0) {
        return PT_TABLES_UNKNOWN;
    }
    return t->start_ticks != 0 && pt_table_file_start_ticks(t->pid) == t->start_ticks ? PT_TABLES_RUNS
                                                                                      : PT_TABLES_KILLED;
}

/* The last moment that the table tells of. */
static uint64_t last_ns(const struct pt_table *t)
{
    uint64_t last = t->born_ns;
    for (uint32_t row = 0; row < t->sites; row++) {
        const struct pt_site *s = pt_table_site(row);
        last = s->last_ns > last ? s->last_ns : last;
    }
    return last;
}

static struct pt_tables_one ready(const char *path)
{
    struct pt_table *t = pt_table();
    struct pt_tables_one one = {.path = path, .state = state_of(t)};
    struct pt_report *r = &one.report;
    pt_report_of_table(r);
    r->killed = one.state == PT_TABLES_KILLED || one.state == PT_TABLES_UNKNOWN;
    r->peak = true;
    if (one.state != PT_TABLES_ENDED) { /* else the process counted at its end */
        r->now_ns = one.state == PT_TABLES_RUNS ? pt_table_now() : last_ns(t);
        pt_counters_count_held(pt_table_site(0), t->sites);
        pt_growth_judge_all(pt_table_site(0), t->sites, r->now_ns);
    }
    return one;
}

/* Who is told of each. */
struct visitor {
    void (*visit)(void *context, struct pt_tables_one *one);
    void *context;
};

static int complain(const char *path, int error)
{
    const char *why = error == -ENODATA  ? "no table of pintensor's; PINTENSOR_DIR makes such files"
                      : error == -EPROTO ? "a table of another version of pintensor: read it with that one"
                      : error == -EINVAL ? "a damaged table"
                                         : strerror(-error);
    fprintf(stderr, "pintensor: %s: %s\n", path, why);
    return 1;
}

static int read_file(const char *path, const struct visitor *v)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int error = fd < 0 ? -errno : pt_table_load(fd);
    if (fd >= 0) {
        close(fd);
    }
    if (error != 0) {
        return complain(path, error);
    }
    struct pt_tables_one one = ready(path);
    v->visit(v->context, &one);
    return 0;
}

static int is_table(const struct dirent *entry)
{
    return fnmatch("*.table", entry->d_name, 0) == 0;
}

static int read_directory(const char *path, const struct visitor *v)
{
    struct dirent **entries;
    int status = 0, count = scandir(path, &entries, is_table, alphasort);
    if (count < 0) {
        return complain(path, -errno);
    }
    if (count == 0) {
        fprintf(stderr, "pintensor: %s: no tables here; PINTENSOR_DIR=%s makes them\n", path, path);
    }
    for (int i = 0; i < count; i++) {
        char file[PATH_MAX];
        int n = snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
        status |= n < (int)sizeof file ? read_file(file, v) : complain(path, -ENAMETOOLONG);
        free(entries[i]);
    }
    free(entries);
    return count == 0 ? 1 : status;
}

int pt_tables_each(int count, char **paths, void (*visit)(void *context, struct pt_tables_one *one), void *context)
{
    struct visitor v = {visit, context};
    int status = 0;
    for (int i = 0; i < count; i++) {
        int fd = open(paths[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        status |= fd >= 0 ? read_directory(paths[i], &v) : read_file(paths[i], &v);
        if (fd >= 0) {
            close(fd);
        }
    }
    return status;
}
