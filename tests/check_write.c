/* Writing to what takes nothing, or takes it slowly: no signal, no stop, and no waiting beyond what was said. And where
 * lines and paths go. */
#include "base/log.h"
#include "base/path.h"
#include "base/thread.h"
#include "base/write.h"
#include "kernel.h"
#include "suite.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/utsname.h>

static char text[1 << 20];

static int64_t in_ms(int64_t ms)
{
    return pt_thread_now() + ms * 1000000;
}

/* Lines that are longer or shorter than what a pipe takes in one piece. */
static void fill_text(size_t line)
{
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = i % line == line - 1 ? '\n' : (char)('a' + i % 23);
    }
}

struct reader {
    int fd;
    size_t got;
    bool same;
};

static void *reads(void *reader)
{
    struct reader *r = reader;
    static char buf[3000];
    long n;
    r->same = true;
    while ((n = kernel_call(SYS_read, r->fd, (long)buf, sizeof buf, 0, 0, 0)) > 0) {
        for (long i = 0; i < n; i++) {
            r->same = r->same && r->got + (size_t)i < sizeof text && buf[i] == text[r->got + (size_t)i];
        }
        r->got += (size_t)n;
    }
    return NULL;
}

static void all_arrives(int in, int out)
{
    pthread_t thread;
    struct reader r = {.fd = in};
    pthread_create(&thread, NULL, reads, &r);
    errno = 77;
    ck_assert_int_eq(pt_write(out, text, sizeof text, in_ms(100000)), 0);
    ck_assert_int_eq(errno, 77);
    close(out);
    pthread_join(thread, NULL);
    ck_assert(r.same && r.got == sizeof text);
}

static const size_t lines[] = {100, PIPE_BUF, PIPE_BUF + 1, 1 << 21};

START_TEST(a_pipe_that_somebody_reads)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    fill_text(lines[_i]);
    if (_i % 2 == 1) {
        ck_assert_int_eq(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    }
    all_arrives(ends[0], ends[1]);
}
END_TEST

START_TEST(a_socket_that_somebody_reads)
{
    int ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    fill_text(lines[_i]);
    all_arrives(ends[0], ends[1]);
}
END_TEST

