/* What the programs driven by measure.py share. */
#include "pintensor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static __attribute__((unused)) pintensor_manager manager;

static inline void fail(const char *what)
{
    fprintf(stderr, "%s: failed: %s\n", what, pintensor_last_error());
    exit(1);
}

static inline void begin(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    puts("ready");
}

static inline double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* A line "KEY  1234 kB" of a file in /proc. */
static inline size_t proc_bytes(const char *path, const char *key)
{
    char line[256];
    size_t kib = 0;
    FILE *f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0 && sscanf(line + strlen(key), "%zu", &kib) == 1) {
            break;
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return kib << 10;
}
