#include "blocks.h"
#include "life/managers.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>

static void start(void)
{
    manager = pintensor_manager_create();
    ck_assert_uint_ne(manager, 0);
}

static size_t page_up(size_t n)
{
    return (n + 4095) & ~(size_t)4095;
}

START_TEST(life_of_a_raw_block)
{
    start();
    pintensor_block a = alloc(MIB + 1);
    ck_assert_uint_eq(vmlck(), page_up(MIB + 1)); /* what was asked, not what jemalloc rounds to */
    memset(a.data, 7, a.bytes);
    ck_assert(pintensor_is_managed(a.data, a.bytes));
    ck_assert(pintensor_is_managed((char *)a.data + MIB, 1));
    ck_assert(!pintensor_is_managed(a.data, a.bytes + 1));
    ck_assert(!pintensor_is_managed((char *)a.data + a.bytes, 1));
    ck_assert(!pintensor_is_managed((char *)a.data - 1, 1));
    pintensor_stats s = stats();
    ck_assert(s.live_blocks == 1 && s.live_bytes == MIB + 1 && s.live_locked == vmlck() && s.peak_bytes == MIB + 1);
    ck_assert(s.allocated_blocks == 1 && s.reused_blocks == 0 && s.locked_bytes == vmlck());

    release(a);
    ck_assert(!pintensor_is_managed(a.data, 1));
    s = stats();
    ck_assert(s.live_blocks == 0 && s.live_bytes == 0 && s.cached_bytes == page_up(MIB + 1));
    ck_assert_uint_eq(vmlck(), page_up(MIB + 1));

    pintensor_block b = alloc(MIB + 1);
    ck_assert_ptr_eq(b.data, a.data);
    ck_assert_uint_ne(b.id, a.id);
    s = stats();
    ck_assert(s.allocated_blocks == 2 && s.reused_blocks == 1 && s.reclaimed_blocks == 0 && s.misuses == 0);
    release(b);
}
END_TEST

