/* The C API from many threads, driven like cycle.c.
 *   threads N BYTES LOOPS    N threads, each allocating and freeing a block of its own so often: cycles a second in all
 *   blocks N BYTES LOOPS     the same with pintensor_free_block */
#include "bench.h"

#include <pthread.h>

enum { THREADS_MOST = 1024 };

static pthread_barrier_t together;
static size_t bytes, loops;
static int by_block;

/* Each thread notes its own times, and the last end less the first begin counts: who starts late is not left out. */
static struct times {
    double begun, ended;
} __attribute__((aligned(128))) times[THREADS_MOST];

static void cycle(size_t count)
{
    for (size_t i = 0; i < count; i++) {
        pintensor_block b;
        if (pintensor_alloc(manager, bytes, &b) != 0) {
            fail("alloc");
        }
        if ((by_block ? pintensor_free_block(manager, &b) : pintensor_free(manager, b.data)) != 0) {
            fail("free");
        }
    }
}

static void *work(void *mine)
{
    struct times *t = mine;
    pintensor_block b;
    /* All hold a block at once before the clock runs: from then on there is one cached for each. */
    if (pintensor_alloc(manager, bytes, &b) != 0) {
        fail("alloc");
    }
    pthread_barrier_wait(&together);
    if (pintensor_free_block(manager, &b) != 0) {
        fail("free");
    }
    pthread_barrier_wait(&together);
    cycle(loops / 10);
    pthread_barrier_wait(&together);
    t->begun = seconds();
    cycle(loops);
    t->ended = seconds();
    return NULL;
}

static void threads(unsigned count)
{
    pthread_t id[THREADS_MOST];
    pthread_barrier_init(&together, NULL, count);
    for (unsigned i = 0; i < count; i++) {
        if (pthread_create(&id[i], NULL, work, &times[i]) != 0) {
            fail("pthread_create");
        }
    }
    for (unsigned i = 0; i < count; i++) {
        pthread_join(id[i], NULL);
    }
    double begun = times[0].begun, ended = times[0].ended;
    for (unsigned i = 1; i < count; i++) {
        begun = times[i].begun < begun ? times[i].begun : begun;
        ended = times[i].ended > ended ? times[i].ended : ended;
    }
    pthread_barrier_destroy(&together);
    printf("%.9g\n", (double)count * (double)loops / (ended - begun));
}

int main(void)
{
    char line[256];
    begin();
    manager = pintensor_manager_create();
    while (fgets(line, sizeof line, stdin) != NULL) {
        unsigned count;
        by_block = strncmp(line, "blocks ", 7) == 0;
        if (sscanf(line, by_block ? "blocks %u %zu %zu" : "threads %u %zu %zu", &count, &bytes, &loops) != 3 ||
            count == 0 || count > THREADS_MOST) {
            fail(line);
        }
        threads(count);
    }
    return 0;
}
