#include "cli/pages.h"

#include "base/options.h"
#include "cli/report_options.h"

#include <stdio.h>
#include <string.h>

struct row {
    const char *name, *arguments, *help;
};

static const struct row verbs[] = {
#define X(name, arguments, help) {#name, arguments, help},
#include "cli/verbs.def"
#undef X
};

static const struct row statuses[] = {
#define X(status, help) {status, "", help},
#include "cli/statuses.def"
#undef X
};

static const struct row words[] = {
#define X(word, help) {#word, "", help},
#include "cli/words.def"
#undef X
};

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

static void print_options(bool man)
{
    static char buf[32768];
    struct pt_text t;
    pt_text_init(&t, buf, sizeof buf, -1);
    pt_options_describe(&t, man);
    fputs(buf, stdout);
}

static int done(void)
{
    return fflush(stdout) != 0 || ferror(stdout);
}

int pt_pages_help(void)
{
    for (size_t i = 0; i < COUNT(verbs); i++) {
        printf("%s pintensor %s%s%s\n", i == 0 ? "usage:" : "      ", verbs[i].name,
               *verbs[i].arguments != '\0' ? " " : "", verbs[i].arguments);
    }
    puts("       pintensor --help | -h | --version | -V\n");
    for (size_t i = 0; i < COUNT(verbs); i++) {
        printf("  %-12s%s\n", verbs[i].name, verbs[i].help);
    }
    puts("\nAt exit each process that pinned memory reports what was lost and which line allocated it; after the run\n"
         "there is a summary of all of them, if something is to be said. Options are taken from the environment, or\n"
         "given to `run` in lower case (--on-limit=pageable or --on-limit pageable for PINTENSOR_ON_LIMIT=pageable);\n"
         "on and off may be 1 and 0, true and false too:\n");
    print_options(false);
    puts("\nOptions of `report`:");
    for (unsigned i = 0; i < PT_REPORT_OPTIONS; i++) {
        const struct pt_report_option_row *o = &pt_report_options[i];
        printf("  --%s%s\n      %s\n", o->name, o->value, o->help);
    }
    puts("\nExit status:");
    for (size_t i = 0; i < COUNT(statuses); i++) {
        printf("  %s\n      %s\n", statuses[i].name, statuses[i].help);
    }
    return done();
}

static void print_rows(const char *section, const struct row *rows, size_t count)
{
    printf(".SH %s\n", section);
    for (size_t i = 0; i < count; i++) {
        printf(".TP\n.B %s%s%s\n%s.\n", rows[i].name, *rows[i].arguments != '\0' ? " " : "", rows[i].arguments,
               rows[i].help);
    }
}

int pt_pages_man(void)
{
    puts(".TH PINTENSOR 1 \"\" \"pintensor " PINTENSOR_VERSION "\"\n"
         ".SH NAME\npintensor \\- serve pinned tensors from exact, reused, page-locked memory and report leaks\n"
         ".SH SYNOPSIS");
    for (size_t i = 0; i < COUNT(verbs); i++) {
        printf("%s.B pintensor %s\n%s%s", i == 0 ? "" : ".br\n", verbs[i].name, verbs[i].arguments,
               *verbs[i].arguments != '\0' ? "\n" : "");
    }
    puts(".SH DESCRIPTION\nRuns PROGRAM with libpintensor_preload.so in LD_PRELOAD, so that the tensors of DeepSpeed's "
         "pinned-tensor manager and what torch pins come from pintensor. At exit each process that pinned memory "
         "writes a "
         "report. PROGRAM's output and its exit status are unchanged, and signals that pintensor is sent are passed on "
         "to "
         "it.\n.PP\n"
         "After the run one summary tells which processes on this machine lost memory, which ended without a report, "
         "which "
         "ranks ran without pintensor, and what to type next. It says nothing where there is nothing to say; "
         "PINTENSOR_VERBOSE=on makes it speak.\n.PP\n"
         "DeepSpeed's launcher hands only some variables on to other machines. Where PROGRAM is that launcher, "
         "it is told of pintensor's by DS_ENV_FILE: a file that begins with what .deepspeed_env says already. Where "
         "PROGRAM "
         "is Open MPI's mpirun, \\-x is added for each of them.");
    print_rows("COMMANDS", verbs, COUNT(verbs));
    puts(".SH OPTIONS\nEnvironment variables; `pintensor run` takes them in lower case too. On and off may be 1 and 0, "
         "true and false.");
    print_options(true);
    puts(".SH OPTIONS OF REPORT");
    for (unsigned i = 0; i < PT_REPORT_OPTIONS; i++) {
        const struct pt_report_option_row *o = &pt_report_options[i];
        printf(".TP\n.B \\-\\-%s%s\n%s.\n", o->name, o->value, o->help);
    }
    print_rows("THE REPORT'S WORDS", words, COUNT(words));
    print_rows("EXIT STATUS", statuses, COUNT(statuses));
    puts(".SH FILES\n.TP\n.I " PINTENSOR_LIBDIR
         "/libpintensor_preload.so\nwhat is preloaded, unless it lies beside the command.\n"
         ".TP\n.I $XDG_CACHE_HOME/pintensor\nor ~/.cache/pintensor: what was compiled to serve torch's pinned memory.\n"
         ".TP\n.I .deepspeed_env\nin the home directory or the current one: variables that DeepSpeed's launcher hands "
         "on.\n"
         ".TP\n.I $TMPDIR/pintensor\\-job\\-*\nor in /tmp: what the processes of a job tell for its summary; removed "
         "after it.\n"
         ".SH EXAMPLES\n.TP\n.B pintensor run \\-\\- deepspeed train.py\na job as it is, with the report on stderr.\n"
         ".TP\n.B pintensor run \\-\\-report 'leaks\\-%r.txt' \\-\\- torchrun \\-\\-nproc\\-per\\-node 8 train.py\n"
         "a report for each rank.\n"
         ".TP\n.B pintensor run \\-\\-exitcode=3 \\-\\- python tests/train_briefly.py\n"
         "a check that fails when pinned memory is lost.\n"
         ".TP\n.B pintensor run \\-\\-on\\-limit=pageable \\-\\- python train.py\n"
         "going on with memory that is not locked where no more can be.\n"
         ".SH SEE ALSO\nThe C interface is described in pintensor.h.");
    return done();
}
