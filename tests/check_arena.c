#include "memory/arena.h"
#include "memory/jemalloc_thread.h"
#include "memory/pages.h"
#include "memory/pin.h"
#include "memory/segments.h"
#include "suite.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

static void start(void)
{
    ck_assert_int_eq(pt_segments_init(), 0);
    ck_assert_int_eq(pt_arena_init(), 0);
}

START_TEST(small_blocks_lie_in_locked_memory_as_aligned_as_asked)
{
    start();
    const struct pt_range *r = pt_segments_range();
    for (size_t align = 64; align <= PT_PAGE; align *= 2) {
        for (size_t size = 1; size <= 64 * KIB; size = size * 3 + 1) {
            size_t usable;
            char *p = pt_arena_small(size, align, &usable);
            ck_assert_uint_eq((uintptr_t)p % align, 0);
            ck_assert_uint_ge(usable, size);
            ck_assert_uint_lt((size_t)(p - r->base), r->small);
            memset(p, 1, usable);
        }
    }
    ck_assert_uint_eq(vmlck(), pt_segments_small_locked());
    ck_assert_uint_gt(vmlck(), 0);
}
END_TEST

START_TEST(a_purge_gives_back_what_is_free)
{
    start();
    enum { BLOCKS = 1024 };
    static void *p[BLOCKS];
    size_t usable;
    for (unsigned i = 0; i < BLOCKS; i++) {
        p[i] = pt_arena_small(8 * KIB, PT_PAGE, &usable);
    }
    size_t full = vmlck();
    ck_assert_uint_ge(full, 8 * MIB);
    for (unsigned i = 0; i < BLOCKS; i++) {
        pt_arena_small_free(p[i]);
    }
    ck_assert_uint_eq(vmlck(), full); /* freed runs stay locked until told otherwise */
    pt_arena_small_purge();
    ck_assert_uint_le(vmlck(), full / 8);
    ck_assert_uint_eq(vmlck(), pt_segments_small_locked());
}
END_TEST

START_TEST(the_region_freed_last_serves_the_next_of_its_class)
{
    start();
    for (size_t size = 16, before = 0; size <= PT_ARENA_SLAB_MOST; size += 16) {
        size_t usable, again;
        void *p = pt_arena_small(size, 16, &usable), *other = pt_arena_small(size, 16, &again);
        ck_assert_ptr_ne(p, other);
        if (usable != before) {
            memset(p, 1, usable);
            pt_arena_small_free(p);
            void *smaller = before > 0 ? pt_arena_small(before, 16, &again) : NULL;
            ck_assert_ptr_ne(smaller, p);
            ck_assert_ptr_eq(pt_arena_small(usable, 16, &again), p);
            ck_assert_uint_eq(again, usable);
            pt_arena_small_free(p);
        }
        before = usable;
    }
}
END_TEST

START_TEST(a_region_that_is_not_aligned_enough_serves_not)
{
    start();
    enum { BLOCKS = 64 };
    void *p[BLOCKS], *odd = NULL;
    size_t usable;
    for (unsigned i = 0; i < BLOCKS; i++) { /* classes of 320 bytes lie at multiples of 64 */
        p[i] = pt_arena_small(320, 64, &usable);
        odd = (uintptr_t)p[i] % 4096 != 0 ? p[i] : odd;
    }
    pt_arena_small_free(odd);
    ck_assert_uint_eq((uintptr_t)pt_arena_small(320, 4096, &usable) % 4096, 0);
}
END_TEST

START_TEST(one_lies_in_no_two_hands)
{
    start();
    size_t usable;
    void *a = pt_arena_small(100, 64, &usable), *b = pt_arena_small(100, 64, &usable);
    pt_arena_small_free(a);
    pt_arena_small_free(b);
    void *c = pt_arena_small(100, 64, &usable), *d = pt_arena_small(100, 64, &usable);
    ck_assert_ptr_ne(c, d);
}
END_TEST

START_TEST(a_purge_gives_them_back)
{
    start();
    size_t usable;
    for (size_t size = 64; size <= PT_ARENA_SLAB_MOST; size = usable + 1) {
        pt_arena_small_free(pt_arena_small(size, 64, &usable));
    }
    size_t full = vmlck();
    ck_assert_uint_ge(full, 256 * KIB);
    pt_arena_small_purge();
    ck_assert_uint_le(vmlck(), full / 4);
    ck_assert_uint_eq(vmlck(), pt_segments_small_locked());
}
END_TEST

START_TEST(no_memory_can_be_locked_no_block)
{
    start();
    limit_memlock(0, 0);
    size_t usable;
    ck_assert_ptr_null(pt_arena_small(100, 64, &usable));
    ck_assert_int_ne(pt_pin_error(), 0);
}
END_TEST

