/* The table in a file that outlives the process (PINTENSOR_DIR): one file a process. A forked child has none of its
 * parent's. */
#ifndef PT_TABLE_FILE_H
#define PT_TABLE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Makes this process's file, if one is asked for; one line if that cannot be. */
void pt_table_file_begin(int pid, int rank);

/* Maps a part of it over reserved addresses. False: there is no file, or no room for more (one line), from now on. */
bool pt_table_file_map(void *p, size_t len, off_t offset);

/* Whether there is one, and all that was asked for is in it. */
bool pt_table_file_whole(void);

/* There was no room for what a reader needs at least. */
void pt_table_file_remove(void);

/* In a forked child. */
void pt_table_file_forget(void);

#endif