/* The kernel gives such addresses only to who asks for them. */
START_TEST(what_others_map_among_blocks_is_not_ours)
{
    enum { BLOCKS = 100, FOREIGN = 96 << 20 };
    start();
    catch_stderr();
    char *first = alloc(MIB).data, *at = (char *)(((uintptr_t)first + 16 * MIB) & ~(2 * MIB - 1));
    char *foreign = mmap(at, FOREIGN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    ck_assert_ptr_eq(foreign, at);
    memset(foreign, 5, FOREIGN);
    for (unsigned i = 0; i < BLOCKS; i++) {
        char *p = alloc(MIB).data;
        REQUIRE(p + MIB <= foreign || p >= foreign + FOREIGN);
        memset(p, 1, MIB);
    }
    ck_assert_uint_eq(vmlck(), (BLOCKS + 1) * MIB);
    for (size_t i = 0; i < FOREIGN; i += MIB) {
        REQUIRE(foreign[i] == 5 && !pintensor_is_managed(foreign + i, 1) && !pt_table_ours(foreign + i));
    }
    ck_assert_int_ne(pintensor_free(manager, foreign), 0);
    ck_assert_ptr_nonnull(strstr(suite_stderr(), "was never ours"));
    munmap(foreign, FOREIGN);
    pintensor_manager_destroy(manager);
    pintensor_trim();
    ck_assert_uint_eq(vmlck(), 0);
}
END_TEST

/* A lock in the middle of others cannot be undone where there is no mapping left to tell them apart. */
START_TEST(what_cannot_be_unlocked_is_counted_and_tried_again)
{
    enum { FILLERS = 70000 };
    static void *filler[FILLERS];
    start();
    pintensor_block a = alloc(MIB), b = alloc(MIB), c = alloc(MIB);
    (void)a;
    (void)c;
    size_t used = 0;
    for (; used < FILLERS; used++) { /* neighbours differ, so that each is a mapping of its own */
        filler[used] = mmap(NULL, 4096, used % 2 != 0 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (filler[used] == MAP_FAILED) {
            break;
        }
    }
    release(b);
    pintensor_trim();
    if (used < FILLERS) { /* else this kernel allows more */
        ck_assert_uint_eq(vmlck(), 3 * MIB);
    }
    ck_assert_uint_eq(stats().locked_bytes, vmlck());
    ck_assert_uint_eq(stats().live_locked + stats().cached_bytes, vmlck());
    for (size_t i = 0; i < used; i++) {
        munmap(filler[i], 4096);
    }
    pintensor_trim();
    ck_assert_uint_eq(vmlck(), 2 * MIB);
    ck_assert_uint_eq(stats().locked_bytes, 2 * MIB);
}
END_TEST

START_TEST(life_of_a_block_under_a_tensor)
{
    start();
    struct pt_block b = alloc_tensor(MIB);
    memset(b.base, 7, MIB);
    ck_assert_int_eq(pt_block_release((uint32_t)manager, b.base, NULL), 0);
    ck_assert(!pintensor_is_managed(b.base, 1));
    ck_assert_uint_eq(stats().live_blocks, 1); /* a tensor still reads it */
    ck_assert_uint_eq(stats().cached_bytes, 0);
    struct pt_block other = alloc_tensor(MIB); /* must not get it */
    memset(other.base, 8, MIB);
    for (size_t i = 0; i < MIB; i++) {
        REQUIRE(((char *)b.base)[i] == 7);
    }
    pt_block_drop(&b);
    ck_assert_uint_eq(stats().live_blocks, 1);
    ck_assert_uint_eq(stats().reclaimed_blocks, 0);
    pt_block_drop(&other);
    ck_assert_uint_eq(stats().live_blocks, 0);
    ck_assert_uint_eq(stats().reclaimed_blocks, 1); /* never freed */
}
END_TEST

START_TEST(a_late_drop_is_harmless)
{
    start();
    for (size_t bytes = 100; bytes <= MIB; bytes = bytes * 100 + 48576) { /* a small and an exact one */
        struct pt_block old = alloc_tensor(bytes);
        pt_block_drop(&old);
        pt_block_drop(&old);
        struct pt_block fresh = alloc_tensor(bytes);
        ck_assert_ptr_eq(fresh.base, old.base);
        pt_block_drop(&old);
        ck_assert(pintensor_is_managed(fresh.base, bytes));
        ck_assert_uint_eq(stats().live_blocks, 1);
        pt_block_drop(&fresh);
        ck_assert_uint_eq(stats().live_blocks, 0);
    }
    ck_assert_uint_eq(stats().reclaimed_blocks, 4);
}
END_TEST

START_TEST(free_that_cannot_be_changes_nothing_and_is_said_once_a_place)
{
    catch_stderr();
    start();
    pintensor_manager other = pintensor_manager_create();
    pintensor_block b = alloc(MIB), gone = alloc(2 * MIB), old = alloc(5000);
    release(gone);
    release(old);
    pintensor_block reused = alloc(5000);
    ck_assert_ptr_eq(reused.data, old.data);
    size_t locked = vmlck();
    int local;
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(pintensor_free(manager, gone.data), PINTENSOR_ENOT_OURS);            /* twice */
        ck_assert_int_eq(pintensor_free(manager, (char *)b.data + 64), PINTENSOR_ENOT_OURS);  /* interior */
        ck_assert_int_eq(pintensor_free(manager, (char *)b.data + MIB), PINTENSOR_ENOT_OURS); /* one past */
        ck_assert_int_eq(pintensor_free(manager, &local), PINTENSOR_ENOT_OURS);               /* foreign */
        ck_assert_int_eq(pintensor_free(other, b.data), PINTENSOR_ENOT_OURS);                 /* another manager's */
        ck_assert_int_eq(pintensor_free_block(manager, &old), PINTENSOR_ESTALE);
    }
    ck_assert_int_eq(pintensor_free(manager, NULL), 0);
    ck_assert_uint_eq(stats().misuses, 18);
    ck_assert_uint_eq(stats().live_blocks, 2);
    ck_assert_uint_eq(vmlck(), locked);
    ck_assert(pintensor_is_managed(b.data, MIB) && pintensor_is_managed(reused.data, 5000));
    ck_assert_msg(lines_of(suite_stderr()) == 6, "%s", suite_stderr());
    static const char *const said[] = {"freed already", "points into a block, not to its start", "was never ours",
                                       "belongs to another manager", "belongs to a newer block by now"};
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_msg(strstr(suite_stderr(), said[i]) != NULL, "%s", said[i]);
    }
    ck_assert_int_eq(pintensor_free_block(manager, &reused), 0);
    ck_assert_int_eq(pintensor_free_block(manager, &reused), PINTENSOR_ENOT_OURS);
    release(b);
}
END_TEST

