/* The options of `pintensor report`. */
#ifndef PT_CLI_REPORT_OPTIONS_H
#define PT_CLI_REPORT_OPTIONS_H

#include <stdbool.h>

enum pt_report_option {
#define X(name, typed, value, help) PT_REPORT_##name,
#include "cli/report_options.def"
#undef X
    PT_REPORT_OPTIONS
};

/* What can be typed: for --help, the man page and the completion. */
struct pt_report_option_row {
    const char *name, *value, *help; /* `value`: what follows a '='; empty: nothing does; in []: it need not */
};
extern const struct pt_report_option_row pt_report_options[PT_REPORT_OPTIONS];

/* What was asked for. */
struct pt_report_wish {
    enum pt_report_option format; /* PT_REPORT_OPTIONS: in words */
    bool held;                    /* of FOLDED */
    unsigned fail_on;             /* PT_FAIL_* */
    const char *suppressions;     /* NULL: none */
    bool help;
    int paths; /* the first of argv's that is no option */
};

/* False: it was said on stderr what is wrong. */
bool pt_report_options_take(int argc, char **argv, struct pt_report_wish *wish);

#endif
