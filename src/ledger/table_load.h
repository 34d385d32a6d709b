/* A table that another process keeps, or kept, in a file (PINTENSOR_DIR): read whole and made safe to look at, since it
 * may be cut off in the middle of a word, damaged, or no table at all. */
#ifndef PT_TABLE_LOAD_H
#define PT_TABLE_LOAD_H

#include "ledger/table.h"

/* Copies the table in `fd` and makes the copy this process's table, in place of one that was loaded before. Numbers and
 * strings in it can be followed without a look at their bounds, and strings hold no control characters. Returns 0, or
 * -ENODATA: no table; -EPROTO: one of another version of pintensor; -EINVAL: a damaged one; or the errno of what
 * failed. For programs that only read. */
int pt_table_load(int fd);

/* The same for bytes in memory, which become the table and are changed: `len` of them. */
int pt_table_load_bytes(void *bytes, size_t len);

/* Of a copy of a header, whether what it says of the file's parts lies within the file's `len` bytes. 0, or as above.
 */
int pt_table_check_header(const struct pt_table *t, uint64_t len);

/* One more string for the table that was loaded: its offset; 0: there is no room. */
uint32_t pt_table_load_string(const char *s);

/* Names come from the program: what would steer a terminal is not printed. The last byte becomes NUL. */
void pt_table_clean_strings(char *s, uint64_t len);

#endif