START_TEST(a_manager_takes_its_blocks_along)
{
    start();
    pintensor_manager other = pintensor_manager_create();
    pintensor_block raw = alloc(MIB), small = alloc(100), kept;
    struct pt_block tensor = alloc_tensor(MIB);
    ck_assert_int_eq(pintensor_alloc(other, MIB, &kept), 0);
    memset(tensor.base, 7, MIB);
    pintensor_manager_destroy(manager);
    ck_assert(!pintensor_is_managed(raw.data, 1) && !pintensor_is_managed(small.data, 1));
    ck_assert(!pintensor_is_managed(tensor.base, 1));
    ck_assert(pintensor_is_managed(kept.data, MIB));
    ck_assert_uint_eq(stats().live_blocks, 2);
    ck_assert_int_eq(((char *)tensor.base)[MIB - 1], 7);
    pt_block_drop(&tensor);
    ck_assert_uint_eq(stats().live_blocks, 1);
    ck_assert_uint_eq(stats().reclaimed_blocks, 0);
    pintensor_manager_destroy(0);
    ck_assert_int_eq(pintensor_free(other, kept.data), 0);
}
END_TEST

START_TEST(managers_known_by_an_object)
{
    start();
    static char object[1100];
    uint32_t first = pt_managers_of(&object[0], true);
    ck_assert_uint_ne(first, 0);
    ck_assert_uint_eq(pt_managers_of(&object[0], false), first);
    ck_assert_uint_eq(pt_managers_of(&object[1], false), 0);
    pt_block_close_manager(first);
    ck_assert_uint_eq(pt_managers_of(&object[0], false), 0);
    ck_assert_uint_ne(pt_managers_of(&object[0], true), first); /* a new object at the same address */
    for (unsigned i = 0; i < 100000; i++) {                    /* places are used again */
        pt_block_close_manager(pt_managers_of(&object[i % 1000], true));
    }
    ck_assert_uint_ne(pt_managers_of(&object[1099], true), 0);
}
END_TEST

START_TEST(alignment)
{
    start();
    for (size_t bytes = 1; bytes <= 40 * KIB; bytes += bytes < 5000 ? 1 : 511) {
        size_t natural = bytes & -bytes;
        size_t align = bytes >= 4096 ? 4096 : bytes % 512 == 0 ? natural : 64;
        pintensor_block b = alloc(bytes);
        REQUIRE((uintptr_t)b.data % align == 0);
        REQUIRE(pintensor_is_managed(b.data, bytes) && !pintensor_is_managed(b.data, bytes + 1));
        if (bytes % 3 == 0) {
            release(b);
        }
    }
}
END_TEST

/* live + cached <= 1.05 x the highest live, at every step of random traffic. */
static void random_traffic(size_t (*size)(void), size_t slack)
{
    enum { BLOCKS = 64, STEPS = 3000 };
    static pintensor_block block[BLOCKS];
    size_t live = 0, peak = 0;
    unsigned with_cache = 0;
    srand(7);
    for (unsigned step = 0; step < STEPS; step++) {
        pintensor_block *b = &block[(unsigned)rand() % (step < STEPS / 2 ? BLOCKS : BLOCKS / 4)];
        if (b->data != NULL) {
            live -= page_up(b->bytes);
            release(*b);
            b->data = NULL;
        } else {
            *b = alloc(size());
            live += page_up(b->bytes);
            *(char *)b->data = 1;
        }
        peak = live > peak ? live : peak;
        pintensor_stats s = stats();
        ck_assert_msg(s.live_locked + s.cached_bytes <= s.peak_locked + s.peak_locked / 20 + slack,
                      "step %u: %zu live + %zu cached, peak %zu", step, (size_t)s.live_locked, (size_t)s.cached_bytes,
                      (size_t)s.peak_locked);
        with_cache += s.cached_bytes > 0;
        REQUIRE(s.locked_bytes == vmlck());
        if (slack == 0) {
            REQUIRE(s.live_locked == live);
            REQUIRE(s.live_locked + s.cached_bytes == vmlck());
            REQUIRE(vmlck() <= peak + peak / 20);
        }
    }
    ck_assert_uint_gt(with_cache, STEPS / 2); /* there is a cache at all */
}

