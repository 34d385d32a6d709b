#include "cli/tables.h"

#include "base/process.h"
#include "ledger/counters.h"
#include "ledger/growth.h"
#include "ledger/table_load.h"
#include "report/report.h"

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

enum state { ENDED, RUNS, KILLED, UNKNOWN };

static const char *const states[] = {"ended", "running", "killed, or ended by a crash",
                                     "not ended when it last wrote, on another machine"};

/* A process of the same number that was started at another time is another. */
static enum state state_of(const struct pt_table *t)
{
    struct utsname host;
    if (t->exit_ns != 0) {
        return ENDED;
    }
    if (uname(&host) != 0) {
        return UNKNOWN;
    }
    host.nodename[strcspn(host.nodename, "./")] = '\0';
    if (strcmp(host.nodename, pt_table_string(t->host)) != 0) {
        return UNKNOWN;
    }
    return t->start_ticks != 0 && pt_process_start_ticks(t->pid) == t->start_ticks ? RUNS : KILLED;
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

static void say(const char *path)
{
    static char buf[65536];
    struct pt_table *t = pt_table();
    enum state state = state_of(t);
    struct pt_report r;
    struct pt_text out;
    pt_report_of_table(&r);
    r.killed = state == KILLED || state == UNKNOWN;
    r.peak = true;
    if (state != ENDED) { /* else the process counted at its end */
        r.now_ns = state == RUNS ? pt_table_now() : last_ns(t);
        pt_counters_count_held(pt_table_site(0), t->sites);
        pt_growth_judge_all(pt_table_site(0), t->sites, r.now_ns);
    }
    pt_text_init(&out, buf, sizeof buf, STDOUT_FILENO);
    pt_text_add(&out, "%s: %s on %s, pid %d, %s\n", path, pt_table_string(t->program), pt_table_string(t->host), t->pid,
                states[state]);
    (void)pt_report_write(&r, &out);
    if (t->cut_short != 0) {
        pt_text_add(&out, "  The file had no room for all of it: what came last is missing.\n");
    }
    pt_text_flush(&out);
}

static int complain(const char *path, int error)
{
    const char *why = error == -ENODATA  ? "no table of pintensor's; PINTENSOR_DIR makes such files"
                      : error == -EPROTO ? "a table of another version of pintensor: read it with that one"
                      : error == -EINVAL ? "a damaged table"
                                         : strerror(-error);
    fprintf(stderr, "pintensor: %s: %s\n", path, why);
    return 1;
}

static int report_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int error = fd < 0 ? -errno : pt_table_load(fd);
    if (fd >= 0) {
        close(fd);
    }
    if (error != 0) {
        return complain(path, error);
    }
    say(path);
    return 0;
}

static int is_table(const struct dirent *entry)
{
    return fnmatch("*.table", entry->d_name, 0) == 0;
}

static int report_directory(const char *path)
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
        status |= n < (int)sizeof file ? report_file(file) : complain(path, -ENAMETOOLONG);
        free(entries[i]);
    }
    free(entries);
    return count == 0 ? 1 : status;
}

int pt_tables_report(int count, char **paths)
{
    int status = 0;
    for (int i = 0; i < count; i++) {
        int fd = open(paths[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        status |= fd >= 0 ? report_directory(paths[i]) : report_file(paths[i]);
        if (fd >= 0) {
            close(fd);
        }
    }
    return status;
}
