#include "device/driver.h"
#include "fake.h"
#include "life/block.h"
#include "memory/pages.h"
#include "memory/pin.h"
#include "memory/segments.h"
#include "pintensor.h"
#include "pool/device_reset.h"
#include "pool/registration.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>

static void start(void)
{
    fake_load();
    fake_start(2);
}

static pintensor_manager manager;

static char *pin(size_t bytes)
{
    manager = manager != 0 ? manager : pintensor_manager_create();
    pintensor_block b;
    int error = pintensor_alloc(manager, bytes, &b);
    if (error != 0) {
        ck_abort_msg("%s", pintensor_last_error());
    }
    return b.data;
}

static void unpin(char *p)
{
    ck_assert_int_eq(pintensor_free(manager, p), 0);
}

START_TEST(without_a_driver_nothing_is_registered)
{
    ck_assert(!pt_driver_look() && !pt_driver_in_use() && !pt_driver_ready());
    ck_assert_int_eq(pt_driver_register(&manager, PT_PAGE), -ENODEV);
    char *p = pin(MIB);
    ck_assert_uint_eq(vmlck(), MIB);
    ck_assert(!pt_pages_is_shared(p) && !pt_registration_covers(p));
}
END_TEST

START_TEST(a_driver_that_is_not_started_is_left_alone)
{
    fake_load();
    char *p = pin(MIB);
    ck_assert_uint_eq(vmlck(), MIB);
    ck_assert_uint_eq(fake_count('r'), 0);
    ck_assert(!pt_pages_is_shared(p));
}
END_TEST

START_TEST(registration_is_the_lock)
{
    start();
    limit_memlock(0, 0);
    for (size_t size = 5000; size < 100 * MIB; size *= 3) {
        char *p = pin(size);
        size_t pages = pt_pages_up(size, PT_PAGE);
        ck_assert(fake_within(p, pages));
        ck_assert(pt_pages_is_shared(p) && pt_registration_covers(p) && pt_registration_ensure(p, size));
        memset(p, 1, size);
        ck_assert_uint_eq(vmlck(), 0);
    }
    pintensor_stats s;
    pintensor_get_stats(&s, sizeof s);
    ck_assert_uint_ge(s.locked_bytes, s.live_locked);
    pintensor_manager_destroy(manager);
    pintensor_trim();
    EVENTUALLY(fake_count('s') == 0);
    EVENTUALLY(pt_pin_bytes() == 0);
}
END_TEST

/* Whether the kernel has all of it in one mapping of shared memory, whose offsets are congruent with addresses. */
static bool in_one_mapping(const char *p, size_t len)
{
    FILE *f = fopen("/proc/self/maps", "r");
    char line[512], mode[5];
    uintptr_t from, to, offset;
    bool found = false;
    while (fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "%lx-%lx %4s %lx", &from, &to, mode, &offset) == 4 && from <= (uintptr_t)p &&
            (uintptr_t)p < to) {
            found = (uintptr_t)p + len <= to && mode[3] == 's' && (from - offset) % PT_HUGE == 0;
        }
    }
    fclose(f);
    return found;
}

