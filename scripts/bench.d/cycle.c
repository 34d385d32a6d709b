/* The C API driven by lines on stdin, each answered by a line of numbers (seconds, bytes): measure.py starts it.
 *   cycle SIZE COUNT TOUCH    allocates and frees; a cycle's time
 *   first SIZE                the first block of the process, every byte written: time, AnonHugePages, ShmemPmdMapped
 * Linked with libpintensor, or with raw.c, which answers the same calls with nothing but jemalloc. */
#include "bench.h"

static void cycle(size_t size, size_t count, int touch)
{
    pintensor_block b;
    manager = manager != 0 ? manager : pintensor_manager_create();
    double start = seconds();
    for (size_t i = 0; i < count; i++) {
        if (pintensor_alloc(manager, size, &b) != 0) {
            fail("alloc");
        }
        if (touch) {
            memset(b.data, 1, size);
        }
        if (pintensor_free(manager, b.data) != 0) {
            fail("free");
        }
    }
    printf("%.9g\n", (seconds() - start) / (double)count);
}

static void first(size_t size)
{
    pintensor_block b;
    double start = seconds();
    manager = pintensor_manager_create();
    if (pintensor_alloc(manager, size, &b) != 0) {
        fail("alloc");
    }
    memset(b.data, 1, size);
    double elapsed = seconds() - start;
    printf("%.9g %zu %zu\n", elapsed, proc_bytes("/proc/self/smaps_rollup", "AnonHugePages:"),
           proc_bytes("/proc/self/smaps_rollup", "ShmemPmdMapped:"));
}

int main(void)
{
    char line[256];
    begin();
    while (fgets(line, sizeof line, stdin) != NULL) {
        size_t size, count;
        int touch;
        if (sscanf(line, "cycle %zu %zu %d", &size, &count, &touch) == 3) {
            cycle(size, count, touch);
        } else if (sscanf(line, "first %zu", &size) == 1) {
            first(size);
        } else {
            fail(line);
        }
    }
    return 0;
}
