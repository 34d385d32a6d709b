/* The C API driven like cycle.c.
 *   is_managed LIVE      a question's time with so many blocks alive, all asked in random order: inside a block, foreign
 *   small COUNT SIZE     what so many blocks of so many bytes lock
 *   replay FILE          peak over a recorded trace of (VmLck less the reported cache), and of the bytes alive */
#include "bench.h"

static void *checked_alloc(size_t size)
{
    pintensor_block b;
    if (pintensor_alloc(manager, size, &b) != 0) {
        fail("alloc");
    }
    return b.data;
}

static void checked_free(void *data)
{
    if (pintensor_free(manager, data) != 0) {
        fail("free");
    }
}

static double ask(char *const *addresses, size_t live, size_t questions, bool expected)
{
    size_t right = 0;
    for (size_t i = 0; i < live; i++) { /* a first round outside the clock, whatever there is to ask about */
        right += pintensor_is_managed(addresses[i], 16) == expected;
    }
    double start = seconds();
    for (size_t i = 0, at = 0; i < questions; i++, at = at + 1 < live ? at + 1 : 0) {
        right += pintensor_is_managed(addresses[at], 16) == expected;
    }
    double elapsed = (seconds() - start) / (double)questions;
    if (right != live + questions) {
        fail("is_managed");
    }
    return elapsed;
}

static void is_managed(size_t live)
{
    enum { SIZE = 4096, QUESTIONS = 1000000 };
    char **blocks = malloc(live * sizeof *blocks), **foreign = malloc(live * sizeof *foreign);
    char *heap = malloc(live * 64 + 64);
    for (size_t i = 0; i < live; i++) {
        blocks[i] = (char *)checked_alloc(SIZE) + SIZE / 2;
        foreign[i] = heap + i * 64;
    }
    srand(1);
    for (size_t i = live - 1; i > 0; i--) {
        size_t j = (size_t)rand() % (i + 1);
        char *swap = blocks[i];
        blocks[i] = blocks[j];
        blocks[j] = swap;
    }
    double inside = ask(blocks, live, QUESTIONS, true), outside = ask(foreign, live, QUESTIONS, false);
    for (size_t i = 0; i < live; i++) {
        checked_free(blocks[i] - SIZE / 2);
    }
    free(heap);
    free(foreign);
    free(blocks);
    printf("%.9g %.9g\n", inside, outside);
}

static void small(size_t count, size_t size)
{
    void **blocks = malloc(count * sizeof *blocks);
    size_t before = proc_bytes("/proc/self/status", "VmLck:");
    for (size_t i = 0; i < count; i++) {
        blocks[i] = checked_alloc(size);
    }
    printf("%zu\n", proc_bytes("/proc/self/status", "VmLck:") - before);
    for (size_t i = 0; i < count; i++) {
        checked_free(blocks[i]);
    }
    free(blocks);
}

static void replay(const char *path)
{
    enum { BLOCKS_MOST = 1000000 };
    struct {
        void *data;
        size_t size;
    } *blocks = calloc(BLOCKS_MOST, sizeof *blocks);
    size_t count = 0, live = 0, peak_live = 0, peak_locked = 0, value;
    char sign;
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        fail(path);
    }
    while (fscanf(f, " %c%zu", &sign, &value) == 2) {
        if (sign == '+') {
            blocks[count].data = checked_alloc(value);
            blocks[count++].size = value;
            live += value;
        } else {
            checked_free(blocks[value].data);
            live -= blocks[value].size;
        }
        pintensor_stats stats;
        pintensor_get_stats(&stats, sizeof stats);
        size_t locked = proc_bytes("/proc/self/status", "VmLck:") - stats.cached_bytes;
        peak_locked = locked > peak_locked ? locked : peak_locked;
        peak_live = live > peak_live ? live : peak_live;
    }
    fclose(f);
    free(blocks);
    printf("%zu %zu\n", peak_locked, peak_live);
}

int main(void)
{
    char line[4096], path[4096];
    begin();
    manager = pintensor_manager_create();
    while (fgets(line, sizeof line, stdin) != NULL) {
        size_t count, size;
        if (sscanf(line, "is_managed %zu", &count) == 1) {
            is_managed(count);
        } else if (sscanf(line, "small %zu %zu", &count, &size) == 2) {
            small(count, size);
        } else if (sscanf(line, "replay %4095[^\n]", path) == 1) {
            replay(path);
        } else {
            fail(line);
        }
    }
    return 0;
}