/* Only so can the kernel make huge pages of it. Somebody has mapped memory of his own in the middle, too. */
START_TEST(a_block_lies_in_one_mapping)
{
    enum { KEPT = 12, FOREIGN = 3 << 20 };
    static char *p[KEPT];
    unsigned random = 1;
    start();
    limit_memlock(0, 0);
    char *at = (char *)(((uintptr_t)pin(MIB) + 40 * MIB) & ~(PT_HUGE - 1));
    char *foreign = mmap(at, FOREIGN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    ck_assert_ptr_eq(foreign, at);
    memset(foreign, 5, FOREIGN);
    for (unsigned i = 0; i < 400; i++) {
        random = random * 1103515245 + 12345;
        unsigned k = random >> 16 & 7;
        size_t size = 20 * KIB + (random >> 8) % (12 * MIB);
        if (p[k] != NULL) {
            ck_assert_int_eq(pintensor_free(manager, p[k]), 0);
        }
        p[k] = pin(size);
        REQUIRE(in_one_mapping(p[k], size) && pt_registration_covers(p[k]));
        REQUIRE(p[k] + size <= foreign || p[k] >= foreign + FOREIGN);
        memset(p[k], 1, size);
        if (i % 50 == 0) {
            pintensor_trim();
        }
    }
    for (size_t i = 0; i < FOREIGN; i++) {
        REQUIRE(foreign[i] == 5);
    }
    ck_assert(!pt_registration_covers(foreign) && !pt_registration_ensure(foreign, 1));
    ck_assert_uint_lt(mappings(), 200);
}
END_TEST

START_TEST(population_leaves_no_thread_behind)
{
    start();
    char *p = pin(256 * MIB);
    ck_assert_uint_eq(threads_now(), 1);
    for (size_t i = 0; i < 256 * MIB; i += PT_PAGE) {
        REQUIRE(p[i] == 0);
    }
}
END_TEST

START_TEST(blocks_from_before_the_context_stay_mlocked)
{
    char *before = pin(MIB), *converted = pin(2 * MIB), *small = pin(100);
    start();
    ck_assert(!pt_registration_covers(before));
    char *p = pin(3 * MIB), *tiny = pin(3000);
    ck_assert(fake_within(p, 3 * MIB));
    /* Who registers one himself gets it registered whole; one that shares its pages he has to do himself. */
    ck_assert(pt_registration_ensure(converted + 100, 1000) && fake_holds(converted, 2 * MIB));
    ck_assert(!pt_registration_ensure(small, 100));
    char *more = pin(12 * KIB);
    for (int i = 0; i < 4; i++) {
        tiny = pin(14 * KIB);
    }
    ck_assert(fake_within(tiny, 14 * KIB) || !pt_registration_covers(tiny));
    (void)more;
    size_t locked = pt_pin_bytes();
    unpin(before);
    unpin(converted);
    unpin(p);
    pintensor_trim();
    EVENTUALLY(pt_pin_bytes() == locked - 7 * MIB);
    ck_assert(!fake_within(converted, 1) && !fake_within(p, 1));
}
END_TEST

START_TEST(a_chunk_serves_what_is_smaller_and_keeps_the_rest)
{
    start();
    char *keep = pin(64 * MIB), *p = pin(8 * MIB);
    unpin(p);
    size_t made = fake_count('r');
    ck_assert_ptr_eq(pin(8 * MIB), p);
    unpin(p);
    char *a = pin(5 * MIB - 100), *b = pin(3 * MIB); /* side by side, to the page */
    ck_assert_ptr_eq(a, p);
    ck_assert_ptr_eq(b, p + 5 * MIB);
    ck_assert(fake_holds(p, 8 * MIB) && fake_count('r') == made);
    pintensor_stats s;
    pintensor_get_stats(&s, sizeof s);
    ck_assert(s.live_locked == 72 * MIB && s.registrations == made && s.unregistrations == 0);
    unpin(a);
    unpin(b);
    ck_assert_ptr_eq(pin(8 * MIB), p); /* joined again */
    unpin(p);
    setenv("FAKE_CUDA_FAIL", "1", 1); /* neither way to lock is left */
    limit_memlock(0, 0);
    pintensor_block none;
    ck_assert_int_eq(pintensor_alloc(manager, 9 * MIB, &none), PINTENSOR_ELIMIT);
    ck_assert_ptr_nonnull(strstr(pintensor_last_error(), "the device's driver would not register it (its error 2), and"));
    EVENTUALLY(pt_pin_bytes() == 64 * MIB);
    unpin(keep);
}
END_TEST

/* A block that others register themselves, in the middle of memory that is mlocked, is a chunk of its own from then on. */
START_TEST(a_converted_block_is_a_chunk_of_its_own)
{
    char *p[5];
    for (int i = 0; i < 5; i++) {
        p[i] = pin(MIB);
    }
    memset(p[2], 7, MIB);
    start();
    for (int i = 0; i < 5; i += 2) {
        ck_assert(pt_registration_ensure(p[i], MIB) && fake_holds(p[i], MIB) && pt_registration_covers(p[i] + MIB - 1));
    }
    ck_assert(!pt_registration_covers(p[1]) && !pt_registration_covers(p[3]) && p[2][MIB - 1] == 7);
    ck_assert_uint_eq(vmlck(), 2 * MIB);
    for (int i = 0; i < 5; i++) {
        unpin(p[i]);
    }
    ck_assert_ptr_ne(pin(3 * MIB), p[0]); /* no block lies across two registrations */
    pintensor_trim();
    ck_assert_uint_eq(vmlck(), 0);
    ck_assert_uint_eq(fake_count('s'), 1);
    ck_assert_uint_eq(pt_pin_bytes(), 4 * MIB);
}
END_TEST

/* Taking a registration back waits for all that the device was given: in pipelines that may be what this thread was about
 * to send. */
START_TEST(no_thread_of_the_program_waits_for_the_device)
{
    start();
    setenv("FAKE_CUDA_PATIENCE", "10000", 1); /* whoever else waits */
    static char elsewhere[2][100];
    void *stream = fake_stream(2);
    char *small[2000];
    for (int i = 0; i < 2000; i++) {
        small[i] = pin(8 * KIB);
    }
    fake_copy(elsewhere[0], elsewhere[1], 100, 1, stream); /* the device is busy */
    for (size_t size = MIB; size < 40 * MIB; size += MIB) {
        unpin(pin(size)); /* each has to go for the next */
    }
    for (int i = 0; i < 2000; i++) {
        unpin(small[i]);
    }
    char *more = pin(100);
    ck_assert_uint_eq(fake_count('w'), 0);
    fake_run(stream);
    pintensor_trim();
    EVENTUALLY(pt_pin_bytes() <= 2 * MIB);
    unpin(more);
}
END_TEST

START_TEST(what_the_driver_refuses_is_mlocked)
{
    start();
    setenv("FAKE_CUDA_FAIL", "2:1", 1);
    char *a = pin(2 * MIB), *b = pin(MIB), *c = pin(1000);
    ck_assert(pt_registration_covers(a) && !pt_registration_covers(b) && !pt_registration_covers(c));
    ck_assert_uint_ge(vmlck(), MIB);
    unpin(a);
    unpin(b);
    pintensor_trim();
    EVENTUALLY(fake_count('s') == 0);
    ck_assert_uint_lt(vmlck(), MIB);
}
END_TEST

START_TEST(a_driver_that_registers_nothing_is_asked_once)
{
    static const char *const codes[] = {"1:801", "1:800", "1:1", "1:304", "1:2"};
    start();
    catch_stderr();
    setenv("FAKE_CUDA_FAIL", codes[_i], 1);
    char *a = pin(4 * MIB);
    ck_assert(pt_driver_refuses() && pt_driver_ready() && !pt_driver_registers());
    size_t asked = fake_count('c');
    unsetenv("FAKE_CUDA_FAIL"); /* whatever it would say by now */
    char *b = pin(9 * MIB), *small = pin(100);
    ck_assert(!pt_registration_ensure(a, MIB) && !pt_registration_covers(b) && !pt_registration_covers(small));
    ck_assert_uint_eq(fake_count('c'), asked);
    ck_assert_uint_ge(vmlck(), 13 * MIB);
    unpin(a);
    unpin(b);
    unpin(small);
    pintensor_trim();
    ck_assert_uint_eq(vmlck(), pt_pin_bytes());
    ck_assert_uint_lt(vmlck(), MIB);
    ck_assert_uint_eq(lines_of(suite_stderr()), 1);
    ck_assert_ptr_nonnull(strstr(suite_stderr(), "registers no memory (its error"));
}
END_TEST

/* Populating a GiB takes long. */
START_TEST(before_much_is_populated_a_page_is_asked_for)
{
    start();
    catch_stderr();
    ck_assert(pt_driver_look());
    const size_t len = 1024 * MIB;
    char *p = pt_pages_reserve(len);
    pt_pages_share(p, len);
    setenv("FAKE_CUDA_FAIL", "1", 1);
    ck_assert_int_eq(pt_pin_register(p, len), -ENODEV);
    ck_assert(pt_driver_refuses() && pt_driver_error() == 2);
    ck_assert_uint_eq(fake_count('c'), 1); /* the page alone */
    ck_assert_uint_eq(lines_of(suite_stderr()), 1);
}
END_TEST

START_TEST(a_refusal_that_may_pass_is_not_remembered)
{
    start();
    catch_stderr();
    char *a = _i == 1 ? pin(2 * MIB) : NULL; /* then an invalid value is that range's fault */
    if (_i == 1) {
        setenv("FAKE_CUDA_FAIL", "2:1", 1);
    } else {
        setenv("FAKE_CUDA_MOST", "1000000", 1); /* too much is not all */
    }
    for (int i = 0; i < 3; i++) {
        ck_assert(!pt_registration_covers(pin(4 * MIB)));
    }
    unsetenv("FAKE_CUDA_FAIL");
    unsetenv("FAKE_CUDA_MOST");
    ck_assert(pt_registration_covers(pin(8 * MIB)) && (a == NULL || pt_registration_covers(a)));
    ck_assert_str_eq(suite_stderr(), "");
}
END_TEST

START_TEST(one_device_with_other_addresses_is_enough)
{
    setenv("FAKE_CUDA_ADDRESSES", "3", 1);
    start();
    catch_stderr();
    char *a = pin(4 * MIB), *small = pin(100);
    ck_assert(!pt_registration_covers(a) && !pt_registration_covers(small) && !pt_registration_ensure(a, MIB));
    ck_assert(!pt_pages_is_shared(a)); /* as stock: nothing asks for it to be */
    ck_assert_uint_ge(vmlck(), 4 * MIB);
    ck_assert_uint_eq(fake_count('c'), 0);
    ck_assert_uint_eq(lines_of(suite_stderr()), 1);
    ck_assert_ptr_nonnull(strstr(suite_stderr(), "cannot use registered memory by the program's addresses"));
}
END_TEST

START_TEST(large_ranges_go_in_chunks_or_not_at_all)
{
    start();
    ck_assert(pt_driver_look());
    const size_t gib = (size_t)1 << 30, len = 200 * gib;
    char *p = pt_pages_reserve(len);
    ck_assert_int_eq(pt_driver_register(p, len), 0);
    ck_assert_uint_eq(fake_count('s'), 4);
    ck_assert(fake_holds(p + 192 * gib, 8 * gib) && fake_holds(p, 64 * gib));
    pt_driver_unregister(p, len);
    EVENTUALLY(fake_count('s') == 0);
    for (size_t k = 1; k <= 4; k++) {
        char count[16];
        snprintf(count, sizeof count, "%zu", fake_count('r') + k);
        setenv("FAKE_CUDA_FAIL", count, 1);
        ck_assert_int_eq(pt_driver_register(p, len), -ENOMEM);
        ck_assert_int_eq(pt_driver_error(), 2);
        EVENTUALLY(fake_count('s') == 0);
    }
}
END_TEST

START_TEST(small_blocks_lie_in_one_registration_each)
{
    start();
    limit_memlock(0, 0);
    enum { COUNT = 20000 };
    static char *p[COUNT];
    static size_t size[COUNT];
    unsigned random = 1;
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            random = random * 1103515245 + 12345;
            if (p[i] != NULL && (random >> 16) % 4 != 0) {
                REQUIRE(pintensor_free(manager, p[i]) == 0);
                p[i] = NULL;
            }
        }
        pintensor_trim();
        for (unsigned i = 0; i < COUNT; i++) {
            random = random * 1103515245 + 12345;
            if (p[i] == NULL) {
                size[i] = 1 + (random >> 12) % (14 * KIB);
                p[i] = pin(size[i]);
                memset(p[i], 1, size[i]);
            }
        }
        for (unsigned i = 0; i < COUNT; i++) {
            REQUIRE(fake_within(p[i], size[i]));
        }
    }
    ck_assert_uint_eq(vmlck(), 0);
    for (unsigned i = 0; i < COUNT; i++) {
        REQUIRE(pintensor_free(manager, p[i]) == 0);
    }
    pintensor_trim();
    EVENTUALLY(fake_count('s') == 0);
    EVENTUALLY(pt_pin_bytes() == 0);
    ck_assert(fake_within(pin(100), 100)); /* a step comes back */
}
END_TEST

