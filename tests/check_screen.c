/* The terminal while `pintensor top` is on it: a pseudo-terminal, whose other end sees all that is written. */
#include "cli/screen.h"
#include "elsewhere.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

#define ENTER "\033[?1049h\033[?25l"
#define LEAVE "\033[?25h\033[?1049l"

static int master = -1;

/* stdin and stdout of this process, which leads a session of its own there. 0: the terminal tells no size. */
static void on_terminal(unsigned short rows, unsigned short columns)
{
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    REQUIRE(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int slave = openat(AT_FDCWD, ptsname(master), O_RDWR | O_NOCTTY);
    REQUIRE(slave >= 0 && ioctl(slave, TIOCSWINSZ, &size) == 0);
    pid_t child = fork(); /* a process that leads a group already cannot begin a session */
    if (child != 0) {
        int status;
        close(master);
        close(slave);
        REQUIRE(waitpid(child, &status, 0) == child);
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "it ended with %d", status);
        exit(0);
    }
    static const int usual[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};
    for (unsigned i = 0; i < sizeof usual / sizeof usual[0]; i++) {
        signal(usual[i], SIG_DFL); /* under nohup, or in a shell's background, some are ignored */
    }
    REQUIRE(setsid() > 0 && ioctl(slave, TIOCSCTTY, 0) == 0);
    dup2(slave, STDIN_FILENO);
    dup2(slave, STDOUT_FILENO);
    close(slave);
}

/* What was written since. */
static const char *seen(void)
{
    static char text[65536];
    size_t len = 0;
    struct pollfd more = {.fd = master, .events = POLLIN};
    while (len < sizeof text - 1 && poll(&more, 1, 0) > 0) {
        ssize_t n = read(master, text + len, sizeof text - 1 - len);
        if (n <= 0) {
            break;
        }
        len += (size_t)n;
    }
    text[len] = '\0';
    return text;
}

static unsigned mode(void)
{
    struct termios t;
    REQUIRE(tcgetattr(STDIN_FILENO, &t) == 0);
    return t.c_lflag & (ICANON | ECHO);
}

static void press(const char *keys)
{
    REQUIRE(write(master, keys, strlen(keys)) == (ssize_t)strlen(keys));
}

/* A test's work happens in a child of its process: what fails there ends that with another status. */
#define WELL() exit(0)

START_TEST(as_it_was_before)
{
    on_terminal(24, 80);
    unsigned before = mode();
    pt_screen_begin();
    ck_assert_str_eq(seen(), ENTER);
    ck_assert_uint_eq(mode(), 0);
    pt_screen_end();
    ck_assert_str_eq(seen(), LEAVE);
    ck_assert_uint_eq(mode(), before);
    sigset_t blocked;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    ck_assert(!sigismember(&blocked, SIGINT) && !sigismember(&blocked, SIGTSTP));
    WELL();
}
END_TEST

START_TEST(lines_are_cut_to_its_size)
{
    char lines[] = "four\ncolumns\n\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f\xc3\xa4\nfourth\nfifth\n";
    char few[] = "a\nb\n", empty_line[] = "a\n\nb\n", no_end[] = "last";
    on_terminal(4, 4);
    pt_screen_begin();
    (void)seen();
    ck_assert(pt_screen_show(lines));
    ck_assert_str_eq(seen(),
                     "\033[Hfour\033[K\r\ncolu\033[K\r\n\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f\033[K\r\nfour\033[K\033[J");
    ck_assert(pt_screen_show(few));
    ck_assert_str_eq(seen(), "\033[Ha\033[K\r\nb\033[K\033[J");
    ck_assert(pt_screen_show(empty_line)); /* that is its end */
    ck_assert_str_eq(seen(), "\033[Ha\033[K\033[J");
    ck_assert(pt_screen_show(no_end));
    ck_assert_str_eq(seen(), "\033[Hlast\033[K\033[J");
    WELL();
}
END_TEST

/* 24 by 80, as terminals are. */
START_TEST(one_that_tells_no_size)
{
    static const unsigned short sizes[][2] = {{0, 0}, {5, 0}, {0, 5}};
    char lines[30 * 101 + 1] = "";
    on_terminal(sizes[_i][0], sizes[_i][1]);
    for (unsigned row = 0; row < 30; row++) {
        memset(lines + row * 101, 'a' + (int)row % 26, 100);
        lines[row * 101 + 100] = '\n';
    }
    pt_screen_begin();
    (void)seen();
    ck_assert(pt_screen_show(lines));
    const char *text = seen();
    unsigned rows = 1;
    for (const char *at = text; (at = strstr(at, "\r\n")) != NULL; at++) {
        rows++;
    }
    ck_assert_uint_eq(rows, 24);
    ck_assert_uint_eq(strspn(text + 3, "a"), 80);
    WELL();
}
END_TEST

START_TEST(keys)
{
    on_terminal(24, 80);
    pt_screen_begin();
    ck_assert(pt_screen_wait(1)); /* none */
    press("x");
    ck_assert(pt_screen_wait(60000));
    press(_i == 0 ? "q" : "Q");
    ck_assert(!pt_screen_wait(60000));
    WELL();
}
END_TEST

