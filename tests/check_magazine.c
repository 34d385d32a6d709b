#include "blocks.h"
#include "ledger/counters.h"
#include "pool/magazine.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <time.h>

#define SIZE (64 * KIB)

/* As a thread that met others at the guard. */
static void start(void)
{
    manager = manager != 0 ? manager : pintensor_manager_create();
    ck_assert_uint_ne(manager, 0);
    pt_magazine_join();
    REQUIRE(pt_magazine_mine());
}

static struct pt_record *record(const void *p)
{
    struct pt_found f = pt_table_find(p);
    REQUIRE(f.number != 0);
    return pt_table_record(f.number);
}

/* What is in no magazine counts as cached at once; what is in one does not before it is gathered. */
static bool kept(const void *p)
{
    return PT_GET(record(p)->state) == PT_CACHED && record(p)->owner != 0;
}

START_TEST(a_freed_block_is_kept_and_found_again)
{
    start();
    pintensor_block a = alloc(SIZE);
    memset(a.data, 7, SIZE);
    release(a);
    ck_assert(kept(a.data));
    ck_assert(!pintensor_is_managed(a.data, 1));
    pintensor_block b = alloc(SIZE);
    ck_assert_ptr_eq(b.data, a.data);
    ck_assert_uint_ne(b.id, a.id);
    ck_assert(pintensor_is_managed(b.data, SIZE) && !pintensor_is_managed(b.data, SIZE + 1));
    ck_assert_int_eq(pintensor_free_block(manager, &b), 0);
    pintensor_block c = alloc(SIZE - 100); /* the same pages, less of them asked for */
    ck_assert_ptr_eq(c.data, a.data);
    ck_assert(!pintensor_is_managed(c.data, SIZE));
    pintensor_stats s = stats();
    ck_assert(s.live_blocks == 1 && s.live_bytes == SIZE - 100 && s.live_locked == SIZE && s.cached_bytes == 0);
    ck_assert(s.allocated_blocks == 3 && s.reused_blocks == 2 && s.peak_bytes == SIZE && s.peak_locked == SIZE);
    ck_assert_uint_eq(vmlck(), SIZE);
    release(c);
    ck_assert(kept(a.data));
    s = stats();
    ck_assert(!kept(a.data));
    ck_assert(s.live_blocks == 0 && s.live_bytes == 0 && s.live_locked == 0 && s.cached_bytes == SIZE);
}
END_TEST

START_TEST(blocks_of_another_kind_are_not_kept)
{
    start();
    pintensor_block small = alloc(100), large = alloc(4 * MIB);
    release(small);
    release(large);
    ck_assert_uint_eq(record(large.data)->owner, 0);
    for (unsigned i = 0; i < 1000; i++) { /* far more than are kept */
        pintensor_block b[40];
        for (unsigned k = 0; k < 40; k++) {
            b[k] = alloc(SIZE + k % 3 * SIZE);
        }
        for (unsigned k = 0; k < 40; k++) {
            release(b[k]);
        }
    }
    pintensor_stats s = stats();
    ck_assert(s.live_blocks == 0 && s.live_locked == 0 && s.allocated_blocks == 40002 && s.misuses == 0);
    size_t ahead = 128 * KIB; /* which the small region locks ahead of need */
    ck_assert_msg(s.cached_bytes <= s.peak_locked + s.peak_locked / 20 + ahead, "%zu cached, peak %zu", (size_t)s.cached_bytes, (size_t)s.peak_locked);
    ck_assert_uint_eq(s.locked_bytes, vmlck());
    ck_assert_uint_eq(pintensor_trim(), s.cached_bytes);
    ck_assert_uint_eq(vmlck(), 0);
}
END_TEST