enum { CROWD = 8, TURNS = 500 };
static pthread_barrier_t none_is_left;

static void *take_and_give(void *unused)
{
    static _Atomic int inside;
    bool by_storage = pt_jemalloc_thread_is_known(); /* then nobody has to wait */
    pthread_barrier_wait(&none_is_left);
    for (int i = 0; i < TURNS; i++) {
        pt_jemalloc_thread_enter();
        REQUIRE(++inside == 1 || by_storage);
        sched_yield();
        inside--;
        pt_jemalloc_thread_leave();
        size_t usable;
        void *p[4];
        for (int k = 0; k < 4; k++) {
            p[k] = pt_arena_small(100, 64, &usable);
            REQUIRE(p[k] != NULL);
            memset(p[k], i, 100);
        }
        for (int k = 0; k < 4; k++) {
            pt_arena_small_free(p[k]);
        }
        REQUIRE(pt_jemalloc_thread_is_known() == by_storage);
    }
    return unused;
}

/* What jemalloc keeps for a thread takes a page, which the kernel may refuse. */
START_TEST(threads_without_memory_of_their_own_take_turns)
{
    start();
    size_t usable;
    void *p[CROWD * 4];
    for (unsigned i = 0; i < CROWD * 4; i++) {
        p[i] = pt_arena_small(100, 64, &usable);
    }
    for (unsigned i = 0; i < CROWD * 4; i++) {
        pt_arena_small_free(p[i]); /* there is enough for all of them */
    }
    pthread_t thread[CROWD];
    if (!mappings_are_ours()) {
        return;
    }
    pthread_barrier_init(&none_is_left, NULL, CROWD + 1);
    for (unsigned i = 0; i < CROWD; i++) {
        REQUIRE(pthread_create(&thread[i], NULL, take_and_give, NULL) == 0);
    }
    setrlimit(RLIMIT_AS, &(struct rlimit){.rlim_cur = MIB, .rlim_max = RLIM_INFINITY});
    REQUIRE(pt_pages_scratch(PT_PAGE) == NULL);
    pthread_barrier_wait(&none_is_left);
    for (int i = 0; i < 20; i++) { /* a fork needs none either */
        pid_t child = suite_fork();
        if (child == 0) {
            pt_arena_small_free(pt_arena_small(100, 64, &usable));
            _exit(0);
        }
        int status;
        REQUIRE(child < 0 || (waitpid(child, &status, 0) == child && status == 0));
    }
    for (unsigned i = 0; i < CROWD; i++) {
        pthread_join(thread[i], NULL);
    }
}
END_TEST

/* jemalloc would end this process for the bad option, or fill memory, if it read the variable. */
START_TEST(malloc_conf_has_no_effect)
{
    setenv("MALLOC_CONF", "abort_conf:true,no_such_option:1,junk:true,stats_print:true", 1);
    char out[64];
    FILE *f = popen("exec 2>&1; exec /proc/$PPID/exe --blocks", "r");
    ck_assert_ptr_nonnull(fgets(out, sizeof out, f));
    ck_assert_str_eq(out, "fresh memory is zero\n");
    ck_assert_ptr_null(fgets(out, sizeof out, f));
    ck_assert_int_eq(pclose(f), 0);
}
END_TEST

static int print_whether_fresh_memory_is_zero(void)
{
    size_t usable;
    int sum = pt_segments_init() + pt_arena_init();
    const char *p = pt_arena_small(512, 64, &usable);
    for (size_t i = 0; i < 512; i++) {
        sum |= p[i];
    }
    puts(sum == 0 ? "fresh memory is zero" : "fresh memory is filled");
    return 0;
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        return print_whether_fresh_memory_is_zero();
    }
    need_lockable(16 * MIB);
    TCase *tests = tcase_create("arena");
    tcase_add_test(tests, small_blocks_lie_in_locked_memory_as_aligned_as_asked);
    tcase_add_test(tests, a_purge_gives_back_what_is_free);
    tcase_add_test(tests, the_region_freed_last_serves_the_next_of_its_class);
    tcase_add_test(tests, a_region_that_is_not_aligned_enough_serves_not);
    tcase_add_test(tests, one_lies_in_no_two_hands);
    tcase_add_test(tests, a_purge_gives_them_back);
    tcase_add_test(tests, no_memory_can_be_locked_no_block);
    tcase_add_test(tests, threads_without_memory_of_their_own_take_turns);
    tcase_add_test(tests, malloc_conf_has_no_effect);
    return suite_run("arena", tests);
}
