/* The program that `pintensor run` starts: what it is told, what it ends with, and what is passed on to it. */
#include "cli/program.h"
#include "elsewhere.h"

#include <signal.h>
#include <sys/prctl.h>

static struct pt_program program;

/* By a process of its own, since all files but stderr are closed; what the program ended with. */
static int run_in_child(char **argv, void (*before)(void))
{
    pid_t child = fork();
    if (child == 0) {
        if (before != NULL) {
            before();
        }
        int error = pt_program_run(argv, &program);
        if (error != 0) {
            exit(200 - error);
        }
        pt_program_end_as(&program);
    }
    int status;
    REQUIRE(waitpid(child, &status, 0) == child);
    return status;
}

#define SHELL(script) ((char *[]){(char *)"sh", (char *)"-c", (char *)(script), NULL})

START_TEST(it_ends_as_the_program_does)
{
    ck_assert_int_eq(run_in_child(SHELL("exit 7"), NULL), 7 << 8);
    int status = run_in_child(SHELL("kill -KILL $$"), NULL);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    status = run_in_child(SHELL("ulimit -c 0; kill -SEGV $$"), NULL);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV && !WCOREDUMP(status));
}
END_TEST

START_TEST(what_cannot_be_run)
{
    listen_to_output(STDERR_FILENO);
    ck_assert_int_eq(run_in_child((char *[]){(char *)"no_such_program", NULL}, NULL), 127 << 8);
    ck_assert_int_eq(run_in_child((char *[]){(char *)"/", NULL}, NULL), 126 << 8);
    ck_assert_str_eq(said(), "pintensor: cannot run no_such_program: No such file or directory\n"
                             "pintensor: cannot run /: Permission denied\n");
}
END_TEST

static void no_more_processes(void)
{
    refuse(SYS_clone, EAGAIN);
    refuse(SYS_clone3, EAGAIN);
}

START_TEST(no_process_can_be_had)
{
    ck_assert_int_eq(run_in_child(SHELL("exit 0"), no_more_processes), (200 + EAGAIN) << 8);
}
END_TEST

static void without_proc(void)
{
    elsewhere("/dev/null", NULL);
    refuse(SYS_getdents64, EACCES);
}

START_TEST(files_that_cannot_be_let_go_of)
{
    ck_assert_int_eq(run_in_child(SHELL("exit 3"), without_proc), 3 << 8);
}
END_TEST

/* Orphans come to who asks for them, as to the first process of a container: their ends are not the program's. */
static void takes_orphans(void)
{
    REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
}

START_TEST(others_children)
{
    ck_assert_int_eq(run_in_child(SHELL("(sleep 0 & exit 9) & wait; sleep 0.2; exit 4"), takes_orphans), 4 << 8);
}
END_TEST

START_TEST(what_it_inherits)
{
    signal(SIGCHLD, SIG_IGN); /* which stays so for the program, and takes nothing from us */
    pid_t child = fork();
    if (child == 0) {
        int error = pt_program_run((char *[]){(char *)"grep", (char *)"-q", (char *)"^SigIgn:.*[13579bdf]....$",
                                              (char *)"/proc/self/status", NULL},
                                   &program);
        syscall(SYS_exit_group, error != 0 ? 99 : WEXITSTATUS(program.status));
    }
    signal(SIGCHLD, SIG_DFL);
    int status;
    REQUIRE(waitpid(child, &status, 0) == child);
    ck_assert_int_eq(status, 0);
}
END_TEST

/* ---- signals ---- */

static int told[2];

/* The program says when it has begun; then this does what it does to us, the command. */
static int signalled(const char *script, void (*act)(pid_t command), int seconds)
{
    char whole_script[1024], byte;
    REQUIRE(pipe(told) == 0);
    snprintf(whole_script, sizeof whole_script,
             "%s; echo >&%d; i=0; while [ $i -lt %d ]; do sleep 0.05; i=$((i + 1)); done; exit 9", script, told[1],
             20 * seconds);
    pid_t child = fork();
    if (child == 0) {
        (void)pt_program_run(SHELL(whole_script), &program);
        pt_program_end_as(&program);
    }
    REQUIRE(read(told[0], &byte, 1) == 1);
    act(child);
    int status;
    REQUIRE(waitpid(child, &status, 0) == child);
    return status;
}

static void terminates(pid_t command)
{
    kill(command, SIGTERM);
}

static void queues(pid_t command)
{
    sigqueue(command, SIGUSR1, (union sigval){.sival_int = 5});
}

START_TEST(signals_are_passed_on)
{
    ck_assert_int_eq(signalled("trap 'exit 3' TERM", terminates, 60), 3 << 8);
    ck_assert_int_eq(signalled("trap 'exit 4' USR1", queues, 60), 4 << 8);
    int status = signalled(":", terminates, 60);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}
END_TEST

static void nothing(pid_t command)
{
    (void)command;
}

/* From the program itself: it would have sent it to itself, if it had meant that. The one that sends has to be there still when the
 * command asks who it is. */
START_TEST(signals_of_the_programs_own_are_not)
{
    ck_assert_int_eq(signalled("trap 'exit 3' TERM; kill -TERM $PPID", nothing, 1), 9 << 8);
    ck_assert_int_eq(
        signalled("trap 'exit 3' TERM; command=$PPID; (sh -c \"kill -TERM $command; sleep 2; exit 0\")", nothing, 1), 9 << 8);
}
END_TEST

/* A sender of whom /proc tells nothing, or nonsense, is no child of the program's. */
START_TEST(senders_of_whom_nothing_is_known)
{
    static const char *const texts[] = {NULL, "", "12 (x", "12 (x) R"};
    static char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", getpid());
    elsewhere(path, texts[_i]); /* for our child, the command, too */
    ck_assert_int_eq(signalled("trap 'exit 3' TERM", terminates, 60), 3 << 8);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("program");
    tcase_add_test(tests, it_ends_as_the_program_does);
    tcase_add_test(tests, what_cannot_be_run);
    tcase_add_test(tests, no_process_can_be_had);
    tcase_add_test(tests, files_that_cannot_be_let_go_of);
    tcase_add_test(tests, others_children);
    tcase_add_test(tests, what_it_inherits);
    tcase_add_test(tests, signals_are_passed_on);
    tcase_add_test(tests, signals_of_the_programs_own_are_not);
    tcase_add_loop_test(tests, senders_of_whom_nothing_is_known, 0, 4);
    return suite_run("program", tests);
}
