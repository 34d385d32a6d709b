/* The command `pintensor`: runs a program under the preload. A program of its own: it links only leaves. */
#pragma GCC diagnostic ignored "-Wframe-larger-than=" /* a program of its own */

#include "base/options.h"
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PRELOAD "libpintensor_preload.so"

static void print(const char *format, bool man, const char *before, const char *after)
{
    static char buf[16384];
    struct pt_text t;
    pt_text_init(&t, buf, sizeof buf, STDOUT_FILENO);
    pt_text_add(&t, format, before);
    pt_options_describe(&t, man);
    pt_text_add(&t, "%s", after);
    pt_text_flush(&t);
}

static int usage(void)
{
    print("%s", false,
          "usage: pintensor run [--OPTION=VALUE ...] [--] PROGRAM [ARGUMENT ...]\n"
          "       pintensor --help | --version | man\n\n"
          "Runs PROGRAM with its pinned tensors served by pintensor; at exit each process that pinned memory\n"
          "reports what was lost and which line allocated it. Options are taken from the environment, or given to\n"
          "`run` in lower case (--on-limit=pageable for PINTENSOR_ON_LIMIT=pageable):\n\n",
          "");
    return 0;
}

static int man(void)
{
    print(".TH PINTENSOR 1 \"\" \"pintensor " PINTENSOR_VERSION "\"\n"
          ".SH NAME\npintensor \\- serve pinned tensors from exact, reused, page-locked memory and report leaks\n"
          ".SH SYNOPSIS\n.B pintensor run\n[\\-\\-OPTION=VALUE ...] [\\-\\-] PROGRAM [ARGUMENT ...]\n"
          ".SH DESCRIPTION\nRuns PROGRAM with libpintensor_preload.so in LD_PRELOAD, so that the tensors of DeepSpeed's "
          "pinned-tensor manager come from pintensor. At exit each process that pinned memory prints a report: the "
          "sites that keep growing, what was dropped without free(), what was still held, and calls of free() that "
          "could not be. The program, its output and its exit status are unchanged.\n%s",
          true, ".SH OPTIONS\nEnvironment variables; `pintensor run` takes them in lower case too.\n",
          ".SH EXIT STATUS\nPROGRAM's; 127 if it cannot be started, 125 if the preload library is not found.\n"
          ".SH SEE ALSO\nThe C interface is described in pintensor.h.\n");
    return 0;
}

/* Beside the command in a build tree, under its prefix when installed, else where it was configured to be. */
static bool find_preload(char path[PATH_MAX])
{
    static const char *const places[] = {"%s/../lib/" PRELOAD, "%s/.libs/" PRELOAD, "%s/" PRELOAD};
    char self[PATH_MAX], candidate[PATH_MAX + 64];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = '\0';
    const char *directory = dirname(self);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct pt_text t;
        pt_text_init(&t, candidate, sizeof candidate, -1);
        pt_text_add(&t, places[i], directory);
        if (realpath(candidate, path) != NULL) {
            return true;
        }
    }
    return realpath(PINTENSOR_LIBDIR "/" PRELOAD, path) != NULL;
}

/* --on-limit=pageable becomes PINTENSOR_ON_LIMIT=pageable; whether there is such an option the library says. */
static bool set_option(const char *argument)
{
    char name[128] = "PINTENSOR_";
    size_t len = strlen(name);
    const char *equals = strchr(argument, '=');
    if (equals == NULL || equals - argument > 64) {
        return false;
    }
    for (const char *p = argument + 2; p < equals; p++) {
        name[len++] = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
    }
    name[len] = '\0';
    return setenv(name, equals + 1, 1) == 0;
}

static int run(char **argument)
{
    for (; *argument != NULL && strncmp(*argument, "--", 2) == 0; argument++) {
        if (strcmp(*argument, "--") == 0) {
            argument++;
            break;
        }
        if (!set_option(*argument)) {
            fprintf(stderr, "pintensor: %s is not --OPTION=VALUE; see pintensor --help\n", *argument);
            return 2;
        }
    }
    if (*argument == NULL) {
        fprintf(stderr, "pintensor: run what? Try: pintensor run -- deepspeed train.py\n");
        return 2;
    }
    char path[PATH_MAX], value[2 * PATH_MAX];
    if (!find_preload(path)) {
        fprintf(stderr, "pintensor: " PRELOAD " not found beside this command nor in " PINTENSOR_LIBDIR
                        "; run `make install` again\n");
        return 125;
    }
    if (strpbrk(path, " :") != NULL) { /* they part the entries of LD_PRELOAD, which knows no quotes */
        fprintf(stderr, "pintensor: %s has a space or a colon in its path, which LD_PRELOAD cannot express; install it "
                        "elsewhere\n", path);
        return 125;
    }
    const char *before = getenv("LD_PRELOAD");
    if (snprintf(value, sizeof value, "%s%s%s", path, before != NULL && *before != '\0' ? ":" : "",
                 before != NULL ? before : "") >= (int)sizeof value) {
        fprintf(stderr, "pintensor: LD_PRELOAD is too long already\n");
        return 125;
    }
    setenv("LD_PRELOAD", value, 1);
    execvp(argument[0], argument);
    fprintf(stderr, "pintensor: cannot run %s: %s\n", argument[0], strerror(errno));
    return 127;
}

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "run") == 0) {
        return run(argv + 2);
    }
    if (argc == 2 && strcmp(argv[1], "man") == 0) {
        return man();
    }
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        return puts("pintensor " PINTENSOR_VERSION) < 0;
    }
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        return usage();
    }
    fprintf(stderr, "pintensor: try `pintensor run -- PROGRAM` or `pintensor --help`\n");
    return 2;
}