START_TEST(steps_and_mlocked_parts_do_not_mix)
{
    fake_load();
    ck_assert_int_eq(pt_segments_init(), 0);
    char *plain = pt_segments_take_small(64 * KIB, PT_PAGE);
    fake_start(0);
    ck_assert(pt_driver_look());
    char *a = pt_segments_take_small(64 * KIB, PT_PAGE), *b = pt_segments_take_small(3 * MIB, PT_PAGE);
    ck_assert(fake_within(a, 64 * KIB) && fake_holds(b, 4 * MIB) && !pt_segments_registered(plain));
    ck_assert(!pt_segments_joined(a) && !pt_segments_joined(b) && pt_segments_joined(b + PT_HUGE));
    ck_assert_uint_eq(vmlck(), 64 * KIB); /* what was locked ahead went back */
    fake_stop();
    char *c = pt_segments_take_small(64 * KIB, PT_PAGE);
    ck_assert(!pt_segments_registered(c) && !pt_segments_joined(c));
    pt_segments_unlock(plain, 64 * KIB);
    pt_segments_unlock(a, 64 * KIB);
    pt_segments_unlock(b, 3 * MIB);
    pt_segments_sweep(true);
    ck_assert_uint_eq(pt_segments_small_locked(), vmlck());
}
END_TEST

