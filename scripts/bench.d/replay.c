/* Replays a recorded trace of pinned memory (record.py) on the fake driver of the tests, driven like cycle.c:
 *   replay DIVISOR FILE    registrations, unregistrations; the highest of (locked / the most alive so far); bytes
 * locked when most was alive, that most, the most locked; how often giving a registration back met work in flight;
 * seconds. With FAKE_DRIVER, the path of the built tests/libcuda.so.1. One trace a process.
 *
 * A stream uses a block from "~" to just after the next block is dropped, whichever that is. The blocks are not
 * touched, but registering them takes the memory: sizes are divided by DIVISOR where a trace is larger than this
 * machine. */
#include "bench.h"

#include <dlfcn.h>

enum { BLOCKS_MOST = 1000000 };

/* Below that much alive, what comes in whole chunks is more than its part. */
#define FROM ((size_t)16 << 20)

static void (*fake_start)(int), (*fake_works)(int), (*fake_launch)(void *), (*fake_run)(void *);
static void *(*fake_stream)(int);
static size_t (*fake_count)(char);

static void *symbol(void *library, const char *name)
{
    void *found = dlsym(library, name);
    if (found == NULL) {
        fprintf(stderr, "the fake driver has no %s\n", name);
        exit(1);
    }
    return found;
}

static void start(void)
{
    const char *path = getenv("FAKE_DRIVER");
    void *library = path != NULL ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (library == NULL) {
        fprintf(stderr, "FAKE_DRIVER: %s\n", path != NULL ? dlerror() : "is not set");
        exit(1);
    }
    *(void **)&fake_start = symbol(library, "fake_start");
    *(void **)&fake_works = symbol(library, "fake_works");
    *(void **)&fake_launch = symbol(library, "fake_launch");
    *(void **)&fake_run = symbol(library, "fake_run");
    *(void **)&fake_stream = symbol(library, "fake_stream");
    *(void **)&fake_count = symbol(library, "fake_count");
    fake_start(0);
    fake_works(1); /* else nobody would, while this thread waits */
}

static struct {
    char *data;
    size_t size;
} blocks[BLOCKS_MOST];

static size_t live, peak_live, peak_locked, locked_then;
static double worst;

static void note_peaks(void)
{
    pintensor_stats stats;
    pintensor_get_stats(&stats, sizeof stats);
    size_t locked = stats.locked_bytes;
    if (live > peak_live) {
        peak_live = live;
        locked_then = locked;
    }
    double ratio = (double)locked / (double)peak_live;
    worst = peak_live > FROM && ratio > worst ? ratio : worst;
    peak_locked = locked > peak_locked ? locked : peak_locked;
}

static void make(size_t number, size_t size)
{
    pintensor_block b;
    if (number == BLOCKS_MOST || pintensor_alloc(manager, size, &b) != 0) {
        fail("alloc");
    }
    blocks[number].data = b.data;
    blocks[number].size = size;
    live += size;
}

static void use(size_t number, void *stream)
{
    fake_launch(stream);
    if (pintensor_record_stream(blocks[number].data, stream) != 0) {
        fail("record_stream");
    }
}

static void drop(size_t number)
{
    if (pintensor_free(manager, blocks[number].data) != 0) {
        fail("free");
    }
    live -= blocks[number].size;
}

static void replay(size_t divisor, const char *path)
{
    char line[256];
    size_t count = 0, value;
    void *stream = fake_stream(0);
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        fail(path);
    }
    double begin = seconds();
    while (fgets(line, sizeof line, f) != NULL) {
        if (line[0] == '#') { /* where the trace comes from */
            continue;
        }
        if (strchr("+-~", line[0]) == NULL || sscanf(line + 1, "%zu", &value) != 1 ||
            (line[0] != '+' && value >= count)) {
            fail(line);
        }
        if (line[0] == '+') {
            make(count++, value / divisor + (value < divisor));
        } else if (line[0] == '~') {
            use(value, stream);
        } else {
            drop(value);
            fake_run(stream);
        }
        note_peaks();
    }
    double elapsed = seconds() - begin;
    fclose(f);
    printf("%zu %zu %.6g %zu %zu %zu %zu %.6g\n", fake_count('r'), fake_count('r') - fake_count('s'), worst,
           locked_then, peak_live, peak_locked, fake_count('l'), elapsed);
}

int main(void)
{
    char line[4200], path[4096];
    size_t divisor;
    begin();
    start();
    manager = pintensor_manager_create();
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "replay %zu %4095[^\n]", &divisor, path) == 2 && divisor > 0) {
            replay(divisor, path);
        } else {
            fail(line);
        }
    }
    return 0;
}
