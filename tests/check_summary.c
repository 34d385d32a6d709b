/* What is said after a run, of what the processes of a job have told: whatever lies in their directory. */
#include "base/job_record.h"
#include "cli/summary.h"
#include "elsewhere.h"

#include <signal.h>
#include <sys/utsname.h>

static struct pt_summary summary;
static struct utsname here;
static int killable = -1; /* another user's process, as kill() tells of it */

int kill(pid_t pid, int number)
{
    if (pid == killable) {
        errno = EPERM;
        return -1;
    }
    return (int)syscall(SYS_kill, pid, number);
}

static void begin(void)
{
    uname(&here);
    unsetenv("LOCAL_RANK");
    unsetenv("OMPI_COMM_WORLD_LOCAL_RANK");
    unsetenv("MPI_LOCALRANKID");
    unsetenv("SLURM_LOCALID");
    unsetenv("PINTENSOR_REPORT");
    unsetenv("TMPDIR");
    pt_summary_begin(&summary);
    ck_assert_str_ne(summary.directory, "");
    ck_assert_str_eq(getenv(PT_JOB_VARIABLE), summary.directory);
}

static const char *path_of(const char *name)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s", summary.directory, name);
    return path;
}

static void file(const char *name, const char *text)
{
    FILE *f = fopen(path_of(name), "w");
    REQUIRE(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* As process `pid` of this machine. */
static void tell(int pid, const char *text)
{
    char name[256];
    snprintf(name, sizeof name, PT_JOB_PROCESS "%d.5.%s", pid, here.nodename);
    file(name, text);
}

static void rank(int number, unsigned local, unsigned locals)
{
    char name[256];
    snprintf(name, sizeof name, PT_JOB_RANK "%d.%u.%u.%s", number, local, locals, here.nodename);
    file(name, "");
}

static const char *end(struct pt_program program, char **argv)
{
    listen_to_output(STDERR_FILENO);
    pt_summary_end(&summary, true, &program, argv);
    const char *text = said();
    ck_assert_int_ne(access(summary.directory, F_OK), 0); /* nothing is left there */
    return text;
}

static char *job[] = {"train", NULL};

static const char *after(void)
{
    return end((struct pt_program){.pid = 1, .status = 0}, job);
}

/* ---- the directory ---- */

START_TEST(where_it_is)
{
    char longer[600];
    memset(longer, 'x', sizeof longer);
    longer[0] = '/';
    longer[sizeof longer - 1] = '\0';
    const char *const wrong[] = {"/nowhere", longer};
    for (unsigned i = 0; i < 2; i++) {
        setenv("TMPDIR", wrong[i], 1);
        setenv(PT_JOB_VARIABLE, "/another/job", 1);
        pt_summary_begin(&summary);
        ck_assert_str_eq(summary.directory, "");
        ck_assert_ptr_null(getenv(PT_JOB_VARIABLE));
    }
    listen_to_output(STDERR_FILENO);
    pt_summary_end(&summary, true, &(struct pt_program){0}, job);
    ck_assert_str_eq(said(), "");
    setenv("TMPDIR", "relative", 1);
    pt_summary_begin(&summary);
    ck_assert_int_eq(strncmp(summary.directory, "/tmp/pintensor-job-", 19), 0);
    HAS(after(), "no process here pinned memory through pintensor");
}
END_TEST

START_TEST(in_a_rank_it_knows_nothing_of_others)
{
    static const char *const names[] = {"LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"};
    begin();
    ck_assert(summary.whole);
    rmdir(summary.directory);
    setenv(names[_i], "0", 1);
    pt_summary_begin(&summary);
    ck_assert(!summary.whole);
    rank(0, 0, 4);
    LACKS(after(), "ran without pintensor");
}
END_TEST

START_TEST(a_directory_that_is_gone)
{
    begin();
    rmdir(summary.directory);
    HAS(after(), "no process here pinned memory through pintensor");
}
END_TEST

START_TEST(what_is_no_record_is_passed_over_and_removed)
{
    begin();
    file("process.x", "begun 0 x\n");
    file("process.12", "begun 0 x\n");
    file("rank.x", "");
    file("rank.1.2", "");
    file("other", "words");
    rank(5, 4, 4);       /* the fifth of four */
    rank(7, 0, 1000000); /* of more than there are */
    file(PT_JOB_RANK "3.0.2.elsewhere", "");
    const char *text = after();
    ck_assert_str_eq(text, "pintensor: after the run: no process here pinned memory through pintensor\n");
}
END_TEST

START_TEST(records_that_cannot_be_read)
{
    char name[256];
    begin();
    snprintf(name, sizeof name, PT_JOB_PROCESS "4000001.5.%s", here.nodename);
    REQUIRE(symlink("/etc/passwd", path_of(name)) == 0);
    snprintf(name, sizeof name, PT_JOB_PROCESS "4000002.5.%s", here.nodename);
    REQUIRE(mkfifo(path_of(name), 0600) == 0); /* which nobody writes to */
    tell(4000003, "ended 1 1024\n");           /* its first line is missing */
    const char *text = after();
    HAS(text, "3 processes here pinned memory, none is known to have lost any");
    HAS(text, "  (pid 4000001, ) ended without a report");
    HAS(text, "  (pid 4000002, ) ended without a report");
    HAS(text, "  (pid 4000003, ) ended without a report");
}
END_TEST

/* ---- processes ---- */

START_TEST(how_they_ended)
{
    begin();
    killable = 4000003;
    tell(4000001, "begun 2 a.py\nended 0 0\n");
    tell(4000002, "begun 1 b.py\n");
    tell(4000003, "begun 0 c.py\n");
    file(PT_JOB_PROCESS "1.5.elsewhere", "begun 3 d.py\n"); /* of that number one runs here */
    const char *text = after();
    ck_assert_str_eq(
        text, "pintensor: after the run: 4 processes here pinned memory, none is known to have lost any\n"
              "  rank 1 (pid 4000002, b.py) ended without a report: it was killed, or another program took its place\n"
              "  rank 3 (pid 1, on elsewhere, d.py) ended without a report: it was killed, or another program took its "
              "place\n"
              "  rank 0 (pid 4000003, c.py) still runs\n"
              "  next: dmesg -T | grep -i 'killed process'\n");
}
END_TEST

START_TEST(how_the_program_ended)
{
    static const struct {
        int status;
        const char *has, *lacks;
    } all[] = {
        {SIGKILL, " was ended by signal 9 (Killed) and left no report\n  next: dmesg", "took its place"},
        {SIGSEGV, " was ended by signal 11 (Segmentation fault) and left no report\n", "dmesg"},
        {3 << 8, " ended without a report: it was killed, or another program took its place\n  next: dmesg", "signal"}};
    begin();
    tell(4000001, "begun 0 a.py\n");
    const char *text = end((struct pt_program){.pid = 4000001, .status = all[_i].status}, job);
    HAS(text, all[_i].has);
    LACKS(text, all[_i].lacks);
}
END_TEST

START_TEST(those_alike_are_told_of_once)
{
    begin();
    tell(4000001, "begun 0 a.py\nended 2 100 a.py:1  f\n");
    tell(4000002, "begun 1 a.py\nended 2 100 a.py:1  f\n");
    tell(4000003, "begun 2 a.py\nended 1 100 a.py:1  f\n"); /* other sites */
    tell(4000004, "begun 3 a.py\nended 2 101 a.py:1  f\n"); /* other bytes */
    tell(4000005, "begun 4 a.py\nended 2 100 a.py:2  f\n"); /* another line */
    tell(4000007, "begun -1 a.py\nended 2 100 a.py:1  f\n");
    tell(4000006, "begun -1 a.py\nended 2 100 a.py:1  f\n"); /* no rank */
    ck_assert_str_eq(after(),
                     "pintensor: after the run: 7 of 7 processes that pinned memory here lost some, 701 B in all\n"
                     "  2 processes alike: 100 B at 2 sites each, most at a.py:1  f\n"
                     "  2 ranks alike: 100 B at 2 sites each, most at a.py:1  f\n"
                     "  rank 2 (pid 4000003, a.py): 100 B at 1 site: a.py:1  f\n"
                     "  rank 3 (pid 4000004, a.py): 101 B at 2 sites, most at a.py:1  f\n"
                     "  rank 4 (pid 4000005, a.py): 100 B at 2 sites, most at a.py:2  f\n"
                     "  next: pintensor run --stack=full --report='pintensor-%p.txt' -- train\n");
}
END_TEST

START_TEST(some_of_many)
{
    begin();
    for (int i = 0; i < 11; i++) {
        char text[64];
        snprintf(text, sizeof text, "begun %d a.py\nended 1 %d\n", i, i + 1);
        tell(4000000 + i, text);
    }
    const char *text = after();
    HAS(text, "11 of 11 processes that pinned memory here lost some, 66 B in all\n");
    HAS(text, "  rank 7 (pid 4000007, a.py): 8 B at 1 site\n  and 3 more\n  next: ");
    LACKS(text, "rank 8");
}
END_TEST

START_TEST(ranks_without_it)
{
    begin();
    rank(16, 0, 12);
    rank(18, 2, 12);
    rank(18, 2, 2); /* another one says less */
    const char *text = after();
    HAS(text, "  rank 17 ran without pintensor: LD_PRELOAD did not reach it\n  rank 19 ran");
    HAS(text, "  rank 25 ran without pintensor: LD_PRELOAD did not reach it\n  and 2 more\n");
}
END_TEST

/* ---- what to do next ---- */

START_TEST(next_words_are_quoted)
{
    char *odd[] = {"train", "", "a b", "it's", "\x1b[31m\x7f", "--x=1,2", NULL};
    setenv("PINTENSOR_REPORT", "", 1);
    begin();
    setenv("PINTENSOR_REPORT", "", 1); /* as if it were not set */
    tell(4000001, "begun 0 a.py\nended 1 1\n");
    HAS(end((struct pt_program){0}, odd), " -- train '' 'a b' 'it'\\''s' '?[31m?' --x=1,2\n");
}
END_TEST

START_TEST(where_the_report_is)
{
    static const struct {
        const char *report, *next;
    } all[] = {{"/a/b.txt", "  next: less /a/b.txt\n"},
               {"/a/%p-%r.txt", "  next: less /a/*-*.txt\n"},
               {"/a/%h%%%", "  next: less /a/%h%%%\n"},
               {"/a b/%p", "  next: less '/a b/*'\n"}}; /* no pattern any more: there are such names */
    begin();
    setenv("PINTENSOR_REPORT", all[_i].report, 1);
    tell(4000001, "begun 0 a.py\nended 1 1\n");
    HAS(after(), all[_i].next);
}
END_TEST

START_TEST(nothing_is_said_of_what_went_well)
{
    begin();
    tell(4000001, "begun 0 a.py\nended 0 0\n");
    rank(0, 0, 1);
    listen_to_output(STDERR_FILENO);
    pt_summary_end(&summary, false, &(struct pt_program){0}, job);
    ck_assert_str_eq(said(), "");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("summary");
    tcase_add_test(tests, where_it_is);
    tcase_add_loop_test(tests, in_a_rank_it_knows_nothing_of_others, 0, 4);
    tcase_add_test(tests, a_directory_that_is_gone);
    tcase_add_test(tests, what_is_no_record_is_passed_over_and_removed);
    tcase_add_test(tests, records_that_cannot_be_read);
    tcase_add_test(tests, how_they_ended);
    tcase_add_loop_test(tests, how_the_program_ended, 0, 3);
    tcase_add_test(tests, those_alike_are_told_of_once);
    tcase_add_test(tests, some_of_many);
    tcase_add_test(tests, ranks_without_it);
    tcase_add_test(tests, next_words_are_quoted);
    tcase_add_loop_test(tests, where_the_report_is, 0, 4);
    tcase_add_test(tests, nothing_is_said_of_what_went_well);
    return suite_run("summary", tests);
}