/* Under jemalloc's locks nothing is taken back from the driver, which waits for the device then. */
START_TEST(a_step_goes_back_by_a_sweep)
{
    fake_load();
    fake_start(0);
    ck_assert(pt_driver_look());
    ck_assert_int_eq(pt_segments_init(), 0);
    char *a = pt_segments_take_small(64 * KIB, PT_PAGE);
    pt_segments_unlock(a, 64 * KIB);
    ck_assert_uint_eq(fake_count('s'), 1);
    ck_assert_int_eq(pt_segments_relock(a, 64 * KIB), 0);
    pt_segments_sweep(true);
    ck_assert(fake_within(a, 64 * KIB));
    pt_segments_unlock(a, 64 * KIB);
    pt_segments_take_small(2 * MIB, PT_PAGE);
    pt_segments_sweep(true);
    ck_assert_uint_eq(fake_count('s'), 1);
    ck_assert_uint_eq(pt_segments_small_locked(), 2 * MIB);
}
END_TEST

START_TEST(after_the_drivers_end_nothing_is_asked_of_it)
{
    start();
    char *a = pin(MIB), *b = pin(100);
    fake_stop();
    unpin(a);
    unpin(b);
    pintensor_trim();
    ck_assert_uint_eq(fake_count('s'), 2); /* gone with the driver */
    char *c = pin(MIB);
    ck_assert_uint_ge(vmlck(), MIB);
    memset(c, 1, MIB);
}
END_TEST

