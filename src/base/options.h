/* The options a user sets in the environment, read once. A bad name or value costs one line on stderr and
 * leaves the default. A leaf. */
#ifndef PT_OPTIONS_H
#define PT_OPTIONS_H

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

enum pt_option {
#define X(name, kind, value, values, help) PT_OPTION_##name,
#include "base/options.def"
#undef X
    PT_OPTION_COUNT
};

/* Bits of PT_OPTION_FAIL_ON, in the order of its values. */
enum { PT_FAIL_GROWING = 1, PT_FAIL_RECLAIMED = 2, PT_FAIL_HELD = 4, PT_FAIL_MISUSED = 8 };
enum { PT_STACK_OFF, PT_STACK_PYTHON, PT_STACK_FULL };
enum { PT_LIMIT_ERROR, PT_LIMIT_PAGEABLE };
enum { PT_REUSE_STREAMS, PT_REUSE_STRICT };
enum { PT_EXIT_QUICK, PT_EXIT_UNLOCK };
enum { PT_DUMP_OFF, PT_DUMP_ON };
enum { PT_AT_SIGNAL_REPORT, PT_AT_SIGNAL_LEAVE };
enum { PT_SIGNAL_OFF, PT_SIGNAL_USR1, PT_SIGNAL_USR2 };
enum { PT_VERBOSE_OFF, PT_VERBOSE_ON };
enum { PT_TORCH_ON, PT_TORCH_OFF };
enum { PT_SERVE_FRAMEWORKS, PT_SERVE_ALL };
enum { PT_RECLAIM_DROP, PT_RECLAIM_FREE, PT_RECLAIM_EXIT };

/* Reads `environment` (as environ). Complaints go to stderr. Called once, before any other thread of ours. */
void pt_options_load(char **environment);

/* Reads this process's own environment, unless the program has rights that its caller has not: values as they are now,
 * by getenv(); names that are none as they were when the library was loaded. */
void pt_options_load_own(void);

/* CHOICE: index of the value; SET: bits; NUMBER: the number. */
uint64_t pt_option(enum pt_option option);
const char *pt_option_text(enum pt_option option);

/* Whether the environment says it, be it the default. */
bool pt_option_given(enum pt_option option);
bool pt_option_enabled(void);

/* ---- for the command, which checks and lists options and sets none ---- */

struct pt_option_row {
    const char *name; /* without PINTENSOR_ */
    enum pt_option_kind { PT_KIND_CHOICE, PT_KIND_SET, PT_KIND_NUMBER, PT_KIND_TEXT } kind;
    const char *value, *values, *help; /* `value`: the default */
};
const struct pt_option_row *pt_option_row(unsigned option);

/* The option whose name is most like this one, in capitals. */
unsigned pt_option_nearest(const char *name);

/* Whether it may have this value; else adds to `why` what the value is not. */
bool pt_option_takes(unsigned option, const char *value, struct pt_text *why);

/* The list that people read: as plain text, or as the OPTIONS section of a man page. */
void pt_options_describe(struct pt_text *out, bool man);

#endif
