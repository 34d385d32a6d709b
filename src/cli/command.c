/* The command `pintensor`: runs a program under the preload. A program of its own. */
#include "base/options.h"
#include "cli/arguments.h"
#include "cli/completion.h"
#include "cli/doctor.h"
#include "cli/pages.h"
#include "cli/preload.h"
#include "cli/program.h"
#include "cli/remote.h"
#include "cli/report_verb.h"
#include "cli/summary.h"
#include "cli/top.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The library goes first, so that it stands before what else may define the same symbols. 125: said why not. */
static int preload(const char *path)
{
    if (!pt_preload_can_be_named(path)) {
        fprintf(stderr,
                "pintensor: %s has a space or a colon in its path, which LD_PRELOAD cannot express; install it "
                "elsewhere\n",
                path);
        return 125;
    }
    char value[2 * PATH_MAX];
    const char *before = getenv("LD_PRELOAD");
    if (snprintf(value, sizeof value, "%s%s%s", path, before != NULL && *before != '\0' ? ":" : "",
                 before != NULL ? before : "") >= (int)sizeof value) {
        fprintf(stderr, "pintensor: LD_PRELOAD is too long already\n");
        return 125;
    }
    return setenv("LD_PRELOAD", value, 1) == 0 ? 0 : 125;
}

static bool verbose(void)
{
    const char *value = getenv("PINTENSOR_VERBOSE");
    char entry[64];
    if (value == NULL || snprintf(entry, sizeof entry, "PINTENSOR_VERBOSE=%s", value) >= (int)sizeof entry) {
        return false;
    }
    pt_options_load((char *[]){entry, NULL});
    return pt_option(PT_OPTION_VERBOSE) != PT_VERBOSE_OFF;
}

static int run(int argc, char **argv)
{
    char **program, path[PATH_MAX];
    switch (pt_arguments_take(argc, argv, &program)) {
    case PT_ARGUMENTS_HELP: return pt_pages_help();
    case PT_ARGUMENTS_VERSION: return puts("pintensor " PINTENSOR_VERSION) < 0;
    case PT_ARGUMENTS_WRONG: return 2;
    case PT_ARGUMENTS_RUN: break;
    }
    if (*program == NULL) {
        fprintf(stderr, "pintensor: run what? Try: pintensor run -- deepspeed train.py\n");
        return 2;
    }
    if (!pt_preload_find(path)) {
        fprintf(stderr, "pintensor: " PT_PRELOAD " not found beside this command nor in " PINTENSOR_LIBDIR
                        "; run `make install` again\n");
        return 125;
    }
    int status = preload(path);
    if (status != 0) {
        return status;
    }
    struct pt_summary summary;
    struct pt_program child;
    pt_summary_begin(&summary);
    int error =
        pt_program_run(pt_remote_carry(program, path, summary.directory[0] != '\0' ? summary.directory : NULL), &child);
    if (error != 0) {
        fprintf(stderr, "pintensor: cannot start a process: %s\n", strerror(-error));
        return 125;
    }
    pt_summary_end(&summary, verbose(), &child, program);
    pt_program_end_as(&child);
}

static int complete(const char *shell)
{
    if (strcmp(shell, "bash") != 0 && strcmp(shell, "zsh") != 0) {
        fprintf(stderr, "pintensor: there is completion for bash and for zsh\n");
        return 2;
    }
    return pt_completion(strcmp(shell, "zsh") == 0);
}

static int doctor(int count, char **words)
{
    if (count > 1 || (count == 1 && strcmp(words[0], "--json") != 0)) {
        fprintf(stderr, "pintensor: doctor takes --json and nothing else\n");
        return 2;
    }
    return pt_doctor(count == 1);
}

int main(int argc, char **argv)
{
    const char *verb = argc >= 2 ? argv[1] : "";
    if (strcmp(verb, "run") == 0) {
        return run(argc - 1, argv + 1);
    }
    if (strcmp(verb, "report") == 0) {
        return pt_report_verb(argc - 1, argv + 1);
    }
    if (strcmp(verb, "top") == 0) {
        return pt_top(argc - 1, argv + 1);
    }
    if (strcmp(verb, "doctor") == 0) {
        return doctor(argc - 2, argv + 2);
    }
    if (argc == 2 && strcmp(verb, "man") == 0) {
        return pt_pages_man();
    }
    if (argc == 3 && strcmp(verb, "completion") == 0) {
        return complete(argv[2]);
    }
    if (argc == 2 && (strcmp(verb, "--version") == 0 || strcmp(verb, "-V") == 0)) {
        return puts("pintensor " PINTENSOR_VERSION) < 0;
    }
    if (argc == 2 && (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0)) {
        return pt_pages_help();
    }
    fprintf(stderr, "pintensor: try `pintensor run -- PROGRAM` or `pintensor --help`\n");
    return 2;
}
