#include "cli/report_options.h"

#include "base/options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

const struct pt_report_option_row pt_report_options[PT_REPORT_OPTIONS] = {
#define X(name, typed, value, help) {typed, value, help},
#include "cli/report_options.def"
#undef X
};

enum { HELP = 'h' };

/* One way to tell, and no more. */
static bool choose(struct pt_report_wish *w, enum pt_report_option option)
{
    if (w->format != PT_REPORT_OPTIONS && w->format != option) {
        fprintf(stderr, "pintensor: --%s and --%s are two ways to tell: ask for one\n",
                pt_report_options[w->format].name, pt_report_options[option].name);
        return false;
    }
    w->format = option;
    return true;
}

static bool choose_folded(struct pt_report_wish *w, const char *of)
{
    w->held = of != NULL && strcmp(of, "held") == 0;
    if (of != NULL && !w->held && strcmp(of, "peak") != 0) {
        fprintf(stderr, "pintensor: --folded=%s is not one of peak,held\n", of);
        return false;
    }
    return choose(w, PT_REPORT_FOLDED);
}

/* The words are those of PINTENSOR_FAIL_ON. */
static bool take_words(struct pt_report_wish *w, const char *words)
{
    char why[256], entry[256];
    struct pt_text t;
    pt_text_init(&t, why, sizeof why, -1);
    if (!pt_option_takes(PT_OPTION_FAIL_ON, words, &t) ||
        snprintf(entry, sizeof entry, "PINTENSOR_FAIL_ON=%s", words) >= (int)sizeof entry) {
        fprintf(stderr, "pintensor: --fail-on=%s %s\n", words, why);
        return false;
    }
    pt_options_load((char *[]){entry, NULL});
    w->fail_on = (unsigned)pt_option(PT_OPTION_FAIL_ON);
    return true;
}

static bool take(struct pt_report_wish *w, int option)
{
    switch (option) {
    case HELP: w->help = true; return true;
    case PT_REPORT_FOLDED: return choose_folded(w, optarg);
    case PT_REPORT_FAIL_ON: return take_words(w, optarg);
    case PT_REPORT_SUPPRESSIONS: w->suppressions = optarg; return true;
    default: return choose(w, (enum pt_report_option)option);
    }
}

static bool parse(int argc, char **argv, struct pt_report_wish *w)
{
    struct option options[PT_REPORT_OPTIONS + 2] = {[PT_REPORT_OPTIONS] = {"help", no_argument, NULL, HELP}};
    for (int i = 0; i < PT_REPORT_OPTIONS; i++) {
        const char *value = pt_report_options[i].value;
        int has = *value == '\0' ? no_argument : *value == '[' ? optional_argument : required_argument;
        options[i] = (struct option){pt_report_options[i].name, has, NULL, i};
    }
    int got;
    opterr = 0;
    optind = 1;
    /* Options may come behind paths: getopt_long() puts these last. */
    while ((got = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (got == '?' || got == ':') {
            fprintf(stderr,
                    got == ':' ? "pintensor: %s needs a value; see pintensor --help\n"
                               : "pintensor: %s is no option of report; see pintensor --help\n",
                    argv[optind - 1]);
            return false;
        }
        if (!take(w, got)) {
            return false;
        }
    }
    w->paths = optind;
    return true;
}

bool pt_report_options_take(int argc, char **argv, struct pt_report_wish *w)
{
    *w = (struct pt_report_wish){.format = PT_REPORT_OPTIONS};
    if (!parse(argc, argv, w)) {
        return false;
    }
    if (!w->help && w->paths == argc) {
        fprintf(stderr, "pintensor: report on what? Try: pintensor report DIRECTORY\n");
        return false;
    }
    if (!w->help && w->format == PT_REPORT_DIFF && argc - w->paths != 2) {
        fprintf(stderr, "pintensor: --diff is of two: pintensor report --diff BEFORE AFTER\n");
        return false;
    }
    return true;
}
