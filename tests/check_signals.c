/* The end by a signal, and reports that one asks for: what is said to the kernel, and in what order. The last word,
 * which would end the process, is heard and not passed on. */
#include "base/sandbox.h"
#include "kernel.h"
#include "life/on_demand.h"
#include "life/signals.h"
#include "pintensor.h"
#include "suite.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>

/* What came, a letter each: d the default action is set, q the signal is sent again with all it says, k without, e the
 * end. */
static char heard[16];
static unsigned count;
static int last_signal, pretended_pid;
static const char *refused = ""; /* letters */
static siginfo_t passed_on;

static bool hear(long number, const long *arguments, long *result)
{
    char what = number == SYS_rt_sigaction && arguments[1] != 0 ? 'd'
                : number == SYS_rt_tgsigqueueinfo               ? 'q'
                : number == SYS_tgkill                          ? 'k'
                : number == SYS_exit_group                      ? 'e'
                                                                : 0;
    if (number == SYS_getpid && pretended_pid != 0) {
        *result = pretended_pid;
        return true;
    }
    if (what == 0) {
        return false;
    }
    heard[count++ % (sizeof heard - 1)] = what;
    last_signal = (int)arguments[what == 'q' || what == 'k' ? 2 : 0];
    if (what == 'q') {
        passed_on = *(const siginfo_t *)arguments[3];
    }
    *result = strchr(refused, what) != NULL ? -EPERM : 0;
    return true;
}

/* What the program does at the moment when the library has looked what the program does. */
static void (*between)(void);

int sigaction(int sig, const struct sigaction *new, struct sigaction *old)
{
    static int (*libcs)(int, const struct sigaction *, struct sigaction *);
    libcs = libcs != NULL ? libcs
                          : (int (*)(int, const struct sigaction *, struct sigaction *))dlsym(RTLD_NEXT, "sigaction");
    void (*f)(void) = new != NULL ? between : NULL;
    if (f != NULL) {
        between = NULL;
        f();
    }
    return libcs(sig, new, old);
}

static const int ending[] = {SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGTERM};
enum { ENDING = sizeof ending / sizeof ending[0] };

static char report_file[] = "/tmp/pintensor-check-XXXXXX";

static void begin(void)
{
    int fd = mkstemp(report_file);
    ck_assert_int_ge(fd, 0);
    close(fd);
    setenv("PINTENSOR_REPORT", report_file, 1);
    setenv("PINTENSOR_VERBOSE", "on", 1);
    for (unsigned i = 0; i < ENDING; i++) {
        signal(ending[i], SIG_DFL); /* Check has some for itself */
    }
}

static void pin(void)
{
    pintensor_block b;
    pintensor_manager manager = pintensor_manager_create();
    ck_assert_int_eq(pintensor_alloc(manager, MIB, &b), 0);
}

static void clean_up(void)
{
    kernel_watch(NULL);
    unlink(report_file);
}

/* Reports that lie in the file. */
static unsigned reports(void)
{
    char line[4096];
    unsigned found = 0;
    FILE *f = fopen(report_file, "r");
    while (fgets(line, sizeof line, f) != NULL) {
        found += strncmp(line, "pintensor: ", 11) == 0;
    }
    fclose(f);
    return found;
}

static void *handler_of(int sig)
{
    struct sigaction now;
    ck_assert_int_eq(sigaction(sig, NULL, &now), 0);
    return (void *)now.sa_handler;
}

static bool is_ours(int sig)
{
    struct sigaction now;
    ck_assert_int_eq(sigaction(sig, NULL, &now), 0);
    return pt_signals_is_ours(&now);
}

