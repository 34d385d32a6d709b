/* `pintensor top`: what it makes of tables and processes of all kinds. */
#include "base/process.h"
#include "cli/top.h"
#include "cli/watched.h"
#include "folder.h"
#include "table_of.h"

#include <dirent.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>

static void begin(void)
{
    unsetenv("PINTENSOR_DIR");
    folder_begin();
}

/* A table of a process that runs here, with 3 MiB alive by a line. */
static struct pt_site *running(int pid, int rank)
{
    char host[65];
    REQUIRE(gethostname(host, sizeof host) == 0);
    table_begin(pid, rank);
    whole.table.exit_ns = 0;
    whole.table.start_ticks = pt_process_start_ticks(pid);
    whole.table.host = table_string(strtok(host, "."));
    whole.table.counters.live_bytes = 3 * MIB;
    whole.table.counters.live_locked = 4 * MIB;
    whole.table.counters.cached_locked = MIB;
    whole.table.counters.peak_locked = 9 * MIB;
    whole.table.foreign.live_bytes = 2 * MIB;
    struct pt_site *s = table_site("train.py", 7, "collect");
    s->live = 1;
    s->live_bytes = 3 * MIB;
    return s;
}

/* ---- what is watched ---- */

static struct pt_watched_all all;

/* Now, files that came since included. */
static const struct pt_watched *look(void)
{
    all.scanned_ms = 0;
    for (size_t i = 0; i < all.count; i++) {
        all.all[i].looked_ms = 0;
    }
    ck_assert_int_eq(pt_watched_look(&all, folder), 0);
    return all.all;
}

START_TEST(the_line_that_has_most)
{
    begin();
    struct pt_site *s = running(getpid(), 0);
    s->frames_count = 3;
    s->library = 1;
    s->frames[1] = (struct pt_frame){table_string("train.py"), table_string("own"), 9};
    s->frames[2] = s->frames[1];
    table_write(in("a.table"));
    const struct pt_watched *w = look();
    ck_assert_uint_eq(all.count, 1);
    ck_assert_str_eq(w->line, "train.py:9  own");
    ck_assert_str_eq(w->program, "train.py");
    ck_assert(w->state == PT_WATCHED_RUNS && w->seen_running && w->pid == getpid() && w->rank == 0);
    ck_assert(w->live == 3 * MIB && w->locked == 5 * MIB && w->cached == MIB && w->peak == 9 * MIB &&
              w->others == 2 * MIB);
    s->library = 7; /* none is the user's: the innermost */
    table_write(in("a.table"));
    ck_assert_str_eq(look()->line, "train.py:7  collect");
    s->frames[0].line = 0; /* native */
    table_write(in("a.table"));
    ck_assert_str_eq(look()->line, "collect");
    s->frames_count = 0;
    s->symbol = table_string("pin+0x1");
    table_write(in("a.table"));
    ck_assert_str_eq(look()->line, "pin+0x1");
    s->live_bytes = 0;
    whole.table.counters.live_bytes = (uint64_t)-64; /* what a thread has yet to tell */
    table_write(in("a.table"));
    ck_assert_str_eq(look()->line, "");
    ck_assert_uint_eq(look()->live, 0);
    folder_end();
}
END_TEST

/* For a second what was found stays: neither the line nor new files are looked for. */
START_TEST(not_all_is_looked_for_each_time)
{
    begin();
    struct pt_site *s = running(getpid(), 0);
    table_write(in("a.table"));
    all.scanned_ms = 0;
    ck_assert_int_eq(pt_watched_look(&all, folder), 0);
    s->frames[0].line = 8;
    whole.table.counters.live_bytes = MIB;
    table_write(in("a.table"));
    table_write(in("b.table"));
    int64_t now = all.scanned_ms + 3600000; /* as if that had just been */
    all.scanned_ms = all.all[0].looked_ms = now;
    ck_assert_int_eq(pt_watched_look(&all, folder), 0);
    ck_assert_uint_eq(all.count, 1);
    ck_assert_str_eq(all.all[0].line, "train.py:7  collect");
    ck_assert_uint_eq(all.all[0].live, MIB); /* figures always */
    all.scanned_ms = all.all[0].looked_ms = now - 7200000;
    ck_assert_int_eq(pt_watched_look(&all, folder), 0);
    ck_assert_uint_eq(all.count, 2);
    ck_assert_str_eq(all.all[0].line, "train.py:8  collect");
    folder_end();
}
END_TEST