START_TEST(what_is_kept_counts_for_no_peak_of_a_mark)
{
    start();
    pintensor_block two = alloc(2 * SIZE), between = alloc(SIZE), one = alloc(SIZE), last = alloc(SIZE);
    release(alloc(MIB)); /* no peak of the process is near */
    release(two);
    release(one);
    pintensor_mark();
    ck_assert_uint_eq(stats().mark_peak_bytes, 2 * SIZE);
    one = alloc(SIZE);
    release(one);
    ck_assert(kept(one.data));
    two = alloc(2 * SIZE); /* where it was */
    ck_assert_uint_eq(pt_table()->counters.mark_peak_bytes, 4 * SIZE);
    release(two);
    release(between);
    release(last);
}
END_TEST

START_TEST(wrong_frees_are_answered_as_ever)
{
    catch_stderr();
    start();
    pintensor_manager other = pintensor_manager_create();
    pintensor_block gone = alloc(SIZE), b = alloc(SIZE), old = alloc(3 * SIZE);
    release(gone);
    release(old);
    pintensor_block reused = alloc(3 * SIZE);
    ck_assert_ptr_eq(reused.data, old.data);
    ck_assert(kept(gone.data));
    ck_assert_int_eq(pintensor_free(manager, gone.data), PINTENSOR_ENOT_OURS);              /* twice */
    ck_assert_int_eq(pintensor_free(manager, (char *)gone.data + 64), PINTENSOR_ENOT_OURS); /* twice, inside */
    ck_assert_int_eq(pintensor_free(manager, (char *)b.data + 64), PINTENSOR_ENOT_OURS);    /* interior */
    ck_assert_int_eq(pintensor_free(other, b.data), PINTENSOR_ENOT_OURS);                   /* another manager's */
    ck_assert_int_eq(pintensor_free_block(manager, &gone), PINTENSOR_ENOT_OURS);
    ck_assert_int_eq(pintensor_free_block(manager, &old), PINTENSOR_ESTALE);
    ck_assert_uint_eq(stats().misuses, 6);
    static const char *const said[] = {"freed already", "points into a block, not to its start",
                                       "belongs to another manager", "belongs to a newer block by now"};
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_msg(strstr(suite_stderr(), said[i]) != NULL, "%s", said[i]);
    }
    ck_assert(pintensor_is_managed(b.data, SIZE) && pintensor_is_managed(reused.data, 3 * SIZE));
    release(b);
    release(reused);
    ck_assert_uint_eq(stats().live_blocks, 0);
}
END_TEST

START_TEST(blocks_under_tensors)
{
    start();
    struct pt_block b = alloc_tensor(SIZE);
    ck_assert_int_eq(pt_block_release((uint32_t)manager, b.base, NULL), 0);
    ck_assert(!pintensor_is_managed(b.base, 1) && record(b.base)->state == PT_LIVE);
    ck_assert_int_eq(pt_block_release((uint32_t)manager, b.base, NULL), -ENOENT);
    struct pt_block other = alloc_tensor(SIZE);
    ck_assert_ptr_ne(other.base, b.base);
    pt_block_drop(&b);
    ck_assert(kept(b.base));
    pt_block_drop(&b); /* late */
    struct pt_block again = alloc_tensor(SIZE);
    ck_assert_ptr_eq(again.base, b.base);
    pt_block_drop(&b); /* later still */
    ck_assert(pintensor_is_managed(again.base, SIZE));
    pt_block_drop(&again); /* never freed */
    ck_assert(!kept(again.base));
    pt_block_drop(&other);
    pintensor_stats s = stats();
    ck_assert(s.live_blocks == 0 && s.reclaimed_blocks == 2 && s.misuses == 1);
    ck_assert_uint_eq(pt_table()->counters.stock_bytes, 2 * SIZE); /* stock leaks those */
}
END_TEST

START_TEST(a_manager_takes_kept_blocks_along)
{
    start();
    pintensor_block a = alloc(SIZE), b = alloc(SIZE);
    struct pt_block tensor = alloc_tensor(SIZE);
    release(a);
    pintensor_manager_destroy(manager);
    ck_assert(!pintensor_is_managed(b.data, 1) && !pintensor_is_managed(tensor.base, 1));
    ck_assert_uint_eq(stats().live_blocks, 1);
    pt_block_drop(&tensor);
    ck_assert_uint_eq(stats().live_blocks, 0);
    ck_assert_uint_eq(stats().reclaimed_blocks, 0);
}
END_TEST