static size_t exact_size(void)
{
    return (size_t)(rand() % 512 + 5) * 4096;
}

static size_t any_size(void)
{
    static const size_t top[] = {100, 4096, 20 * KIB, 100 * KIB, MIB, 4 * MIB};
    return (size_t)rand() % top[rand() % 6] + 1;
}

START_TEST(the_cache_lives_in_the_room_under_the_peak)
{
    start();
    random_traffic(exact_size, 0);
}
END_TEST

START_TEST(a_small_block_costs_no_exact_one_its_place)
{
    start();
    (void)alloc(1);
    pintensor_block a = alloc(MIB);
    release(a);
    ck_assert_ptr_eq(alloc(MIB).data, a.data);
    ck_assert_uint_eq(stats().reused_blocks, 1);
}
END_TEST

START_TEST(the_room_holds_for_mixed_sizes)
{
    start();
    random_traffic(any_size, 2 * MIB); /* small segments are locked and purged by the MiB */
}
END_TEST

/* Two threads that ask at once must not both fill the same room. */
static pthread_barrier_t together;

static void *alloc_together(void *bytes)
{
    pthread_barrier_wait(&together);
    pintensor_block b = alloc((size_t)bytes);
    pthread_barrier_wait(&together);
    return b.data;
}

START_TEST(the_room_holds_for_threads)
{
    start();
    pthread_barrier_init(&together, NULL, 2);
    for (unsigned round = 0; round < 10; round++) {
        pintensor_block part[16];
        for (unsigned i = 0; i < 16; i++) {
            part[i] = alloc(4 * MIB);
        }
        for (unsigned i = 0; i < 16; i++) {
            release(part[i]); /* cached: 64 MiB, none of it of use for 24 MiB */
        }
        pthread_t other;
        pthread_create(&other, NULL, alloc_together, (void *)(24 * MIB));
        void *a = alloc_together((void *)(24 * MIB)), *b;
        pthread_join(other, &b);
        ck_assert_msg(vmlck() <= 64 * MIB + 64 * MIB / 20, "round %u: %zu MiB locked, the peak was 64 MiB", round,
                      vmlck() / MIB);
        ck_assert(pintensor_free(manager, a) == 0 && pintensor_free(manager, b) == 0);
        pintensor_trim();
    }
}
END_TEST

START_TEST(a_cached_block_may_be_cut_down_and_joined_again)
{
    start();
    pintensor_block peak = alloc(16 * MIB), a = alloc(4 * MIB);
    release(a);
    pintensor_block b = alloc(3 * MIB);
    ck_assert_ptr_eq(b.data, a.data);
    ck_assert_uint_eq(vmlck(), 20 * MIB); /* the rest waits for others */
    ck_assert_uint_eq(stats().reused_blocks, 1); /* all of it was locked before */
    release(b);
    pintensor_block c = alloc(4 * MIB);
    ck_assert_ptr_eq(c.data, a.data);
    memset(c.data, 1, c.bytes);
    ck_assert_uint_eq(vmlck(), 20 * MIB);
    release(c);
    release(peak);
}
END_TEST

