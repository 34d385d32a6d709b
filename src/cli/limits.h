/* What limits memory here, read from /proc and /sys. */
#ifndef PT_CLI_LIMITS_H
#define PT_CLI_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The machine's memory that is available, and all of it; 0: nobody knows. */
uint64_t pt_limits_available(void);
uint64_t pt_limits_total(void);

/* The cgroup, of all those around this process, that has the least room; `room` does not count the page cache for used.
 * False: none has a limit. */
struct pt_limits_cgroup {
    char folder[1024];
    const char *file; /* which the limit stands in */
    uint64_t limit, room;
    uint64_t high; /* the lowest memory.high, from which on the kernel slows down; UINT64_MAX: none */
};
bool pt_limits_cgroup(struct pt_limits_cgroup *out);

/* The first line of a file, without its end; false: it cannot be read. */
bool pt_limits_line(const char *path, char *out, size_t cap);

#endif
