/* Much of everything at once, each block's contents and the kernel's count of locked bytes looked at all the while.
 *
 * usage: storm model SEED OPERATIONS     random calls by four threads, good and bad ones, against what they should
 * answer storm forks CHILDREN THREADS    children are made and pin while THREADS pin, in all ways that make a child */
#define _GNU_SOURCE
#include <pintensor.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PLACES = 48, THREADS_MOST = 64, LARGEST = 3 << 20 };

struct worker {
    pthread_t thread;
    uint64_t random;
    unsigned long operations;
    pintensor_manager manager;
    struct place {
        pintensor_block block;
        unsigned char fill;
    } place[PLACES];
};

static struct worker workers[THREADS_MOST];
static _Atomic bool stop;

#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "WRONG, line %d: %s (%s)\n", __LINE__, #condition, pintensor_last_error());                \
            _exit(3);                                                                                                  \
        }                                                                                                              \
    } while (0)

static uint64_t draw(struct worker *w, uint64_t below)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random % below;
}

/* Small ones mostly, and now and then a large one. */
static size_t size(struct worker *w)
{
    static const size_t limits[] = {64, 512, 4096, 13000, 16384, 100000, 1 << 20, LARGEST};
    return 1 + draw(w, limits[draw(w, sizeof limits / sizeof limits[0])]);
}

static bool intact(const pintensor_block *b, unsigned char fill)
{
    const unsigned char *bytes = b->data;
    bool same = true;
    for (size_t i = 0; i < b->bytes; i += 61) {
        same = same && bytes[i] == fill;
    }
    return same && (b->bytes == 0 || bytes[b->bytes - 1] == fill);
}

static void take(struct worker *w, struct place *p)
{
    size_t bytes = size(w);
    REQUIRE(pintensor_alloc(w->manager, bytes, &p->block) == 0);
    REQUIRE(p->block.bytes == bytes && (uintptr_t)p->block.data % (bytes >= 4096 ? 4096 : 64) == 0);
    p->fill = (unsigned char)draw(w, 256);
    memset(p->block.data, p->fill, bytes);
}

static void give(struct worker *w, struct place *p)
{
    REQUIRE(intact(&p->block, p->fill));
    REQUIRE((draw(w, 2) ? pintensor_free_block(w->manager, &p->block) : pintensor_free(w->manager, p->block.data)) ==
            0);
    p->block = (pintensor_block){0};
}

/* Calls that must change nothing. */
static void misuse(struct worker *w, const struct place *p)
{
    static char foreign[8192];
    char *data = p->block.data;
    switch (draw(w, 5)) {
    case 0: REQUIRE(pintensor_free(w->manager, foreign + draw(w, 8192)) != 0); break;
    case 1:
        REQUIRE(p->block.bytes < 2 || pintensor_free(w->manager, data + 1 + draw(w, p->block.bytes - 1)) != 0);
        break;
    case 2: REQUIRE(data == NULL || pintensor_free(w->manager + 1000000, data) != 0); break;
    case 3: REQUIRE(pintensor_alloc(w->manager, (size_t)1 << 60, &(pintensor_block){0}) != 0); break;
    default: REQUIRE(!pintensor_is_managed(foreign, 1 + draw(w, 8192))); break;
    }
}

static void look(struct worker *w, const struct place *p)
{
    char *data = p->block.data;
    size_t bytes = p->block.bytes, at = bytes > 0 ? draw(w, bytes) : 0;
    REQUIRE(data == NULL || pintensor_is_managed(data + at, bytes - at));
    REQUIRE(data == NULL || intact(&p->block, p->fill));
}

static void step(struct worker *w)
{
    struct place *p = &w->place[draw(w, PLACES)];
    uint64_t what = draw(w, 1000);
    if (what < 800 && p->block.data == NULL) {
        take(w, p);
    } else if (what < 800) {
        give(w, p);
    } else if (what < 900) {
        look(w, p);
    } else if (what < 998) {
        misuse(w, p);
    } else if (what == 998) {
        (void)pintensor_trim();
    } else { /* all of a manager at once */
        for (unsigned i = 0; i < PLACES; i++) {
            REQUIRE(w->place[i].block.data == NULL || intact(&w->place[i].block, w->place[i].fill));
            w->place[i].block = (pintensor_block){0};
        }
        pintensor_manager_destroy(w->manager);
        REQUIRE((w->manager = pintensor_manager_create()) != 0);
    }
}

