/* A folder of the test's own, for suites that have files. */
#ifndef TESTS_FOLDER_H
#define TESTS_FOLDER_H

#include "suite.h"

#include <limits.h>

static char folder[] = "/tmp/pintensor-check-XXXXXX";

static inline void folder_begin(void)
{
    REQUIRE(mkdtemp(folder) != NULL);
}

/* The path of a name in it: one of the eight latest. */
static inline const char *in(const char *name)
{
    static char path[8][PATH_MAX];
    static unsigned next;
    char *out = path[next++ % 8];
    snprintf(out, sizeof path[0], "%s/%s", folder, name);
    return out;
}

/* With all that is in it, whatever PATH has become. */
static inline void folder_end(void)
{
    char command[sizeof folder + 16];
    snprintf(command, sizeof command, "/bin/rm -r %s", folder);
    REQUIRE(system(command) == 0);
}

#endif
