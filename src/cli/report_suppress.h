/* Suppressions in LeakSanitizer's syntax: lines "leak:PATTERN", and comments that begin with '#'. */
#ifndef PT_CLI_REPORT_SUPPRESS_H
#define PT_CLI_REPORT_SUPPRESS_H

#include "cli/report_model.h"

#include <stdio.h>

struct pt_suppression {
    char *pattern;                   /* as it was written */
    char *whole;                     /* what a whole name has to look like; '*' is anything */
    uint64_t blocks, bytes, misuses; /* that it was for */
};

struct pt_suppressions {
    struct pt_suppression *one;
    uint32_t count;
};

/* False: it was said on stderr what is wrong. */
bool pt_suppressions_read(struct pt_suppressions *s, const char *path);

/* Takes what they name out of the loaded table: it is neither growing, reclaimed, held nor misused then. The peak
 * stays, since that is what was there. */
void pt_suppressions_apply(struct pt_suppressions *s, struct pt_tables_one *one);

/* Those that were of use, as LeakSanitizer says it; nothing if none was. */
void pt_suppressions_tell(const struct pt_suppressions *s, FILE *out);

/* Lines for what the model has under `words` (PT_FAIL_*), with comments that say what each is for. */
void pt_suppressions_print(const struct pt_model *m, unsigned words, FILE *out);

#endif
