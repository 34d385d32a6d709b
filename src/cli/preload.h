/* Where the library lies that `run` preloads. */
#ifndef PT_CLI_PRELOAD_H
#define PT_CLI_PRELOAD_H

#include <limits.h>
#include <stdbool.h>

#define PT_PRELOAD "libpintensor_preload.so"

/* Beside the command in a build tree, under its prefix when installed, else where it was configured to be. */
bool pt_preload_find(char path[PATH_MAX]);

/* Whether LD_PRELOAD, which knows no quotes, can name it: a space or a colon would part it. */
bool pt_preload_can_be_named(const char *path);

#endif
