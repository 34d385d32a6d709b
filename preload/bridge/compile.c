#include "compile.h"

#include "base/text.h"
#include "base/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECONDS = 120, WORDS = 8, ARGUMENTS = 32 };

/* What a compiler needs to run, and nothing of what steers it: CPATH and its kin would put other headers before
 * torch's, LD_PRELOAD would bring us along. One thread at a time. */
static char **environment(void)
{
    static const char *const names[] = {"PATH=", "HOME=", "TMPDIR=", "LD_LIBRARY_PATH="};
    enum { NAMES = sizeof names / sizeof names[0] };
    static char *kept[NAMES + 1];
    size_t n = 0;
    for (char **e = environ; e != NULL && *e != NULL && n < NAMES; e++) {
        for (size_t i = 0; i < NAMES; i++) {
            if (strncmp(*e, names[i], strlen(names[i])) == 0) {
                kept[n++] = *e;
                break;
            }
        }
    }
    kept[n] = NULL;
    return kept;
}

/* As for a program started by a shell, whatever signals this one ignores or blocks; and in a group of its own, so that
 * all of the compiler's processes can be ended at once. */
static int spawn(pid_t *pid, char *const *argv, const char *log, int lock)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGCHLD);
    sigaddset(&defaults, SIGPIPE);
    if (posix_spawn_file_actions_init(&files) != 0 || posix_spawnattr_init(&attributes) != 0) {
        return ENOMEM;
    }
    (void)posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    (void)posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    (void)posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
    if (lock > STDERR_FILENO) {
        (void)posix_spawn_file_actions_adddup2(&files, lock, lock);
    }
    (void)posix_spawnattr_setsigmask(&attributes, &none);
    (void)posix_spawnattr_setsigdefault(&attributes, &defaults);
    (void)posix_spawnattr_setpgroup(&attributes, 0);
    (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    int error = posix_spawnp(pid, argv[0], &files, &attributes, argv, environment());
    (void)posix_spawnattr_destroy(&attributes);
    (void)posix_spawn_file_actions_destroy(&files);
    return error;
}

static enum compile_end wait_for(pid_t pid)
{
    struct pt_patience patience = pt_patience_for(SECONDS * INT64_C(1000000000));
    bool killed = false;
    int status;
    for (;;) {
        pid_t ended = waitpid(pid, &status, WNOHANG);
        if (ended == pid) {
            return killed                                          ? COMPILE_TOO_LONG
                   : WIFEXITED(status) && WEXITSTATUS(status) == 0 ? COMPILE_DONE
                                                                   : COMPILE_FAILED;
        }
        if (ended < 0 && errno == ECHILD) {
            return killed ? COMPILE_TOO_LONG : COMPILE_DONE; /* the program's own handler was faster */
        }
        if (!killed && pt_patience_left(&patience) == 0) {
            (void)kill(-pid, SIGKILL);
            killed = true;
        }
        pt_wait_pause(10000000);
        pt_patience_slept(&patience, 10000000);
    }
}

enum compile_end compile_run_program(char *const *argv, const char *log, int lock)
{
    pid_t pid;
    int error = spawn(&pid, argv, log, lock);
    return error == 0                                               ? wait_for(pid)
           : error == ENOENT || error == ENOTDIR || error == EACCES ? COMPILE_NO_COMPILER
                                                                    : COMPILE_NOT_STARTED;
}

enum compile_end compile_run(const char *const *arguments, const char *log, int lock)
{
    static const char *const usual[] = {"c++", "g++", "clang++"};
    static char words[1024], *argv[WORDS + ARGUMENTS + 1];
    const char *wanted = secure_getenv("CXX");
    enum compile_end none = COMPILE_NO_COMPILER;
    unsigned first = wanted != NULL && wanted[0] != '\0' ? 0 : 1;
    for (unsigned i = first; i <= sizeof usual / sizeof usual[0]; i++) {
        struct pt_text t;
        pt_text_init(&t, words, sizeof words, -1);
        pt_text_add(&t, "%s", i == 0 ? wanted : usual[i - 1]);
        unsigned n = 0;
        char *rest = words, *word;
        while (n < WORDS && (word = strsep(&rest, " \t")) != NULL) {
            if (word[0] != '\0') {
                argv[n++] = word;
            }
        }
        if (n == 0) {
            continue;
        }
        for (unsigned a = 0; a < ARGUMENTS && arguments[a] != NULL; a++) {
            argv[n++] = (char *)(uintptr_t)arguments[a];
        }
        argv[n] = NULL;
        enum compile_end end = compile_run_program(argv, log, lock);
        if (end != COMPILE_NO_COMPILER && end != COMPILE_NOT_STARTED) {
            return end;
        }
        none = end == COMPILE_NOT_STARTED ? end : none;
    }
    return none;
}