static void *in_a_thread(void *(*fn)(void *), void *argument)
{
    pthread_t thread;
    void *result;
    REQUIRE(pthread_create(&thread, NULL, fn, argument) == 0);
    pthread_join(thread, &result);
    return result;
}

static void *free_others(void *block)
{
    start();
    release(*(pintensor_block *)block);
    REQUIRE(pintensor_free(manager, ((pintensor_block *)block)->data) == PINTENSOR_ENOT_OURS);
    return NULL;
}

START_TEST(another_thread_frees)
{
    start();
    for (unsigned i = 0; i < 100; i++) {
        pintensor_block b = alloc(SIZE);
        (void)in_a_thread(free_others, &b);
        ck_assert(!pintensor_is_managed(b.data, 1));
    }
    pintensor_stats s = stats();
    ck_assert(s.live_blocks == 0 && s.live_bytes == 0 && s.misuses == 100 && s.peak_locked == SIZE);
    ck_assert_uint_eq(vmlck(), SIZE);
}
END_TEST

static void *take_four(void *blocks)
{
    pintensor_block *b = blocks;
    for (unsigned i = 0; i < 4; i++) {
        b[i] = alloc(SIZE);
    }
    return NULL;
}

START_TEST(no_peak_is_made_of_kept_blocks)
{
    start();
    pintensor_block mine[4], theirs[4];
    for (unsigned round = 0; round < 10; round++) {
        take_four(mine);
        for (unsigned i = 0; i < 4; i++) {
            release(mine[i]);
        }
        (void)in_a_thread(take_four, theirs);
        ck_assert_uint_eq(vmlck(), 4 * SIZE); /* what one keeps the other gets */
        ck_assert_uint_eq(pt_table()->counters.peak_locked, 4 * SIZE);
        for (unsigned i = 0; i < 4; i++) {
            release(theirs[i]);
        }
        pintensor_block other = alloc(2 * SIZE); /* not in the room beside them */
        ck_assert_uint_le(vmlck(), 4 * SIZE + 4 * SIZE / 20);
        ck_assert_uint_eq(pt_table()->counters.peak_bytes, 4 * SIZE);
        release(other);
    }
    ck_assert_uint_eq(stats().peak_bytes, 4 * SIZE);
}
END_TEST

/* live + cached <= 1.05 x the highest live, though nobody asks for figures, which would gather what is kept. */
START_TEST(kept_blocks_live_in_the_room_under_the_peak)
{
    enum { BLOCKS = 48, STEPS = 20000 };
    static pintensor_block block[BLOCKS];
    start();
    size_t live = 0, peak = 0;
    srand(7);
    for (unsigned step = 0; step < STEPS; step++) {
        pintensor_block *b = &block[(unsigned)rand() % (step < STEPS / 2 ? BLOCKS : BLOCKS / 4)];
        if (b->data != NULL) {
            live -= b->bytes;
            release(*b);
            b->data = NULL;
        } else {
            *b = alloc((size_t)(rand() % 12 + 4) * 4 * KIB);
            live += b->bytes;
        }
        peak = live > peak ? live : peak;
        if (step % 16 == 0) {
            REQUIRE(vmlck() <= peak + peak / 20);
        }
    }
    pintensor_stats s = stats();
    ck_assert(s.live_locked == live && s.peak_locked == peak && s.live_bytes == live && s.peak_bytes == peak);
    ck_assert_uint_eq(s.live_locked + s.cached_bytes, vmlck());
}
END_TEST

static __attribute__((noinline)) pintensor_block alloc_here(size_t bytes)
{
    pintensor_block b;
    REQUIRE(pintensor_alloc(manager, bytes, &b) == 0);
    return b;
}

