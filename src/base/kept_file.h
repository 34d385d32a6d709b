/* Files of /proc and /sys that are opened early and kept (kept.h). They are read from their beginning each time. */
#ifndef PT_KEPT_FILE_H
#define PT_KEPT_FILE_H

#include "base/kept.h"

#include <stdint.h>

/* Opens it; one that is not there is none. */
void pt_kept_file_open(struct pt_kept *f, const char *path);

/* The number after `key`, in the first line that starts with it (an empty key: that the file starts with), or the sum
 * of all those in lines that start with blanks and it. False: there is none. */
bool pt_kept_file_number(const struct pt_kept *f, const char *key, uint64_t *out);
bool pt_kept_file_sum(const struct pt_kept *f, const char *key, uint64_t *out);

/* The former, 0 where there is none. */
uint64_t pt_kept_file_number_or_0(const struct pt_kept *f, const char *key);

#endif