START_TEST(trim_gives_all_back_now)
{
    start();
    pintensor_block big[8], small[2000];
    for (unsigned i = 0; i < 8; i++) {
        big[i] = alloc(MIB);
    }
    for (unsigned i = 0; i < 2000; i++) {
        small[i] = alloc(1 + i);
    }
    for (unsigned i = 0; i < 8; i += 2) {
        release(big[i]);
    }
    ck_assert_uint_ge(pintensor_trim(), 4 * MIB);
    ck_assert_uint_eq(stats().live_blocks, 2004);
    for (unsigned i = 0; i < 2000; i++) {
        release(small[i]);
    }
    for (unsigned i = 1; i < 8; i += 2) {
        release(big[i]);
    }
    size_t before = vmlck();
    ck_assert_uint_eq(pintensor_trim(), before);
    ck_assert_uint_eq(vmlck(), 0);
    ck_assert_uint_eq(stats().cached_bytes, 0);
    ck_assert_uint_eq(pintensor_trim(), 0);
    pintensor_block again = alloc(100); /* and it works on */
    memset(again.data, 1, 100);
    ck_assert_uint_gt(vmlck(), 0);
}
END_TEST

/* Waits until nothing is locked, far longer than the option says. */
static bool comes_to_zero(void)
{
    for (unsigned i = 0; i < 100 && vmlck() > 0; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    return vmlck() == 0;
}

START_TEST(idle_memory_goes_back_by_itself)
{
    setenv("PINTENSOR_IDLE", "1", 1);
    start();
    pintensor_block b = alloc(8 * MIB);
    release(b);
    ck_assert_uint_eq(vmlck(), 8 * MIB);
    ck_assert(comes_to_zero());
    ck_assert_uint_eq(stats().cached_bytes, 0);
    release(alloc(MIB)); /* the thread that watches comes back too */
    ck_assert(comes_to_zero());
}
END_TEST

START_TEST(idle_small_blocks_go_back_by_themselves)
{
    setenv("PINTENSOR_IDLE", "1", 1);
    start();
    static pintensor_block b[1000];
    for (unsigned i = 0; i < 1000; i++) {
        b[i] = alloc(i % 2 == 0 ? 100 : 5000);
    }
    for (unsigned i = 0; i < 1000; i++) {
        release(b[i]);
    }
    ck_assert_msg(comes_to_zero(), "%zu KiB are still locked", vmlck() / KIB);
}
END_TEST

START_TEST(no_more_than_the_limit)
{
    limit_memlock(MIB, 8 * MIB);
    start();
    pintensor_block a = alloc(6 * MIB), none;
    ck_assert_int_eq(pintensor_alloc(manager, 3 * MIB, &none), PINTENSOR_ELIMIT);
    ck_assert_ptr_null(none.data);
    const char *text = pintensor_last_error();
    ck_assert_msg(strstr(text, "cannot lock 3.0 MiB more memory (6.0 MiB locked now): the memlock limit is 8.0 MiB") !=
                      NULL,
                  "%s", text);
    static const char *const commands[] = {"ulimit -l", "docker run --ulimit memlock=-1", "LimitMEMLOCK=infinity",
                                           "Slurm"};
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_ptr_nonnull(strstr(text, commands[i]));
    }
    ck_assert_uint_eq(stats().live_blocks, 1);
    release(a);
    for (unsigned i = 0; i < 70; i++) { /* the cache makes way, whatever the sizes */
        release(alloc((size_t)(i * 37 % 70 + 1) * 100 * KIB));
        release(alloc(100 + i));
    }
}
END_TEST

START_TEST(beyond_the_limit_unlocked_if_that_is_wanted)
{
    setenv("PINTENSOR_ON_LIMIT", "pageable", 1);
    catch_stderr();
    limit_memlock(MIB, MIB);
    start();
    pintensor_block a = alloc(3 * MIB), b = alloc(3 * MIB);
    memset(a.data, 1, a.bytes);
    ck_assert(pintensor_is_managed(b.data, b.bytes));
    ck_assert_uint_eq(stats().pageable_blocks, 2);
    ck_assert_uint_eq(vmlck(), 0);
    ck_assert_uint_eq(lines_of(suite_stderr()), 1);
    ck_assert_ptr_nonnull(
        strstr(suite_stderr(), "warning: going on with memory that is not locked: cannot lock 3.0 MiB"));
    release(a);
    release(b);
    ck_assert_uint_eq(stats().cached_bytes, 0);
    ck_assert_uint_eq(stats().locked_bytes, 0);
    ck_assert_uint_eq(alloc(512 * KIB).bytes, 512 * KIB);
    ck_assert_uint_eq(vmlck(), 512 * KIB); /* what fits is locked as ever */
}
END_TEST