static __attribute__((noinline)) pintensor_block alloc_there(size_t bytes)
{
    pintensor_block b;
    REQUIRE(pintensor_alloc(manager, bytes, &b) == 0);
    return b;
}

static const struct pt_growth *growth_of(const struct pt_site *site)
{
    return pt_table_growth((uint32_t)(site - pt_table_site(0)));
}

START_TEST(sites_are_told_apart)
{
    start();
    pintensor_block held = alloc_there(2 * SIZE);
    for (unsigned i = 0; i < 10000; i++) {
        pintensor_block a = alloc_here(SIZE);
        release(a);
        release(alloc_there(SIZE));
    }
    pintensor_block b = alloc_there(SIZE);
    const struct pt_site *here = pt_table_site(1), *there = pt_table_site(1);
    (void)stats();
    for (uint32_t i = 1; i < atomic_load(&pt_table()->sites); i++) {
        here = pt_table_site(i)->allocated == 10000 ? pt_table_site(i) : here;
        there = pt_table_site(i)->allocated == 10002 ? pt_table_site(i) : there;
    }
    ck_assert(here->allocated == 10000 && here->live == 0 && here->live_bytes == 0 && here->live_locked == 0);
    ck_assert(growth_of(here)->high == 1 && here->smallest == SIZE && here->largest == SIZE);
    ck_assert(there->allocated == 10002 && there->live == 2 && there->live_bytes == 3 * SIZE);
    ck_assert(growth_of(there)->high == 2 && there->smallest == SIZE && there->largest == 2 * SIZE);
    ck_assert_uint_ge(growth_of(there)->visits, 9900);
    release(b);
    release(held);
}
END_TEST

static void *keep_some(void *unused)
{
    start();
    pintensor_block b[4];
    take_four(b);
    for (unsigned i = 0; i < 4; i++) {
        release(b[i]);
    }
    REQUIRE(kept(b[3].data));
    return unused;
}

START_TEST(a_thread_that_ends_leaves_nothing_behind)
{
    manager = pintensor_manager_create();
    for (unsigned i = 0; i < 1000; i++) {
        (void)in_a_thread(keep_some, NULL);
    }
    ck_assert_uint_eq(pt_magazines, 1); /* one after the other had it */
    ck_assert_uint_eq(pt_table()->counters.live, 0);
    ck_assert_uint_eq(pt_table()->counters.cached_locked, 4 * SIZE);
    ck_assert_uint_eq(pintensor_trim(), 4 * SIZE);
    ck_assert_uint_eq(vmlck(), 0);
}
END_TEST

START_TEST(idle_blocks_go_back_by_themselves)
{
    setenv("PINTENSOR_IDLE", "1", 1);
    start();
    for (unsigned round = 0; round < 2; round++) {
        (void)keep_some(NULL);
        ck_assert_uint_eq(vmlck(), 4 * SIZE);
        for (unsigned i = 0; i < 100 && vmlck() > 0; i++) {
            nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        }
        ck_assert_uint_eq(vmlck(), 0);
    }
}
END_TEST

START_TEST(a_magazine_of_no_use_is_given_up)
{
    start();
    static pintensor_block b[200];
    for (unsigned i = 0; i < 200; i++) {
        b[i] = alloc(SIZE);
    }
    ck_assert(!pt_magazine_mine());
    for (unsigned i = 0; i < 200; i++) {
        release(b[i]);
    }
    start();
    for (unsigned i = 0; i < 1000; i++) {
        for (unsigned k = 0; k < 10; k++) {
            b[k] = alloc(SIZE);
        }
        for (unsigned k = 0; k < 10; k++) {
            release(b[k]);
        }
    }
    ck_assert(pt_magazine_mine());
    ck_assert_uint_eq(stats().live_blocks, 0);
}
END_TEST

/* ---- many threads ---- */

enum { THREADS = 6, SLOTS = 32 };
static _Atomic bool stop;
static _Atomic uint64_t allocated;
static struct {
    pthread_mutex_t mutex;
    pintensor_block block;
} slots[SLOTS]; /* blocks that pass from thread to thread */