START_TEST(nobody_reads)
{
    int ends[2];
    ck_assert_int_eq(_i == 0 ? pipe(ends) : socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    fill_text(100);
    ck_assert_int_eq(pt_write(ends[1], text, sizeof text, in_ms(50)), ETIMEDOUT);
    ck_assert_int_eq(pt_write(ends[1], text, 1, 0), ETIMEDOUT); /* the time is over before it begins */
}
END_TEST

static volatile sig_atomic_t came;

static void comes(int sig)
{
    came = sig;
}

static bool waits(int sig)
{
    sigset_t set;
    sigpending(&set);
    return sigismember(&set, sig) == 1;
}

START_TEST(a_pipe_whose_reader_is_gone)
{
    int ends[2];
    signal(SIGPIPE, comes);
    ck_assert_int_eq(pipe(ends), 0);
    close(ends[0]);
    ck_assert_int_eq(pt_write(ends[1], "x", 1, in_ms(1000)), EPIPE);
    ck_assert(came == 0 && !waits(SIGPIPE));
    sigset_t set, before;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    sigprocmask(SIG_BLOCK, &set, &before);
    raise(SIGPIPE); /* somebody else's */
    ck_assert_int_eq(pt_write(ends[1], "x", 1, in_ms(1000)), EPIPE);
    ck_assert(waits(SIGPIPE));
    sigprocmask(SIG_SETMASK, &before, NULL);
    ck_assert_int_eq(came, SIGPIPE);
}
END_TEST

START_TEST(a_file_that_may_not_grow)
{
    char name[] = "/tmp/pintensor-check-XXXXXX";
    int fd = mkstemp(name);
    struct rlimit before, few;
    unlink(name);
    signal(SIGXFSZ, comes);
    getrlimit(RLIMIT_FSIZE, &before);
    few = (struct rlimit){.rlim_cur = 1000, .rlim_max = before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &few);
    fill_text(100);
    ck_assert_int_eq(pt_write(fd, text, 2000, in_ms(1000)), EFBIG);
    setrlimit(RLIMIT_FSIZE, &before);
    ck_assert(came == 0 && !waits(SIGXFSZ));
    ck_assert_int_eq(lseek(fd, 0, SEEK_END), 1000);
    ck_assert_int_eq(pt_write(fd, text, sizeof text, in_ms(1000)), 0);
    ck_assert_int_eq(lseek(fd, 0, SEEK_END), 1000 + (off_t)sizeof text);
    close(fd);
    ck_assert_int_eq(pt_write(fd, text, 1, in_ms(1000)), EBADF);
}
END_TEST

static const struct {
    long number;
    int error;
} interruptions[] = {{SYS_poll, EINTR},  {SYS_poll, EAGAIN},  {SYS_poll, ENOSYS},
                     {SYS_write, EINTR}, {SYS_write, EAGAIN}, {SYS_fstat, EBADF}};

START_TEST(a_call_that_fails_and_is_tried_again)
{
    int ends[2];
    char got[4] = "";
    ck_assert_int_eq(pipe(ends), 0);
    kernel_refuse(interruptions[_i].number, interruptions[_i].error, 0, 3);
    int error = pt_write(ends[1], "abc", 3, in_ms(100000));
    unsigned refused = kernel_refused();
    kernel_refuse(0, 0, 0, 0);
    ck_assert_int_eq(error, 0);
    ck_assert_uint_ge(refused, 1);
    ck_assert_int_eq(read(ends[0], got, 4), 3);
    ck_assert_str_eq(got, "abc");
}
END_TEST

START_TEST(a_call_that_fails_until_the_time_is_over)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    kernel_refuse(_i == 0 ? SYS_poll : SYS_write, _i == 0 ? EINTR : EAGAIN, 0, UINT_MAX);
    int error = pt_write(ends[1], "abc", 3, in_ms(20));
    kernel_refuse(0, 0, 0, 0);
    ck_assert_int_eq(error, ETIMEDOUT);
}
END_TEST

/* ---- lines ---- */

START_TEST(lines_go_to_stderr_as_it_was)
{
    catch_stderr();
    pt_log("first");
    ck_assert_str_eq(suite_stderr(), "pintensor: first\n");
    int out = dup(STDERR_FILENO);
    close(STDERR_FILENO);
    pt_log("nobody reads that");
    ck_assert_int_eq(pt_log_fd(), -1);
    ck_assert_int_eq(open("/dev/null", O_WRONLY), STDERR_FILENO); /* the program's own file, by that number */
    ck_assert_int_eq(pt_log_fd(), -1);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    ck_assert_int_eq(pt_log_fd(), STDERR_FILENO); /* both go there: the program has turned its output */
    close(STDOUT_FILENO);
    ck_assert_int_eq(pt_log_fd(), -1);
    dup2(out, STDERR_FILENO);
    pt_log("last");
    ck_assert_str_eq(suite_stderr(), "pintensor: first\npintensor: last\n");
    close(STDERR_FILENO);
    pt_log_remember(); /* a program that is started without one */
    dup2(out, STDERR_FILENO);
    ck_assert_int_eq(pt_log_fd(), -1);
}
END_TEST

START_TEST(a_stderr_that_nobody_reads_holds_up_once)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    while (write(ends[1], text, sizeof text) > 0) {
    }
    dup2(ends[1], STDERR_FILENO);
    pt_log_remember();
    pt_log("first");
    kernel_refuse(SYS_poll, EINTR, 0, UINT_MAX); /* counts how often it is asked whether there is room */
    pt_log("second");
    unsigned asked = kernel_refused();
    kernel_refuse(0, 0, 0, 0);
    ck_assert_uint_eq(asked, 1);
}
END_TEST

