#include "cli/screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* The other screen, and no cursor; and back. */
#define ENTER "\033[?1049h\033[?25l"
#define LEAVE "\033[?25h\033[?1049l"

static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT}, others[] = {SIGTSTP, SIGWINCH};

static struct {
    bool terminal, keys, inside; /* stdout is one; stdin is; it is ours just now */
    struct termios before;
    sigset_t outside; /* the signals blocked before */
    int signal;       /* that ended it */
} screen;

static volatile sig_atomic_t stop, ended_by;

/* They arrive while pt_screen_wait() waits, and at no other time. */
static void take(int number)
{
    if (number == SIGTSTP) {
        stop = 1;
    } else if (number != SIGWINCH) {
        ended_by = number;
    }
}

static bool put(const char *s, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDOUT_FILENO, s, len);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        s += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

static void enter(void)
{
    if (screen.keys) {
        struct termios now = screen.before;
        now.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* keys at once; Ctrl-C and Ctrl-Z stay signals */
        (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &now);
    }
    screen.inside = screen.terminal && put(ENTER, strlen(ENTER));
}

static void leave(void)
{
    if (screen.inside) {
        (void)put(LEAVE, strlen(LEAVE));
        screen.inside = false;
    }
    if (screen.keys) {
        (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &screen.before);
    }
}

/* One that is ignored, as under nohup, stays so. */
static void catch_signal(int number, sigset_t *blocked)
{
    struct sigaction before, now = {.sa_handler = take};
    if (sigaction(number, NULL, &before) == 0 && before.sa_handler != SIG_IGN) {
        (void)sigaddset(blocked, number);
        (void)sigaction(number, &now, NULL);
    }
}

void pt_screen_begin(void)
{
    sigset_t blocked;
    (void)sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        catch_signal(ends[i], &blocked);
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        catch_signal(others[i], &blocked);
    }
    (void)sigprocmask(SIG_BLOCK, &blocked, &screen.outside);
    screen.terminal = isatty(STDOUT_FILENO);
    screen.keys =
        screen.terminal && tcgetpgrp(STDIN_FILENO) == getpgrp() && tcgetattr(STDIN_FILENO, &screen.before) == 0;
    enter();
}

/* So many bytes of a line as fill `columns`, a character each: no half of one. */
static size_t cut(const char *line, size_t len, size_t columns)
{
    size_t at = 0;
    for (size_t seen = 0; at < len; at++) {
        if (((unsigned char)line[at] & 0xc0) != 0x80 && ++seen > columns) {
            break;
        }
    }
    return at;
}

bool pt_screen_show(char *lines)
{
    struct winsize size = {0};
    if (!screen.terminal) {
        return put(lines, strlen(lines));
    }
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0;
    unsigned rows = known ? size.ws_row : 24, columns = known ? size.ws_col : 80;
    bool taken = put("\033[H", 3);
    char *line;
    for (unsigned row = 0; taken && row < rows && (line = strsep(&lines, "\n")) != NULL && *line != '\0'; row++) {
        taken = (row == 0 || put("\n", 1)) && put(line, cut(line, strlen(line), columns)) && put("\033[K", 3);
    }
    return taken && put("\033[J", 3);
}

bool pt_screen_wait(int ms)
{
    struct timespec most = {ms / 1000, ms % 1000 * 1000000L};
    struct pollfd key = {.fd = screen.keys ? STDIN_FILENO : -1, .events = POLLIN};
    char byte;
    int ready = ppoll(&key, 1, &most, &screen.outside);
    if (stop) {
        stop = 0;
        leave();
        (void)raise(SIGSTOP);
        enter();
        return true;
    }
    if (ended_by != 0) {
        screen.signal = ended_by;
        return false;
    }
    if (ready > 0) {
        ssize_t n = read(STDIN_FILENO, &byte, 1);
        return n > 0 ? byte != 'q' && byte != 'Q' : n < 0 && errno == EINTR;
    }
    return true;
}

void pt_screen_end(void)
{
    leave();
    if (screen.signal != 0) {
        (void)signal(screen.signal, SIG_DFL);
        (void)raise(screen.signal);
    }
    (void)sigprocmask(SIG_SETMASK, &screen.outside, NULL);
}