/* As the door does. */
static void reset_device(void)
{
    pt_device_reset_begins();
    ck_assert_int_eq(fake_reset_device(), 0);
    pt_device_reset_ended();
}

START_TEST(a_reset_device_forgets_and_what_is_alive_is_registered_again)
{
    start();
    char *p = pin(8 * MIB), *small[100];
    for (int i = 0; i < 100; i++) {
        small[i] = pin(2000);
    }
    memset(p, 7, 8 * MIB);
    unpin(pin(20 * MIB));
    ck_assert_uint_eq(fake_count('s'), 3);
    pt_device_reset_begins();
    ck_assert_uint_eq(fake_count('s'), 2); /* nothing that waits is forgotten with the context: it went */
    reset_device();
    ck_assert_uint_eq(fake_count('s'), 0);
    char *without = pin(MIB);
    ck_assert_uint_eq(vmlck(), MIB);
    fake_start(2);
    char *a = pin(MIB);
    ck_assert(fake_within(a, MIB) && fake_holds(p, 8 * MIB) && p[8 * MIB - 1] == 7);
    for (int i = 0; i < 100; i++) {
        ck_assert(fake_within(small[i], 2000));
        unpin(small[i]);
    }
    unpin(p);
    unpin(a);
    unpin(without);
    ck_assert_ptr_eq(pin(8 * MIB), p);
    unpin(p);
    pintensor_trim();
    EVENTUALLY(fake_count('s') == 0);
    EVENTUALLY(pt_pin_bytes() == 0);
}
END_TEST