START_TEST(nobody_is_there_any_more)
{
    on_terminal(24, 80);
    char lines[] = "a\nb\n";
    pt_screen_begin();
    close(master);
    raise(SIGHUP); /* as the kernel does */
    ck_assert(!pt_screen_wait(60000));
    ck_assert(!pt_screen_show(lines));
    WELL();
}
END_TEST

START_TEST(its_input_ends)
{
    on_terminal(24, 80);
    pt_screen_begin();
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    ck_assert(!pt_screen_wait(60000));
    int nowhere = openat(AT_FDCWD, "/proc/self/mem", O_RDONLY); /* what reading fails from */
    dup2(nowhere, STDIN_FILENO);
    ck_assert(!pt_screen_wait(60000));
    WELL();
}
END_TEST

/* The size has changed: another look. Ctrl-Z: it stops, and goes on. */
START_TEST(signals_that_end_nothing)
{
    on_terminal(24, 80);
    pt_screen_begin();
    (void)seen();
    raise(SIGWINCH);
    ck_assert(pt_screen_wait(60000));
    ck_assert_str_eq(seen(), "");
    pid_t parent = getpid(), child = fork();
    if (child == 0) { /* lets it go on once it has stopped */
        char path[64], line[512];
        snprintf(path, sizeof path, "/proc/%d/stat", parent);
        for (;;) {
            FILE *f = fopen(path, "r");
            bool stopped = f != NULL && fgets(line, sizeof line, f) != NULL && strstr(line, ") T ") != NULL;
            if (f != NULL) {
                fclose(f);
            }
            if (stopped) {
                break;
            }
            usleep(1000);
        }
        kill(parent, SIGCONT);
        exit(0);
    }
    raise(SIGTSTP);
    ck_assert(pt_screen_wait(60000));
    int status;
    REQUIRE(waitpid(child, &status, 0) == child);
    ck_assert_str_eq(seen(), LEAVE ENTER);
    ck_assert_uint_eq(mode(), 0);
    WELL();
}
END_TEST

START_TEST(signals_that_end_it)
{
    static const int all[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    on_terminal(24, 80);
    unsigned before = mode();
    pt_screen_begin();
    (void)seen();
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        raise(all[_i]);
        if (!pt_screen_wait(60000)) {
            pt_screen_end();
        }
        exit(0);
    }
    int status;
    REQUIRE(waitpid(child, &status, 0) == child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == all[_i]);
    ck_assert_str_eq(seen(), LEAVE);
    ck_assert_uint_eq(mode(), before);
    WELL();
}
END_TEST

/* As nohup has them: they stay so. */
START_TEST(signals_that_are_ignored)
{
    struct sigaction now;
    on_terminal(24, 80);
    signal(SIGHUP, SIG_IGN);
    pt_screen_begin();
    raise(SIGHUP);
    ck_assert(pt_screen_wait(1));
    REQUIRE(sigaction(SIGHUP, NULL, &now) == 0);
    ck_assert(now.sa_handler == SIG_IGN);
    WELL();
}
END_TEST

START_TEST(output_that_is_no_terminal)
{
    char lines[] = "a long line\n\nb\n";
    listen_to_output(STDOUT_FILENO);
    pt_screen_begin();
    ck_assert(pt_screen_show(lines));
    ck_assert(pt_screen_wait(1));
    pt_screen_end();
    ck_assert_str_eq(said(), "a long line\n\nb\n");
    int full = openat(AT_FDCWD, "/dev/full", O_WRONLY), out = fcntl(STDOUT_FILENO, F_DUPFD, 10);
    dup2(full, STDOUT_FILENO);
    bool taken = pt_screen_show(lines);
    dup2(out, STDOUT_FILENO);
    ck_assert(!taken);
}
END_TEST

/* A terminal that another job has: its keys are not ours. */
START_TEST(input_of_others)
{
    on_terminal(24, 80);
    unsigned before = mode();
    int nothing = openat(AT_FDCWD, "/dev/null", O_RDONLY);
    dup2(nothing, STDIN_FILENO);
    pt_screen_begin();
    ck_assert_str_eq(seen(), ENTER);
    ck_assert(pt_screen_wait(1)); /* which would be the end of it, were it read */
    pt_screen_end();
    ck_assert_str_eq(seen(), LEAVE);
    dup2(STDOUT_FILENO, STDIN_FILENO);
    ck_assert_uint_eq(mode(), before);
    WELL();
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("screen");
    tcase_add_test(tests, as_it_was_before);
    tcase_add_test(tests, lines_are_cut_to_its_size);
    tcase_add_loop_test(tests, one_that_tells_no_size, 0, 3);
    tcase_add_loop_test(tests, keys, 0, 2);
    tcase_add_test(tests, nobody_is_there_any_more);
    tcase_add_test(tests, its_input_ends);
    tcase_add_test(tests, signals_that_end_nothing);
    tcase_add_loop_test(tests, signals_that_end_it, 0, 4);
    tcase_add_test(tests, signals_that_are_ignored);
    tcase_add_test(tests, output_that_is_no_terminal);
    tcase_add_test(tests, input_of_others);
    return suite_run("screen", tests);
}