static void *churn(void *seed)
{
    unsigned random = (unsigned)(uintptr_t)seed;
    uint64_t count = 0;
    while (!stop) {
        if (count % 512 == 0) {
            pt_magazine_join(); /* unless it still has one */
        }
        pintensor_block own[3];
        for (unsigned i = 0; i < 3; i++, count++) {
            random = random * 1103515245 + 12345;
            size_t bytes = random >> 16 & 15 ? SIZE * (1 + (random >> 20 & 1)) : (random >> 20 & 1 ? 100 : 2 * MIB);
            own[i] = i == 0 ? alloc_here(bytes) : alloc_there(bytes);
            *(uint64_t *)own[i].data = own[i].id;
        }
        unsigned at = random >> 8 & (SLOTS - 1);
        pthread_mutex_lock(&slots[at].mutex);
        pintensor_block passed = slots[at].block;
        slots[at].block = own[0];
        pthread_mutex_unlock(&slots[at].mutex);
        own[0] = passed;
        for (unsigned i = 0; i < 3; i++) {
            REQUIRE(own[i].data == NULL || *(uint64_t *)own[i].data == own[i].id);
            REQUIRE(own[i].data == NULL || pintensor_is_managed(own[i].data, own[i].bytes));
            REQUIRE(pintensor_free_block(manager, &own[i]) == 0);
            if (own[i].data != NULL && (random >> 12 & 63) == 0) {
                REQUIRE(pintensor_free_block(manager, &own[i]) != 0); /* twice, or stale by now */
            }
        }
    }
    allocated += count;
    return NULL;
}

static void look(unsigned i)
{
    pintensor_stats s = stats();
    REQUIRE(s.live_blocks < 1000 && s.peak_locked < 1000 * MIB);
    if (i % 3 == 0) {
        (void)pintensor_trim();
    }
    if (i % 5 == 0) {
        int fd = open("/dev/null", O_WRONLY);
        REQUIRE(pintensor_report(fd) == 0);
        close(fd);
    }
}

static void run_threads(unsigned rounds, void (*meanwhile)(unsigned))
{
    pthread_t thread[THREADS];
    for (unsigned i = 0; i < SLOTS; i++) {
        pthread_mutex_init(&slots[i].mutex, NULL);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_create(&thread[i], NULL, churn, (void *)(uintptr_t)(i + 1));
    }
    for (unsigned i = 0; i < rounds; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        meanwhile(i);
        if (i % 50 == 49) { /* some go, some come */
            stop = true;
            pthread_join(thread[i % THREADS], NULL);
            stop = false;
            pthread_create(&thread[i % THREADS], NULL, churn, (void *)(uintptr_t)i);
        }
    }
    stop = true;
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        REQUIRE(pintensor_free_block(manager, &slots[i].block) == 0);
    }
    pintensor_stats s = stats();
    ck_assert_uint_eq(s.allocated_blocks, allocated);
    ck_assert(s.live_blocks == 0 && s.live_bytes == 0 && s.live_locked == 0);
    ck_assert_uint_le(s.cached_bytes, s.peak_locked + s.peak_locked / 20 + 2 * MIB);
    ck_assert_uint_eq(s.locked_bytes, vmlck());
    ck_assert_uint_eq(pt_table()->counters.stock_bytes, 0);
    ck_assert_uint_eq(pt_table()->counters.pow2_bytes, 0);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < atomic_load(&pt_table()->sites); i++) {
        const struct pt_site *site = pt_table_site(i);
        ck_assert(site->live == 0 && site->live_bytes == 0 && site->live_locked == 0);
        ck_assert_uint_le(growth_of(site)->high * site->smallest, s.peak_bytes);
        sum += site->allocated;
    }
    ck_assert_uint_eq(sum, allocated);
    pintensor_trim();
    ck_assert_uint_eq(stats().cached_bytes, 0);
}