START_TEST(how_they_are)
{
    begin();
    running(getpid(), 5);
    table_write(in("runs.table"));
    whole.table.rank = 4;
    whole.table.start_ticks++; /* another process has its number by now */
    table_write(in("other.table"));
    whole.table.rank = 3;
    whole.table.start_ticks--;
    whole.table.host = table_string("elsewhere");
    table_write(in("elsewhere.table"));
    whole.table.rank = 2;
    whole.table.exit_ns = 1;
    table_write(in("ended.table"));
    REQUIRE(symlink("nowhere", in("nowhere.table")) == 0 && mkdir(in("folder.table"), 0700) == 0 &&
            mkfifo(in("fifo.table"), 0600) == 0);
    table_write(in("table.txt"));
    const struct pt_watched *w = look();
    ck_assert_uint_eq(all.count, 4);
    static const enum pt_watched_state states[] = {PT_WATCHED_ENDED, PT_WATCHED_KILLED, PT_WATCHED_KILLED,
                                                   PT_WATCHED_RUNS};
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(w[i].rank, 2 + i);
        ck_assert_int_eq(w[i].state, states[i]);
        ck_assert_int_eq(w[i].seen_running, i == 3);
        ck_assert_int_eq(w[i].fd >= 0, i == 3);
    }
    running(getpid(), 5);
    whole.table.exit_ns = 1;
    table_write(in("runs.table"));
    ck_assert_int_eq(look()[3].state, PT_WATCHED_ENDED);
    ck_assert(look()[3].seen_running && look()[3].fd == -1);
    folder_end();
}
END_TEST

START_TEST(a_table_that_is_cut_off)
{
    begin();
    running(getpid(), 0);
    table_write(in("a.table"));
    ck_assert_int_eq(look()->state, PT_WATCHED_RUNS);
    REQUIRE(truncate(in("a.table"), 100) == 0);
    ck_assert_int_eq(look()->state, PT_WATCHED_KILLED);
    ck_assert_int_eq(look()->fd, -1);
    folder_end();
    ck_assert_int_eq((all.scanned_ms = 0, pt_watched_look(&all, folder)), -ENOENT);
}
END_TEST

START_TEST(in_the_order_of_ranks_then_pids)
{
    begin();
    static const struct {
        int pid, rank;
    } them[] = {{40, 1}, {30, 0}, {10, 1}, {20, 0}};
    for (unsigned i = 0; i < 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "%u.table", i);
        table_begin(them[i].pid, them[i].rank);
        table_write(in(name));
    }
    const struct pt_watched *w = look();
    ck_assert(w[0].pid == 20 && w[1].pid == 30 && w[2].pid == 10 && w[3].pid == 40);
    folder_end();
}
END_TEST

START_TEST(a_path_that_is_too_long)
{
    char deep[PATH_MAX], name[256];
    begin();
    memset(name, 'x', 250);
    strcpy(name + 249, ".table"); /* 255 letters: as long as a name may be */
    running(getpid(), 0);
    table_write(in(name));
    snprintf(deep, sizeof deep, "%s", folder);
    while (strlen(deep) < 4000) {
        strcat(deep, "/.");
    }
    ck_assert_int_eq(pt_watched_look(&all, deep), 0);
    ck_assert_uint_eq(all.count, 0); /* no path can name it */
    look();
    ck_assert_uint_eq(all.count, 1);
    folder_end();
}
END_TEST

/* ---- whose directory ---- */

/* A child that maps the file, and its own child that maps nothing; they end with the pipe. */
static pid_t maps(const char *path, int depth, int go)
{
    pid_t child = fork();
    if (child == 0) {
        if (depth > 0) {
            pid_t other = maps(path, depth - 1, go);
            waitpid(other, NULL, 0);
            _exit(0);
        }
        int fd = openat(AT_FDCWD, path, O_RDONLY);
        REQUIRE(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED);
        char byte = 'x';
        REQUIRE(write(go, &byte, 1) == 1);
        pause();
    }
    return child;
}

START_TEST(the_directory_of_a_process)
{
    char found[PATH_MAX], byte;
    int told[2];
    begin();
    table_begin(1, 0);
    table_write(in("a.table"));
    ck_assert(!pt_watched_directory_of(getpid(), found, sizeof found));
    REQUIRE(pipe(told) == 0);
    setpgid(0, 0);
    pid_t child = maps(in("a.table"), _i, told[1]);
    REQUIRE(read(told[0], &byte, 1) == 1);
    bool near = _i <= 16; /* generations */
    ck_assert_int_eq(pt_watched_directory_of(child, found, sizeof found), near);
    if (near) {
        ck_assert_str_eq(found, folder);
        ck_assert(!pt_watched_directory_of(child, found, 5)); /* which has no room for it */
    }
    ck_assert(!pt_watched_directory_of(0x7fffffff, found, sizeof found)); /* there is none */
    folder_end();
    close(told[0]);
    signal(SIGTERM, SIG_IGN); /* of this group alone */
    kill(0, SIGTERM);
    waitpid(child, NULL, 0);
}
END_TEST

/* ---- what is typed ---- */

static int status;

#define SAID(fd, ...)   said_by(pt_top, "top", fd, (const char *const[]){__VA_ARGS__, NULL}, &status)
#define TOP(...)        SAID(STDOUT_FILENO, __VA_ARGS__)
#define COMPLAINTS(...) SAID(STDERR_FILENO, __VA_ARGS__)