/* PINTENSOR_RECLAIM, for code that keeps raw pointers past the tensor. */
START_TEST(kept_until_freed)
{
    setenv("PINTENSOR_RECLAIM", "free", 1);
    start();
    struct pt_block a = alloc_tensor(MIB), b = alloc_tensor(MIB);
    pt_block_drop(&a);
    ck_assert(pintensor_is_managed(a.base, MIB));
    ck_assert_uint_eq(stats().live_blocks, 2);
    ck_assert_int_eq(pt_block_release((uint32_t)manager, a.base, NULL), 0);
    ck_assert_uint_eq(stats().live_blocks, 1);
    ck_assert_int_eq(pt_block_release((uint32_t)manager, b.base, NULL), 0);
    pt_block_drop(&b);
    ck_assert_uint_eq(stats().live_blocks, 0);
    ck_assert_uint_eq(stats().reclaimed_blocks, 0);
}
END_TEST

START_TEST(kept_until_exit)
{
    setenv("PINTENSOR_RECLAIM", "exit", 1);
    start();
    struct pt_block a = alloc_tensor(MIB);
    memset(a.base, 7, MIB);
    ck_assert_int_eq(pt_block_release((uint32_t)manager, a.base, NULL), 0);
    pt_block_drop(&a);
    struct pt_block b = alloc_tensor(MIB);
    ck_assert_ptr_ne(b.base, a.base);
    ck_assert_int_eq(((char *)a.base)[0], 7);
    pt_block_drop(&b);
    ck_assert_uint_eq(stats().live_blocks, 2);
}
END_TEST

/* Every block is filled, read by others' ranges never, and found whole before it goes. */
static _Atomic bool wrong;

static void *hammer(void *seed)
{
    enum { BLOCKS = 32, STEPS = 6000 };
    unsigned state = (unsigned)(uintptr_t)seed;
    pintensor_block block[BLOCKS] = {{0}};
    for (unsigned step = 0; step < STEPS + BLOCKS; step++) {
        state = state * 1664525u + 1013904223u;
        unsigned i = step < STEPS ? state >> 8 & (BLOCKS - 1) : step - STEPS;
        unsigned char *p = block[i].data;
        if (p != NULL) {
            bool whole = pintensor_is_managed(p, block[i].bytes) && !pintensor_is_managed(p, block[i].bytes + 1);
            for (size_t k = 0; k < block[i].bytes; k++) {
                whole = whole && p[k] == (unsigned char)(block[i].id * 31 + (uintptr_t)seed);
            }
            if (!whole || pintensor_free_block(manager, &block[i]) != 0) {
                wrong = true;
            }
            block[i].data = NULL;
        } else if (step < STEPS) {
            static const unsigned most[] = {200, 5000, 20000, 300000};
            block[i] = alloc((state >> 14) % most[state >> 28 & 3] + 1);
            memset(block[i].data, (int)(block[i].id * 31 + (uintptr_t)seed), block[i].bytes);
        }
    }
    return NULL;
}

START_TEST(threads_never_share_a_byte)
{
    start();
    pthread_t thread[4];
    for (uintptr_t i = 0; i < 4; i++) {
        pthread_create(&thread[i], NULL, hammer, (void *)(i + 1));
    }
    for (unsigned i = 0; i < 200; i++) {
        pintensor_trim(); /* whatever is given back meanwhile */
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
    }
    ck_assert(!wrong);
    pintensor_stats s = stats();
    ck_assert(s.live_blocks == 0 && s.live_bytes == 0 && s.live_locked == 0 && s.misuses == 0);
    ck_assert_uint_eq(s.locked_bytes, vmlck());
    pintensor_trim();
    ck_assert_uint_eq(vmlck(), 0);
}
END_TEST

/* When a thread's own data are destroyed jemalloc takes no notice of the arena that is asked for. */
static pthread_key_t last;
static pintensor_block made_before[2];