START_TEST(which_rank_it_is)
{
    static const char *const names[] = {"RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"};
    for (int i = 0; i < 5; i++) {
        unsetenv(names[i]);
    }
    ck_assert_int_eq(pt_log_rank(), -1);
    for (int i = 4; i >= 0; i--) {
        char rank[2] = {(char)('0' + i), '\0'};
        setenv(names[i], rank, 1);
        ck_assert_int_eq(pt_log_rank(), i);
    }
    setenv("RANK", "none", 1);
    ck_assert_int_eq(pt_log_rank(), 1);
    setenv("RANK", "2147483647", 1);
    ck_assert_int_eq(pt_log_rank(), 1);
}
END_TEST

/* ---- paths ---- */

static const char *path_of(const char *pattern, int rank)
{
    static char path[5000];
    struct pt_text t;
    pt_text_init(&t, path, sizeof path, -1);
    pt_path_add(&t, pattern, 42, rank);
    return path;
}

START_TEST(paths_that_options_name)
{
    struct utsname host;
    char here[4096], wanted[5000];
    uname(&host);
    host.nodename[strcspn(host.nodename, "./")] = '\0';
    ck_assert_str_eq(path_of("/a/%p-%r.txt", 7), "/a/42-7.txt");
    ck_assert_str_eq(path_of("/a/%r", -1), "/a/0");
    ck_assert_str_eq(path_of("/a%x%%%", 7), "/a%x%%%");
    snprintf(wanted, sizeof wanted, "/%s/b", host.nodename);
    ck_assert_str_eq(path_of("/%h/b", 7), wanted);
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    snprintf(wanted, sizeof wanted, "%s/b", here);
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_str_eq(path_of("b", 7), wanted); /* where the program began */
    ck_assert(pt_path_is_this_host(host.nodename) && !pt_path_is_this_host("no such host"));
}
END_TEST

START_TEST(directories_are_made)
{
    char root[] = "/tmp/pintensor-check-XXXXXX", path[100], command[100];
    ck_assert_ptr_nonnull(mkdtemp(root));
    snprintf(path, sizeof path, "%s/a/b/file", root);
    ck_assert(pt_path_make_directories(path) && pt_path_make_directories(path));
    snprintf(command, sizeof command, "%s/a/b", root);
    ck_assert_int_eq(access(command, F_OK), 0);
    snprintf(command, sizeof command, "%s/a/b/file", root);
    ck_assert_str_eq(path, command); /* it is as it was */
    ck_assert_int_ne(access(path, F_OK), 0);
    ck_assert_int_eq(open(path, O_CREAT | O_WRONLY, 0600) >= 0, 1);
    strcat(path, "/below/a");
    ck_assert(!pt_path_make_directories(path));
    kernel_refuse(SYS_access, EACCES, 0, 100); /* made by somebody else in between */
    snprintf(path, sizeof path, "%s/a/b/file", root);
    ck_assert(pt_path_make_directories(path));
    kernel_refuse(0, 0, 0, 0);
    snprintf(command, sizeof command, "rm -r %s", root);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("write");
    tcase_add_loop_test(tests, a_pipe_that_somebody_reads, 0, sizeof lines / sizeof lines[0]);
    tcase_add_loop_test(tests, a_socket_that_somebody_reads, 0, sizeof lines / sizeof lines[0]);
    tcase_add_loop_test(tests, nobody_reads, 0, 2);
    tcase_add_test(tests, a_pipe_whose_reader_is_gone);
    tcase_add_test(tests, a_file_that_may_not_grow);
    tcase_add_loop_test(tests, a_call_that_fails_and_is_tried_again, 0, sizeof interruptions / sizeof interruptions[0]);
    tcase_add_loop_test(tests, a_call_that_fails_until_the_time_is_over, 0, 2);
    tcase_add_test(tests, lines_go_to_stderr_as_it_was);
    tcase_add_test(tests, a_stderr_that_nobody_reads_holds_up_once);
    tcase_add_test(tests, which_rank_it_is);
    tcase_add_test(tests, paths_that_options_name);
    tcase_add_test(tests, directories_are_made);
    return suite_run("write", tests);
}