START_TEST(many_threads_while_others_look)
{
    catch_stderr();
    manager = pintensor_manager_create();
    run_threads(500, look);
}
END_TEST

static void in_the_child(void)
{
    pintensor_manager m = pintensor_manager_create();
    pintensor_block b;
    REQUIRE(!pintensor_is_managed(&b, 1));
    for (unsigned i = 0; i < 100; i++) {
        if (i == 50) {
            pt_magazine_join();
        }
        REQUIRE(pintensor_alloc(m, SIZE, &b) == 0 && pintensor_free_block(m, &b) == 0);
    }
    pintensor_stats s = stats();
    REQUIRE(s.allocated_blocks == 100 && s.live_blocks == 0 && s.peak_locked == SIZE && vmlck() == SIZE);
    pintensor_trim();
    REQUIRE(vmlck() == 0);
}

static void child_only_looks(void)
{
    REQUIRE(pintensor_trim() == 0 && stats().allocated_blocks == 0);
}

static void child_ends_its_thread(void)
{
    pthread_exit(NULL); /* its magazine is the parent's, and it has none of its own. Ends with status 0 */
}

static void fork_in_the_middle(unsigned i)
{
    static void (*const what[])(void) = {in_the_child, child_only_looks, child_ends_its_thread};
    REQUIRE(child_does(what[i % 3]));
}

START_TEST(forks_in_the_middle)
{
    catch_stderr();
    start();
    release(alloc(SIZE));
    uint64_t before = 1;
    allocated = before;
    run_threads(300, fork_in_the_middle);
}
END_TEST

/* Exit begins while others are at work: what is held is what is alive, and nothing hangs. */
static void *churn_blindly(void *unused)
{
    for (;;) {
        pintensor_block a = {0}, b = {0};
        (void)pintensor_alloc(manager, SIZE, &a);
        (void)pintensor_alloc(manager, 2 * SIZE, &b);
        (void)pintensor_free_block(manager, &a);
        (void)pintensor_free_block(manager, &b);
        pt_magazine_join();
    }
    return unused;
}

static void exit_in_the_middle(void)
{
    start();
    pintensor_block held = alloc_here(3 * SIZE);
    REQUIRE(held.data != NULL);
    release(alloc(SIZE));
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, churn_blindly, NULL);
    }
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    exit(0);
}

START_TEST(exits_in_the_middle)
{
    catch_stderr();
    for (unsigned i = 0; i < 100; i++) {
        ck_assert(child_does(exit_in_the_middle));
    }
}
END_TEST

int main(void)
{
    need_lockable(64 * MIB);
    TCase *tests = tcase_create("magazine");
    tcase_add_test(tests, a_freed_block_is_kept_and_found_again);
    tcase_add_test(tests, blocks_of_another_kind_are_not_kept);
    tcase_add_test(tests, wrong_frees_are_answered_as_ever);
    tcase_add_test(tests, what_is_kept_counts_for_no_peak_of_a_mark);
    tcase_add_test(tests, blocks_under_tensors);
    tcase_add_test(tests, a_manager_takes_kept_blocks_along);
    tcase_add_test(tests, another_thread_frees);
    tcase_add_test(tests, no_peak_is_made_of_kept_blocks);
    tcase_add_test(tests, kept_blocks_live_in_the_room_under_the_peak);
    tcase_add_test(tests, sites_are_told_apart);
    tcase_add_test(tests, a_thread_that_ends_leaves_nothing_behind);
    tcase_add_test(tests, idle_blocks_go_back_by_themselves);
    tcase_add_test(tests, a_magazine_of_no_use_is_given_up);
    tcase_add_test(tests, many_threads_while_others_look);
    if (!__has_feature(thread_sanitizer)) { /* it hangs in a child that was forked beside threads */
        tcase_add_test(tests, forks_in_the_middle);
    }
    tcase_add_test(tests, exits_in_the_middle);
    return suite_run("magazine", tests);
}