START_TEST(what_was_alive_at_a_reset_is_nobodys_before_it_is_registered)
{
    start();
    char *a = pin(8 * MIB);
    unpin(a);
    a = pin(5 * MIB);
    char *b = pin(3 * MIB), *small = pin(100);
    ck_assert_ptr_eq(b, a + 5 * MIB);
    unpin(b);
    reset_device();
    ck_assert_ptr_ne(pin(3 * MIB), b); /* its chunk is not registered */
    if (_i == 0) { /* freed after the context is a new one, or before it */
        fake_start(2);
    }
    unpin(a);
    fake_start(2);
    ck_assert(!fake_within(a, 1) && !fake_within(small, 1));
    if (_i == 2) {
        ck_assert(pt_registration_ensure(small, 100) && fake_within(small, 100)); /* as who has it registered himself */
    }
    char *joined = pin(8 * MIB);
    ck_assert(joined == a && fake_holds(a, 8 * MIB) && fake_within(small, 100));
    ck_assert(fake_within(pin(3000), 3000));
}
END_TEST

START_TEST(what_a_reset_forgot_goes_back_as_well)
{
    start();
    char *p = pin(8 * MIB), *small = pin(100);
    reset_device();
    fake_start(2);
    unpin(p);
    unpin(small);
    pintensor_trim();
    EVENTUALLY(pt_pin_bytes() == 0);
    char *other = pin(8 * MIB);
    ck_assert(fake_within(other, 8 * MIB) && other[0] == 0);
}
END_TEST

START_TEST(the_reset_of_another_device_changes_nothing)
{
    start();
    char *p = pin(8 * MIB), *small = pin(100);
    fake_start(3);
    reset_device();
    ck_assert(fake_holds(p, 8 * MIB) && fake_within(small, 100));
    char *a = pin(MIB);
    ck_assert(fake_within(a, MIB) && fake_holds(p, 8 * MIB) && fake_within(small, 100));
    unpin(p);
    unpin(a);
    unpin(small);
    pintensor_trim();
    EVENTUALLY(fake_count('s') == 0);
}
END_TEST

static void register_all_again(void)
{
    pt_device_reset_ended();
    pt_device_reset_mend();
}

START_TEST(what_is_going_is_not_registered_again)
{
    start();
    char *p = pin(8 * MIB), *q = pin(20 * MIB);
    reset_device();
    fake_start(2);
    unpin(q);
    q = pin(20 * MIB);
    ck_assert_uint_eq(fake_count('s'), 2);
    unpin(q);
    fake_when_gone(register_all_again);
    pintensor_trim();
    EVENTUALLY(fake_count('s') == 1);
    ck_assert(fake_holds(p, 8 * MIB));
}
END_TEST

static void *reset_now_and_then(void *stop)
{
    for (int i = 0; i < 50 || !atomic_load((atomic_int *)stop); i++) {
        pt_device_reset_ended(); /* nothing is forgotten, but nobody knows that */
        usleep(1000);
    }
    return NULL;
}

static char *parents;

static void read_and_write(void)
{
    ck_assert(parents[MIB] == 7);
    parents[MIB] = 8;
    ck_assert(!pt_registration_covers(parents) && !pt_registration_ensure(parents, MIB));
    manager = 0;
    char *own = pin(MIB);
    ck_assert(!pt_pages_is_shared(own) && vmlck() >= MIB);
    own[0] = 1;
}

START_TEST(a_child_shares_and_owns_nothing)
{
    start();
    parents = pin(4 * MIB);
    memset(parents, 7, 4 * MIB);
    ck_assert(child_does(read_and_write));
    ck_assert(parents[MIB] == 8 && fake_holds(parents, 4 * MIB));
    ck_assert_uint_eq(fake_count('s'), 1);
}
END_TEST

START_TEST(memory_goes_back_to_the_kernel)
{
    start();
    char *p = pin(32 * MIB);
    memset(p, 1, 32 * MIB);
    unpin(p);
    pintensor_trim();
    unsigned char present = 1;
    ck_assert_int_eq(syscall(SYS_mincore, p + 5 * MIB, PT_PAGE, &present), 0);
    ck_assert_uint_eq(present & 1, 0);
}
END_TEST