static void pin_at_the_end(void *unused)
{
    static const size_t sizes[] = {100, 5000, 20 * KIB, 3 * MIB};
    (void)unused;
    release(made_before[0]);
    release(made_before[1]);
    for (unsigned i = 0; i < 4; i++) {
        pintensor_block b = alloc(sizes[i]);
        REQUIRE(pt_table_ours(b.data) && pintensor_is_managed(b.data, b.bytes));
        memset(b.data, 1, b.bytes);
        release(b);
    }
}

static void *pin_and_end(void *unused)
{
    made_before[0] = alloc(100);
    made_before[1] = alloc(MIB);
    REQUIRE(pthread_setspecific(last, made_before) == 0);
    return unused;
}

START_TEST(a_thread_pins_in_its_last_destructors)
{
    start();
    ck_assert_int_eq(pthread_key_create(&last, pin_at_the_end), 0);
    for (unsigned i = 0; i < 20; i++) {
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, pin_and_end, NULL), 0);
        pthread_join(thread, NULL);
    }
    ck_assert(stats().live_blocks == 0 && stats().misuses == 0);
    pintensor_trim();
    ck_assert_uint_eq(vmlck(), 0);
}
END_TEST

static __attribute__((noreturn)) void *pin_on(void *unused)
{
    (void)unused;
    for (;;) {
        pthread_testcancel();
        pintensor_block b = alloc(32 * MIB);
        release(b);
        pintensor_trim();
    }
}

START_TEST(a_cancelled_thread_loses_nothing)
{
    start();
    for (unsigned i = 0; i < 20; i++) {
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, pin_on, NULL), 0);
        nanosleep(&(struct timespec){.tv_nsec = 1000000 + i * 700000}, NULL);
        pthread_cancel(thread);
        pthread_join(thread, NULL);
        ck_assert(stats().live_blocks <= 1); /* between the two calls is the program's affair */
    }
    pintensor_manager_destroy(manager);
    pintensor_trim();
    ck_assert_uint_eq(vmlck(), 0);
    ck_assert_uint_eq(stats().locked_bytes, 0);
}
END_TEST

int main(void)
{
    need_lockable(256 * MIB);
    TCase *tests = tcase_create("manager");
    tcase_add_test(tests, life_of_a_raw_block);
    tcase_add_test(tests, life_of_a_block_under_a_tensor);
    tcase_add_test(tests, a_late_drop_is_harmless);
    tcase_add_test(tests, free_that_cannot_be_changes_nothing_and_is_said_once_a_place);
    tcase_add_test(tests, a_manager_takes_its_blocks_along);
    tcase_add_test(tests, managers_known_by_an_object);
    tcase_add_test(tests, alignment);
    tcase_add_test(tests, the_cache_lives_in_the_room_under_the_peak);
    tcase_add_test(tests, a_small_block_costs_no_exact_one_its_place);
    tcase_add_test(tests, the_room_holds_for_mixed_sizes);
    tcase_add_test(tests, the_room_holds_for_threads);
    tcase_add_test(tests, a_cached_block_may_be_cut_down_and_joined_again);
    tcase_add_test(tests, trim_gives_all_back_now);
    tcase_add_test(tests, idle_memory_goes_back_by_itself);
    tcase_add_test(tests, idle_small_blocks_go_back_by_themselves);
    tcase_add_test(tests, no_more_than_the_limit);
    tcase_add_test(tests, beyond_the_limit_unlocked_if_that_is_wanted);
    tcase_add_test(tests, kept_until_freed);
    tcase_add_test(tests, kept_until_exit);
    tcase_add_test(tests, what_others_map_among_blocks_is_not_ours);
    if (mappings_are_ours()) { /* it uses all that a process may have */
        tcase_add_test(tests, what_cannot_be_unlocked_is_counted_and_tried_again);
    }
    tcase_add_test(tests, threads_never_share_a_byte);
    tcase_add_test(tests, a_thread_pins_in_its_last_destructors);
    tcase_add_test(tests, a_cancelled_thread_loses_nothing);
    return suite_run("manager", tests);
}