static void *work(void *worker)
{
    struct worker *w = worker;
    for (unsigned long i = 0; i < w->operations && !stop; i++) {
        step(w);
    }
    return NULL;
}

static void begin(unsigned threads, uint64_t seed, unsigned long operations)
{
    for (unsigned i = 0; i < threads; i++) {
        workers[i].random = seed * 1000003 + i + 1;
        workers[i].operations = operations;
        REQUIRE((workers[i].manager = pintensor_manager_create()) != 0);
        REQUIRE(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
}

/* Nothing is left: neither by our count nor by the kernel's. */
static void end(unsigned threads)
{
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        for (unsigned n = 0; n < PLACES; n++) {
            look(&workers[i], &workers[i].place[n]);
        }
        pintensor_manager_destroy(workers[i].manager);
    }
    pintensor_stats stats;
    unsigned long locked = 0;
    for (unsigned tries = 0; tries < 500; tries++) {
        (void)pintensor_trim();
        pintensor_get_stats(&stats, sizeof stats);
        FILE *status = fopen("/proc/self/status", "r");
        char line[256];
        while (status != NULL && fgets(line, sizeof line, status) != NULL && sscanf(line, "VmLck: %lu", &locked) != 1) {
        }
        fclose(status);
        if (locked * 1024 == stats.locked_bytes && stats.locked_bytes <= (2u << 20)) {
            break;
        }
        usleep(10000);
    }
    printf("%llu blocks, %llu reused; %llu alive, %llu bytes counted as locked, %lu locked\n",
           (unsigned long long)stats.allocated_blocks, (unsigned long long)stats.reused_blocks,
           (unsigned long long)stats.live_blocks, (unsigned long long)stats.locked_bytes, locked * 1024);
    REQUIRE(stats.live_blocks == 0 && locked * 1024 == stats.locked_bytes && stats.locked_bytes <= (2u << 20));
}

/* What a child may do: nothing, look, pin and free its own, or end with some of it alive. */
static void be_a_child(unsigned long number, const struct place *of_parent)
{
    struct worker own = {.random = number + 77};
    REQUIRE(intact(&of_parent->block, of_parent->fill));
    if (number % 4 > 0) {
        REQUIRE((own.manager = pintensor_manager_create()) != 0);
        for (unsigned i = 0; i < 20; i++) {
            struct place *p = &own.place[i % 8];
            if (p->block.data != NULL) {
                give(&own, p);
            }
            take(&own, p);
        }
    }
    if (number % 4 > 1) {
        pintensor_manager_destroy(own.manager);
    }
    _exit(0);
}

static void forks(unsigned long children)
{
    struct worker parent = {.random = 5, .manager = pintensor_manager_create()};
    struct place kept = {0};
    take(&parent, &kept);
    for (unsigned long n = 0; n < children; n++) {
        pid_t child = n % 3 == 0 ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : n % 3 == 1 ? _Fork() : fork();
        if (child == 0) {
            /* Past libc nothing has been made ready for a child that goes on: it may only look. */
            be_a_child(n % 3 == 2 ? n : n / 4 * 4, &kept);
        }
        REQUIRE(child > 0);
        int status = 0;
        REQUIRE(waitpid(child, &status, 0) == child);
        if (status != 0) {
            fprintf(stderr, "child %lu ended with 0x%x\n", n, (unsigned)status);
        }
        REQUIRE(status == 0);
        look(&parent, &kept);
    }
    give(&parent, &kept);
    pintensor_manager_destroy(parent.manager);
}

int main(int argc, char **argv)
{
    unsigned long first = argc > 3 ? strtoul(argv[2], NULL, 10) : 0, second = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
    if (second > 0 && strcmp(argv[1], "model") == 0) {
        begin(4, first, second / 4);
        end(4);
    } else if (second > 0 && second <= THREADS_MOST && strcmp(argv[1], "forks") == 0) {
        begin((unsigned)second, 1, (unsigned long)-1);
        forks(first);
        stop = true;
        end((unsigned)second);
    } else {
        fprintf(stderr, "usage: storm model SEED OPERATIONS | storm forks CHILDREN THREADS\n");
        return 2;
    }
    return 0;
}