START_TEST(once)
{
    char wanted[256];
    begin();
    running(getpid(), 7);
    table_write(in("a.table"));
    const char *text = TOP("--once", folder);
    ck_assert_int_eq(status, 0);
    HAS(text, ": 1 running, live 3.0 MiB, locked 5.0 MiB\n");
    snprintf(
        wanted, sizeof wanted,
        "\n    7 %8d train.py           3.0 MiB    5.0 MiB    1.0 MiB    9.0 MiB    2.0 MiB  train.py:7  collect\n",
        getpid());
    HAS(text, wanted);
    setenv("PINTENSOR_DIR", folder, 1);
    HAS(TOP("--once", "--interval=3600"), ": 1 running,");
    REQUIRE(chdir(folder) == 0 && mkdir("123", 0700) == 0); /* a directory that looks like a number */
    COMPLAINTS("--once", "123");
    ck_assert_int_eq(status, 1);
    HAS(COMPLAINTS("--once", "123"), "pintensor: 123: no process with a table here runs on this machine\n");
    folder_end();
}
END_TEST

START_TEST(nobody_takes_it)
{
    begin();
    running(getpid(), 7);
    table_write(in("a.table"));
    for (int i = 0; i < 2; i++) {
        pid_t child = fork();
        if (child == 0) {
            dup2(openat(AT_FDCWD, "/dev/full", O_WRONLY), STDOUT_FILENO);
            exit(pt_top(i == 0 ? 3 : 2, (char *[]){(char *)"top", folder, i == 0 ? (char *)"--once" : NULL, NULL}));
        }
        int ended;
        REQUIRE(waitpid(child, &ended, 0) == child && WIFEXITED(ended));
        ck_assert_int_eq(WEXITSTATUS(ended), i == 0 ? 1 : 0); /* one that goes on just ends */
    }
    folder_end();
}
END_TEST

START_TEST(what_is_wrong)
{
    static const char *const seconds[] = {"1x", "", "0.009", "3601", "nan", "x"};
    char typed[64], wanted[256];
    static char deep[PATH_MAX + 32];
    for (unsigned i = 0; i < 6; i++) {
        snprintf(typed, sizeof typed, "--interval=%s", seconds[i]);
        snprintf(wanted, sizeof wanted, "pintensor: %s is not a number of seconds from 0.01 to 3600\n", typed);
        ck_assert_str_eq(COMPLAINTS(typed, "/"), wanted);
        ck_assert_int_eq(status, 2);
    }
    ck_assert_str_eq(COMPLAINTS("/", "/"), "pintensor: top of one directory or PID at a time\n");
    ck_assert_int_eq(status, 2);
    static const char *const pids[] = {"0", "2147483647", "99999999999"};
    for (unsigned i = 0; i < 3; i++) {
        HAS(COMPLAINTS(pids[i]), ": neither that process nor one it started keeps a table");
        ck_assert_int_eq(status, 1);
    }
    memset(deep, 'x', sizeof deep - 1);
    HAS(COMPLAINTS(deep), ": File name too long\n");
    ck_assert_int_eq(status, 1);
    setenv("PINTENSOR_DIR", "", 1);
    HAS(COMPLAINTS("--once"), "pintensor: top of what?");
    static const char *const each[] = {"/a/%p", "/a/%r"};
    for (unsigned i = 0; i < 2; i++) {
        setenv("PINTENSOR_DIR", each[i], 1);
        HAS(COMPLAINTS("--once"), "PINTENSOR_DIR is another directory for each process");
    }
}
END_TEST

START_TEST(a_directory_that_goes)
{
    begin();
    running(getpid(), 7);
    table_write(in("a.table"));
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    listen_to_output(STDERR_FILENO);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        exit(pt_top(3, (char *[]){(char *)"top", (char *)"--interval=0.02", folder, NULL}));
    }
    close(ends[1]);
    char text[4096];
    REQUIRE(read(ends[0], text, sizeof text) > 0); /* it has begun */
    folder_end();
    while (read(ends[0], text, sizeof text) > 0) {
    }
    int ended;
    REQUIRE(waitpid(child, &ended, 0) == child && WIFEXITED(ended));
    ck_assert_int_eq(WEXITSTATUS(ended), 1);
    char wanted[256];
    snprintf(wanted, sizeof wanted, "pintensor: %s: No such file or directory\n", folder);
    ck_assert_str_eq(said(), wanted);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("top");
    tcase_add_test(tests, the_line_that_has_most);
    tcase_add_test(tests, not_all_is_looked_for_each_time);
    tcase_add_test(tests, how_they_are);
    tcase_add_test(tests, a_table_that_is_cut_off);
    tcase_add_test(tests, in_the_order_of_ranks_then_pids);
    tcase_add_test(tests, a_path_that_is_too_long);
    tcase_add_loop_test(tests, the_directory_of_a_process, 0, 18);
    tcase_add_test(tests, once);
    tcase_add_test(tests, nobody_takes_it);
    tcase_add_test(tests, what_is_wrong);
    tcase_add_test(tests, a_directory_that_goes);
    return suite_run("top", tests);
}
