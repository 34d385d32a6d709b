/* A few figures from another process's table, read from its file (PINTENSOR_DIR) as often as wanted: the header and the
 * sites alone. What is read may be damaged; nothing read here leads out of the file. */
#ifndef PT_TABLE_PEEK_H
#define PT_TABLE_PEEK_H

#include "ledger/table.h"

/* Copies the header. Returns 0, or as pt_table_load(). */
int pt_table_peek(int fd, struct pt_table *header);

/* Copies the site with the most bytes alive. False: nothing is, or the file is shorter than it was. */
bool pt_table_peek_largest(int fd, const struct pt_table *header, struct pt_site *out);

/* A string of the table, cut off to fit, without control characters; empty if there is none. */
void pt_table_peek_string(int fd, const struct pt_table *header, uint32_t offset, char *out, size_t cap);

#endif
