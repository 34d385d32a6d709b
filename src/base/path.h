/* Paths that options name. A relative one begins where the program was started: it may change its directory before the
 * path is used. */
#ifndef PT_PATH_H
#define PT_PATH_H

#include "base/text.h"

#include <stdbool.h>

#define PT_PATH_MOST 8192

/* Adds the path; %p in it is the pid, %r the rank (0 if there is none), %h the host's name. */
void pt_path_add(struct pt_text *t, const char *pattern, int pid, int rank);

/* Makes the directories that lead to the path, where they are not there; it is written to meanwhile. False, with errno:
 * one cannot be made. */
bool pt_path_make_directories(char *path);

/* The host's name, without its domain. */
void pt_path_add_host(struct pt_text *t);

/* Whether that is the name of this host, as it is added. */
bool pt_path_is_this_host(const char *name);

#endif
