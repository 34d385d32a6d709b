/* The processes of a directory of tables (PINTENSOR_DIR) that run on this machine, for `pintensor top`. */
#ifndef PT_CLI_WATCHED_H
#define PT_CLI_WATCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pt_watched_state { PT_WATCHED_RUNS, PT_WATCHED_ENDED, PT_WATCHED_KILLED };

struct pt_watched {
    char name[256];    /* of the file */
    int fd;            /* -1: not open any more */
    bool seen_running; /* since we look: others are of no interest */
    enum pt_watched_state state;
    int pid, rank;
    uint64_t live, locked, cached, peak; /* bytes; of all locked ones some are cached; peak is the most locked in use */
    uint64_t others;                     /* bytes that others pin, served without us */
    char program[64], line[320];         /* the line that has most alive */
    int64_t looked_ms;                   /* when the line was looked for */
};

/* Sorted by rank, then pid. All of them at once, by one thread. */
struct pt_watched_all {
    struct pt_watched *all;
    size_t count;
    int64_t scanned_ms;
};

/* Reads everything again; new files are looked for once a second. Returns 0, or the -errno of the directory. */
int pt_watched_look(struct pt_watched_all *w, const char *directory);

/* The directory in which that process, or one that descends from it, keeps its table; false: there is none. */
bool pt_watched_directory_of(int pid, char *out, size_t cap);

#endif