static void *churn(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < 2000; i++) {
        size_t size = 100 + i * 7919 % 60000;
        pintensor_block b;
        REQUIRE(pintensor_alloc(manager, size, &b) == 0 && fake_within(b.data, size));
        REQUIRE(pintensor_free_block(manager, &b) == 0);
    }
    return NULL;
}

/* Memory is registered again while others give it back. */
START_TEST(registering_again_meets_threads)
{
    start();
    reset_device();
    fake_start(2);
    pin(MIB);
    atomic_int stop = 0;
    pthread_t t[4];
    pthread_create(&t[0], NULL, reset_now_and_then, &stop);
    for (unsigned i = 1; i < 4; i++) {
        pthread_create(&t[i], NULL, churn, NULL);
    }
    for (size_t i = 0; i < 200; i++) {
        pintensor_block b;
        REQUIRE(pintensor_alloc(manager, (1 + i % 30) * MIB, &b) == 0 && pintensor_free_block(manager, &b) == 0);
        pintensor_trim();
    }
    for (unsigned i = 1; i < 4; i++) {
        pthread_join(t[i], NULL);
    }
    atomic_store(&stop, 1);
    pthread_join(t[0], NULL);
    pintensor_manager_destroy(manager);
    pintensor_trim();
    EVENTUALLY(pt_pin_bytes() == 0);
    EVENTUALLY(fake_count('s') == 0);
}
END_TEST

START_TEST(threads)
{
    start();
    pin(MIB);
    pthread_t t[4];
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_create(&t[i], NULL, churn, NULL), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_join(t[i], NULL), 0);
    }
}
END_TEST

int main(void)
{
    need_lockable(8 * MIB);
    TCase *tests = tcase_create("device");
    tcase_add_test(tests, without_a_driver_nothing_is_registered);
    tcase_add_test(tests, a_driver_that_is_not_started_is_left_alone);
    tcase_add_test(tests, registration_is_the_lock);
    tcase_add_test(tests, a_block_lies_in_one_mapping);
    tcase_add_test(tests, blocks_from_before_the_context_stay_mlocked);
    tcase_add_test(tests, a_chunk_serves_what_is_smaller_and_keeps_the_rest);
    tcase_add_test(tests, a_converted_block_is_a_chunk_of_its_own);
    tcase_add_test(tests, no_thread_of_the_program_waits_for_the_device);
    tcase_add_test(tests, what_the_driver_refuses_is_mlocked);
    tcase_add_loop_test(tests, a_driver_that_registers_nothing_is_asked_once, 0, 5);
    tcase_add_test(tests, before_much_is_populated_a_page_is_asked_for);
    tcase_add_loop_test(tests, a_refusal_that_may_pass_is_not_remembered, 0, 2);
    tcase_add_test(tests, one_device_with_other_addresses_is_enough);
    tcase_add_test(tests, large_ranges_go_in_chunks_or_not_at_all);
    tcase_add_test(tests, small_blocks_lie_in_one_registration_each);
    tcase_add_test(tests, population_leaves_no_thread_behind);
    tcase_add_test(tests, steps_and_mlocked_parts_do_not_mix);
    tcase_add_test(tests, a_step_goes_back_by_a_sweep);
    tcase_add_test(tests, after_the_drivers_end_nothing_is_asked_of_it);
    tcase_add_test(tests, a_child_shares_and_owns_nothing);
    tcase_add_test(tests, memory_goes_back_to_the_kernel);
    tcase_add_test(tests, a_reset_device_forgets_and_what_is_alive_is_registered_again);
    tcase_add_loop_test(tests, what_was_alive_at_a_reset_is_nobodys_before_it_is_registered, 0, 3);
    tcase_add_test(tests, what_a_reset_forgot_goes_back_as_well);
    tcase_add_test(tests, the_reset_of_another_device_changes_nothing);
    tcase_add_test(tests, what_is_going_is_not_registered_again);
    tcase_add_test(tests, registering_again_meets_threads);
    tcase_add_test(tests, threads);
    return suite_run("device", tests);
}
