#include "cli/tables.h"

#include "base/path.h"
#include "base/process.h"
#include "cli/native_lines.h"
#include "ledger/counters.h"
#include "ledger/growth.h"
#include "ledger/table_load.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A process of the same number that was started at another time is another. */
static enum pt_tables_state state_of(const struct pt_table *t)
{
    if (t->exit_ns != 0) {
        return PT_TABLES_ENDED;
    }
    if (!pt_path_is_this_host(pt_table_string(t->host))) {
        return PT_TABLES_UNKNOWN;
    }
    return pt_process_runs(t->pid, t->start_ticks) ? PT_TABLES_RUNS : PT_TABLES_KILLED;
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
    pt_native_lines_add();
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

/* The file that a process has its table in: "" if it has none. */
static int table_of(int pid, char path[PATH_MAX])
{
    char maps[64], *line = NULL;
    size_t size = 0;
    path[0] = '\0';
    (void)snprintf(maps, sizeof maps, "/proc/%d/maps", pid);
    FILE *file = fopen(maps, "re");
    if (file == NULL) {
        return -errno;
    }
    while (path[0] == '\0' && getline(&line, &size, file) >= 0) {
        char *name = strchr(line, '/');
        if (name != NULL && fnmatch("*.table\n", name, 0) == 0 && strlen(name) < PATH_MAX) {
            memcpy(path, name, strlen(name));
            path[strlen(name) - 1] = '\0';
        }
    }
    free(line);
    fclose(file);
    return 0;
}

static int read_process(int pid, const struct visitor *v)
{
    char path[PATH_MAX], name[PATH_MAX + 64];
    int error = table_of(pid, path);
    if (error != 0 || path[0] == '\0') {
        fprintf(stderr, "pintensor: process %d: %s\n", pid,
                error == -ENOENT ? "there is none"
                : error != 0     ? strerror(-error)
                             : "it keeps no table: it was started without PINTENSOR_DIR, or has pinned nothing yet");
        return 1;
    }
    (void)snprintf(name, sizeof name, "/proc/%d/root%s", pid, path); /* it may be in a container */
    return read_file(access(name, R_OK) == 0 ? name : path, v);
}

static int read_path(const char *path, const struct visitor *v)
{
    uint64_t pid;
    struct stat is;
    int error = stat(path, &is) != 0 ? -errno : 0;
    if (error == -ENOENT && pt_text_parse_u64(path, &pid) == 0 && pid > 0 && pid <= INT_MAX) {
        return read_process((int)pid, v);
    }
    return error == 0 && S_ISDIR(is.st_mode) ? read_directory(path, v) : read_file(path, v);
}

int pt_tables_each(int count, char **paths, void (*visit)(void *context, struct pt_tables_one *one), void *context)
{
    struct visitor v = {visit, context};
    int status = 0;
    for (int i = 0; i < count; i++) {
        status |= read_path(paths[i], &v);
    }
    return status;
}