static void forbid_something(void)
{
    struct sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {1, all};
    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

START_TEST(it_reports_and_comes_again_as_it_came)
{
    begin();
    pin();
    ck_assert(is_ours(ending[_i]));
    kernel_watch(hear);
    errno = 77;
    raise(ending[_i]);
    ck_assert_int_eq(errno, 77);
    ck_assert_str_eq(heard, "dq");
    ck_assert_int_eq(last_signal, ending[_i]);
    ck_assert_int_eq(passed_on.si_signo, ending[_i]);
    ck_assert_int_eq(passed_on.si_pid, getpid());
    ck_assert_uint_eq(reports(), 1);
    raise(ending[_i]); /* there is one report */
    ck_assert_uint_eq(reports(), 1);
}
END_TEST

static const struct {
    const char *refused, *heard;
    bool sandbox;
} ways[] = {{"q", "dqk", false}, {"qk", "dqke", false}, {"", "dk", true}, {"k", "dke", true}};

START_TEST(the_kernel_does_not_let_it_come_again)
{
    begin();
    pin();
    if (ways[_i].sandbox) {
        forbid_something();
    }
    kernel_watch(hear);
    refused = ways[_i].refused;
    raise(SIGTERM);
    ck_assert_str_eq(heard, ways[_i].heard);
    ck_assert_int_eq(last_signal, strchr(heard, 'e') != NULL ? 128 + SIGTERM : SIGTERM);
}
END_TEST

/* As if by a fault, which the kernel lets a process say of itself. */
static void send(int sig, int code)
{
    siginfo_t info = {.si_signo = sig, .si_code = code};
    ck_assert_int_eq(kernel_call(SYS_rt_tgsigqueueinfo, kernel_call(SYS_getpid, 0, 0, 0, 0, 0, 0),
                                 kernel_call(SYS_gettid, 0, 0, 0, 0, 0, 0), sig, (long)&info, 0, 0),
                     0);
}

START_TEST(the_first_process_of_a_container_is_spared_but_for_its_own_faults)
{
    static const int faults[] = {SIGILL, SIGBUS, SIGFPE, SIGSEGV};
    begin();
    kernel_watch(hear);
    pretended_pid = 1;
    pin();
    for (unsigned i = 0; i < ENDING; i++) {
        send(ending[i], SI_USER);
        ck_assert_str_eq(heard, "");
    }
    send(SIGTERM, 1);
    ck_assert_str_eq(heard, "");
    ck_assert_uint_eq(reports(), 0);
    for (unsigned i = 0; i < 4; i++) {
        memset(heard, 0, sizeof heard);
        count = 0;
        send(faults[i], 1);
        ck_assert_str_eq(heard, "dq");
    }
    ck_assert_uint_eq(reports(), 1);
}
END_TEST

/* ---- which signals are taken ---- */

static void of_the_program(int sig)
{
    (void)sig;
}

START_TEST(what_the_program_handles_stays_its_own)
{
    begin();
    signal(SIGTERM, of_the_program);
    signal(SIGHUP, SIG_IGN);
    pin();
    ck_assert_ptr_eq(handler_of(SIGTERM), (void *)of_the_program);
    ck_assert_ptr_eq(handler_of(SIGHUP), (void *)SIG_IGN);
    ck_assert(is_ours(SIGINT) && !is_ours(SIGUSR1) && !is_ours(SIGPIPE));
}
END_TEST

static void takes_it_too(void)
{
    signal(SIGHUP, of_the_program);
}

START_TEST(what_the_program_takes_at_that_very_moment_is_its_own)
{
    begin();
    between = takes_it_too;
    pin();
    ck_assert_ptr_eq(handler_of(SIGHUP), (void *)of_the_program);
    ck_assert(is_ours(SIGINT));
}
END_TEST

START_TEST(left_alone_if_that_is_asked_for)
{
    begin();
    setenv("PINTENSOR_AT_SIGNAL", "leave", 1);
    pin();
    struct sigaction ours;
    for (unsigned i = 0; i < ENDING; i++) {
        ck_assert_ptr_eq(handler_of(ending[i]), (void *)SIG_DFL);
        ck_assert(!pt_signals_default(ending[i], &ours));
    }
}
END_TEST

START_TEST(none_is_taken_in_a_sandbox)
{
    begin();
    pt_sandbox_init();
    forbid_something();
    pt_signals_begin();
    ck_assert(!is_ours(SIGTERM));
}
END_TEST

static void has_no_default_of_ours(void)
{
    struct sigaction ours;
    ck_assert(!pt_signals_default(SIGTERM, &ours)); /* it has pinned nothing */
}

START_TEST(the_default_action)
{
    struct sigaction ours;
    begin();
    ck_assert(!pt_signals_default(SIGTERM, &ours));
    setenv("PINTENSOR_SIGNAL", "USR2", 1);
    pin();
    errno = 77;
    ck_assert(pt_signals_default(SIGTERM, &ours) && pt_signals_is_ours(&ours));
    ck_assert_int_eq(ours.sa_flags & SA_RESTART, 0);
    ck_assert(pt_signals_default(SIGUSR2, &ours) && pt_signals_is_ours(&ours));
    ck_assert_int_ne(ours.sa_flags & SA_RESTART, 0); /* the program goes on */
    ck_assert(!pt_signals_default(SIGUSR1, &ours) && !pt_signals_default(SIGCHLD, &ours) &&
              !pt_signals_default(0, &ours));
    ck_assert_int_eq(errno, 77);
    ck_assert(child_does(has_no_default_of_ours));
}
END_TEST

START_TEST(what_was_taken_is_given_back)
{
    begin();
    pin();
    signal(SIGHUP, of_the_program);
    pt_signals_leave(SIGHUP);
    ck_assert_ptr_eq(handler_of(SIGHUP), (void *)of_the_program);
    kernel_refuse(SYS_rt_sigaction, EPERM, 0, 1);
    pt_signals_leave(SIGTERM);
    ck_assert_uint_eq(kernel_refused(), 1);
    ck_assert(is_ours(SIGTERM));
    pt_signals_leave(SIGTERM);
    ck_assert_ptr_eq(handler_of(SIGTERM), (void *)SIG_DFL);
    forbid_something();
    pt_signals_leave(SIGINT);
    ck_assert(is_ours(SIGINT));
}
END_TEST

/* ---- a report on demand ---- */

static const struct {
    const char *name;
    int sig;
} asked[] = {{"USR1", SIGUSR1}, {"USR2", SIGUSR2}};

static void raise_asked(void)
{
    raise(SIGUSR1);
    ck_assert_uint_eq(reports(), 2);
}

START_TEST(a_report_at_each_signal)
{
    begin();
    setenv("PINTENSOR_SIGNAL", asked[_i].name, 1);
    pin();
    errno = 77;
    raise(asked[_i].sig);
    ck_assert_int_eq(errno, 77);
    ck_assert_uint_eq(reports(), 1);
    raise(asked[_i].sig);
    ck_assert_uint_eq(reports(), 2);
    if (_i == 0) {
        ck_assert(child_does(raise_asked)); /* it has pinned nothing, and goes on */
    }
}
END_TEST

START_TEST(the_program_uses_that_signal)
{
    begin();
    catch_stderr();
    setenv("PINTENSOR_SIGNAL", asked[_i].name, 1);
    signal(asked[_i].sig, of_the_program);
    pin();
    char line[100];
    snprintf(line, sizeof line, "no report by PINTENSOR_SIGNAL=%s: the program uses that signal itself",
             asked[_i].name);
    ck_assert_ptr_nonnull(strstr(suite_stderr(), line));
    raise(asked[_i].sig);
    ck_assert_uint_eq(reports(), 0);
}
END_TEST

START_TEST(reports_by_the_clock)
{
    begin();
    setenv("PINTENSOR_EVERY", "1", 1);
    pin();
    EVENTUALLY(reports() == 1);
    EVENTUALLY(reports() == 2);
    forbid_something();
    sleep(2); /* a report that is under way comes to its end */
    unsigned before = reports();
    sleep(2);
    ck_assert_uint_eq(reports(), before);
}
END_TEST

START_TEST(nobody_reports_by_the_clock_in_a_sandbox)
{
    begin();
    setenv("PINTENSOR_EVERY", "1", 1);
    pt_sandbox_init();
    forbid_something();
    pin();
    sleep(2);
    ck_assert_uint_eq(reports(), 0);
}
END_TEST

int main(void)
{
    need_lockable(4 * MIB);
    TCase *tests = tcase_create("signals");
    tcase_add_checked_fixture(tests, NULL, clean_up);
    tcase_add_loop_test(tests, it_reports_and_comes_again_as_it_came, 0, ENDING);
    tcase_add_loop_test(tests, the_kernel_does_not_let_it_come_again, 0, sizeof ways / sizeof ways[0]);
    tcase_add_test(tests, the_first_process_of_a_container_is_spared_but_for_its_own_faults);
    tcase_add_test(tests, what_the_program_handles_stays_its_own);
    tcase_add_test(tests, what_the_program_takes_at_that_very_moment_is_its_own);
    tcase_add_test(tests, left_alone_if_that_is_asked_for);
    tcase_add_test(tests, none_is_taken_in_a_sandbox);
    tcase_add_test(tests, the_default_action);
    tcase_add_test(tests, what_was_taken_is_given_back);
    tcase_add_loop_test(tests, a_report_at_each_signal, 0, 2);
    tcase_add_loop_test(tests, the_program_uses_that_signal, 0, 2);
    tcase_add_test(tests, reports_by_the_clock);
    tcase_add_test(tests, nobody_reports_by_the_clock_in_a_sandbox);
    return suite_run("signals", tests);
}
