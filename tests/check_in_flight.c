#include "device/driver.h"
#include "fake.h"
#include "life/block.h"
#include "life/device_block.h"
#include "life/held.h"
#include "memory/pin.h"
#include "pintensor.h"
#include "pool/magazine.h"
#include "pool/pool.h"
#include "pool/stream_use.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>

static pintensor_manager manager;
static char device[8 << 20]; /* stands for the device's memory */

static void start(void)
{
    fake_begin();
    manager = pintensor_manager_create();
}

static pintensor_block pin(size_t bytes)
{
    pintensor_block b;
    if (pintensor_alloc(manager, bytes, &b) != 0) {
        ck_abort_msg("%s", pintensor_last_error());
    }
    memset(b.data, 1, bytes);
    return b;
}

static void unpin(pintensor_block *b)
{
    ck_assert_int_eq(pintensor_free_block(manager, b), 0);
}

/* As the door does for a program that copies. */
static void send(const pintensor_block *b, void *stream)
{
    fake_copy(device, b->data, b->bytes, 1, stream);
    ck_assert(pt_stream_use_note(b->data, stream, PT_STREAM_USE_CURRENT, false));
}

static const size_t sizes[] = {1000, 3 * KIB, 14 * KIB, 100 * KIB, 3 * MIB};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

START_TEST(a_block_in_flight_is_not_reused)
{
    start();
    void *stream = fake_stream(1);
    size_t size = sizes[_i];
    pintensor_block a = pin(size);
    send(&a, stream);
    unpin(&a);
    ck_assert(!pintensor_is_managed(a.data, 1));
    ck_assert_int_ne(pintensor_free(manager, a.data), 0);
    pintensor_block b[20];
    for (int i = 0; i < 20; i++) {
        b[i] = pin(size);
        ck_assert_ptr_ne(b[i].data, a.data);
    }
    fake_run(stream);
    for (int i = 0; i < 20; i++) {
        unpin(&b[i]);
    }
    bool found = false;
    for (int i = 0; i < 40; i++) {
        found = pin(size).data == a.data || found;
    }
    ck_assert(found);
}
END_TEST

START_TEST(what_flies_has_its_room)
{
    start();
    void *stream = fake_stream(1);
    for (int i = 0; i < 3; i++) { /* as a loop that pins, copies and drops: two at once */
        pintensor_block a = pin(MIB);
        send(&a, stream);
        unpin(&a);
        pintensor_block b = pin(MIB);
        send(&b, stream);
        unpin(&b);
        fake_run(stream);
    }
    pintensor_stats s;
    pintensor_get_stats(&s, sizeof s);
    ck_assert_uint_eq(s.allocated_blocks, 6);
    ck_assert_uint_eq(s.reused_blocks, 5);
    ck_assert_uint_eq(fake_count('r'), 1); /* both lie in one chunk */
}
END_TEST

START_TEST(only_what_was_given_so_far_counts)
{
    start();
    void *stream = fake_stream(1);
    pintensor_block keep = pin(MIB), a = pin(MIB);
    send(&a, stream);
    fake_run(stream);
    send(&keep, stream); /* not a's affair */
    unpin(&a);
    ck_assert_ptr_eq(pin(MIB).data, a.data);
}
END_TEST

START_TEST(until_the_drop_all_counts)
{
    start();
    void *stream = fake_stream(1);
    pintensor_block keep = pin(MIB), a = pin(MIB);
    fake_copy(device, a.data, a.bytes, 1, stream);
    ck_assert(pt_stream_use_note((char *)a.data + 100, stream, 1, true));
    send(&a, stream); /* and nobody makes it less */
    fake_run(stream);
    fake_copy(device, keep.data, keep.bytes, 1, stream);
    unpin(&a);
    ck_assert_ptr_ne(pin(MIB).data, a.data);
    fake_run(stream);
    ck_assert_ptr_eq(pin(MIB).data, a.data);
}
END_TEST

START_TEST(every_stream_counts)
{
    start();
    fake_start(3);
    void *streams[] = {fake_stream(1), fake_stream(3), NULL, (void *)2, fake_stream(1)};
    pintensor_block a = pin(MIB);
    for (int i = 0; i < 5; i++) {
        send(&a, streams[i]);
        send(&a, streams[i]);
    }
    unpin(&a);
    for (int i = 4; i >= 0; i--) {
        ck_assert_ptr_ne(pin(MIB).data, a.data);
        fake_run(streams[i]);
    }
    ck_assert_ptr_eq(pin(MIB).data, a.data);
}
END_TEST

START_TEST(a_slow_stream_holds_nobody_up)
{
    start();
    void *slow = fake_stream(1), *fast = fake_stream(1);
    pintensor_block many[100], a = pin(MIB);
    for (int i = 0; i < 100; i++) {
        many[i] = pin(64 * KIB);
        send(&many[i], slow);
        unpin(&many[i]);
    }
    send(&a, fast);
    unpin(&a);
    fake_run(fast);
    bool found = false;
    for (int i = 0; i < 100 && !found; i++) {
        found = pin(MIB).data == a.data;
    }
    ck_assert(found);
}
END_TEST

START_TEST(a_captured_block_is_never_reused)
{
    start();
    void *stream = fake_stream(1);
    pintensor_block a = pin(MIB), b = pin(1000);
    fake_capture(stream, 1);
    send(&a, stream);
    send(&b, stream);
    fake_capture(stream, 0);
    unpin(&a);
    unpin(&b);
    fake_run(stream);
    pintensor_trim();
    for (int i = 0; i < 100; i++) {
        ck_assert_ptr_ne(pin(MIB).data, a.data);
        ck_assert_ptr_ne(pin(1000).data, b.data);
    }
    ck_assert_int_eq(((char *)a.data)[MIB - 1], 1);
}
END_TEST

START_TEST(a_drop_during_a_capture_waits_for_its_end)
{
    start();
    void *stream = fake_stream(1);
    pintensor_block a = pin(MIB);
    fake_copy(device, a.data, a.bytes, 1, stream);
    ck_assert(pt_stream_use_note(a.data, stream, 1, true));
    fake_capture(stream, 1);
    unpin(&a);
    ck_assert_ptr_ne(pin(MIB).data, a.data);
    fake_capture(stream, 0);
    ck_assert_ptr_ne(pin(MIB).data, a.data); /* its copy is not done */
    fake_run(stream);
    ck_assert_ptr_eq(pin(MIB).data, a.data);
}
END_TEST

START_TEST(what_flies_is_neither_trimmed_nor_lost)
{
    start();
    void *stream = fake_stream(1);
    pintensor_block a = pin(4 * MIB), small = pin(2000);
    send(&a, stream);
    send(&small, stream);
    unpin(&a);
    unpin(&small);
    pintensor_trim(); /* the fake ends the process if memory goes back in flight */
    pintensor_stats s;
    pintensor_get_stats(&s, sizeof s);
    ck_assert_uint_eq(s.live_blocks, 0);
    ck_assert_uint_ge(s.cached_bytes, 4 * MIB);
    fake_run(stream);
    pintensor_trim();
    EVENTUALLY(pt_pin_bytes() == 0);
    EVENTUALLY(fake_count('s') == 0);
}
END_TEST

START_TEST(when_memory_is_short_the_copies_are_waited_for)
{
    start();
    setenv("FAKE_CUDA_FAIL", "2", 1); /* no more registrations than one */
    limit_memlock(0, 0);
    void *stream = fake_stream(1);
    pintensor_block a = pin(4 * MIB);
    send(&a, stream);
    unpin(&a);
    pintensor_block b = pin(4 * MIB);
    ck_assert_ptr_eq(b.data, a.data);
}
END_TEST

START_TEST(strict_waits_for_all_of_the_device)
{
    setenv("PINTENSOR_REUSE", "strict", 1);
    start();
    void *stream = fake_stream(1);
    size_t size = sizes[_i];
    pintensor_block a = pin(size), other = pin(size);
    fake_copy(device, a.data, a.bytes, 1, stream); /* of which nobody tells */
    unpin(&a);
    fake_capture(stream, 1); /* which waiting would end: the fake tells */
    pt_stream_use_capture(1);
    for (int i = 0; i < 20; i++) {
        ck_assert_ptr_ne(pin(size).data, a.data);
    }
    fake_capture(stream, 0);
    pt_stream_use_capture(-1);
    (void)other;
    if (size > 14 * KIB) {
        size_t made = fake_count('r');
        bool found = false;
        for (int i = 0; i < 100 && !found; i++) {
            found = pin(size).data == a.data;
        }
        ck_assert(found && fake_count('r') == made); /* which is worth waiting for, before more is locked */
    } else {
        for (int i = 0; i < 1000; i++) {
            (void)pin(size); /* the fake tells if it is reused too early */
        }
    }
    fake_run(stream);
}
END_TEST

static void *pin_as_cuda(size_t size)
{
    void *p = NULL;
    REQUIRE(pt_device_block_pin(size, __builtin_return_address(0), &p) == 0);
    memset(p, 1, size);
    return p;
}

/* By threads that keep blocks for themselves, too. */
START_TEST(what_cuda_freed_waits_for_all_of_the_device)
{
    setenv("PINTENSOR_SERVE", "all", 1);
    start();
    void *stream = fake_stream(1), *captured = fake_stream(1);
    size_t size = sizes[_i];
    void *a = pin_as_cuda(size), *b = pin_as_cuda(size);
    pt_magazine_join();
    REQUIRE(pt_magazine_mine());
    void *c = pin_as_cuda(size);
    memset(device, 0, sizeof device);
    fake_copy(device, a, size, 1, stream); /* of which nobody tells */
    ck_assert(pt_device_block_unpin(a));
    ck_assert_int_eq(device[size - 1], 1);
    ck_assert(!pt_device_block_unpin(a));
    memset(device, 0, sizeof device);
    fake_copy(device, b, size, 1, stream);
    fake_copy(device + size, c, size, 1, stream);
    fake_capture(captured, 1); /* which waiting would end: the fake tells */
    pt_stream_use_capture(1);
    ck_assert(pt_device_block_unpin(b) && pt_device_block_unpin(c));
    for (int i = 0; i < 20; i++) {
        void *p = pin_as_cuda(size);
        ck_assert(p != b && p != c);
    }
    ck_assert_int_eq(device[0], 0);
    fake_capture(captured, 0);
    pt_stream_use_capture(-1);
    ck_assert(pt_device_block_unpin(pin_as_cuda(size)));
    ck_assert(device[size - 1] == 1 && device[2 * size - 1] == 1);
}
END_TEST

START_TEST(strict_costs_nothing_without_a_device)
{
    setenv("PINTENSOR_REUSE", "strict", 1);
    manager = pintensor_manager_create();
    pintensor_block a = pin(MIB);
    unpin(&a);
    ck_assert_ptr_eq(pin(MIB).data, a.data);
}
END_TEST

START_TEST(a_program_may_tell)
{
    start();
    void *stream = fake_stream(1);
    pintensor_block keep = pin(MIB), a = pin(MIB);
    fake_copy(device, a.data, a.bytes, 1, stream); /* by a way that nobody sees */
    ck_assert_int_eq(pintensor_record_stream((char *)a.data + 5, stream), 0);
    unpin(&a);
    ck_assert_ptr_ne(pin(MIB).data, a.data);
    fake_run(stream);
    ck_assert_ptr_eq(pin(MIB).data, a.data);
    ck_assert_int_eq(pintensor_record_stream(device, stream), PINTENSOR_ENOT_OURS);
    (void)keep;
}
END_TEST

START_TEST(foreign_memory_is_nobody_of_ours)
{
    start();
    void *stream = fake_stream(1);
    pintensor_block a = pin(MIB);
    ck_assert(!pt_stream_use_note(device, stream, 1, true));
    unpin(&a);
    ck_assert(!pt_stream_use_note(a.data, stream, 1, true));
    ck_assert_ptr_eq(pin(MIB).data, a.data);
}
END_TEST

static void *churn(void *stream)
{
    unsigned seed = (unsigned)(uintptr_t)stream;
    for (int i = 0; i < 2000; i++) {
        size_t size = sizes[rand_r(&seed) % SIZES];
        pintensor_block b;
        REQUIRE(pintensor_alloc(manager, size, &b) == 0);
        memset(b.data, (int)seed, size < 4096 ? size : 4096);
        fake_copy(device, b.data, size < 4096 ? size : 4096, 1, stream);
        REQUIRE(pt_stream_use_note(b.data, stream, 1, rand_r(&seed) % 2 == 0));
        REQUIRE(pintensor_free_block(manager, &b) == 0);
        if (rand_r(&seed) % 8 == 0) {
            fake_run(stream);
        }
        if (rand_r(&seed) % 64 == 0) {
            (void)pintensor_trim();
        }
    }
    fake_run(stream);
    return NULL;
}

START_TEST(many_threads_and_streams)
{
    start();
    fake_works(1); /* threads trim while others have work under way */
    pthread_t threads[6];
    for (int i = 0; i < 6; i++) {
        pthread_create(&threads[i], NULL, churn, fake_stream(1));
    }
    for (int i = 0; i < 6; i++) {
        pthread_join(threads[i], NULL);
    }
    pintensor_trim();
    pintensor_trim();
    EVENTUALLY(pt_pin_bytes() == 0);
    EVENTUALLY(fake_count('s') == 0);
}
END_TEST

START_TEST(a_child_has_nothing_in_flight)
{
    start();
    void *stream = fake_stream(1);
    pintensor_block a = pin(MIB);
    send(&a, stream);
    unpin(&a);
    pid_t child = suite_fork();
    if (child == 0) {
        manager = pintensor_manager_create();
        pintensor_block b = pin(MIB);
        pt_stream_use_note(b.data, stream, 1, true);
        unpin(&b);
        suite_leave(pin(MIB).data == b.data ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    ck_assert_int_eq(status, 0);
    fake_run(stream);
    ck_assert_ptr_eq(pin(MIB).data, a.data);
}
END_TEST

START_TEST(few_slow_blocks_hold_nobody_up)
{
    start();
    void *slow = fake_stream(1), *fast = fake_stream(1);
    for (int i = 0; i < 2 + _i; i++) {
        pintensor_block a = pin(64 * KIB);
        send(&a, slow);
        unpin(&a);
    }
    pintensor_block a = pin(MIB);
    send(&a, fast);
    unpin(&a);
    fake_run(fast);
    bool found = false;
    for (int i = 0; i < 20 && !found; i++) {
        found = pin(MIB).data == a.data;
    }
    ck_assert(found);
}
END_TEST

static void *send_on_ones_own(void *block)
{
    send(block, (void *)2);
    return NULL;
}

/* cudaStreamPerThread is one name for many streams. The first one's work is never done here. */
START_TEST(each_thread_has_a_stream_of_its_own)
{
    start();
    pintensor_block a = pin(MIB);
    pthread_t thread;
    pthread_create(&thread, NULL, send_on_ones_own, &a);
    pthread_join(thread, NULL);
    send(&a, (void *)2);
    fake_run((void *)2);
    unpin(&a);
    for (int i = 0; i < 20; i++) {
        ck_assert_ptr_ne(pin(MIB).data, a.data);
    }
}
END_TEST

START_TEST(a_destroyed_streams_work_counts)
{
    start();
    void *stream = fake_stream(1);
    pintensor_block a = pin(MIB);
    send(&a, stream);
    fake_again(stream); /* its copy is never done here */
    send(&a, stream);
    fake_run(stream);
    unpin(&a);
    for (int i = 0; i < 20; i++) {
        ck_assert_ptr_ne(pin(MIB).data, a.data);
    }
}
END_TEST

START_TEST(a_block_that_outlives_many_streams)
{
    start();
    void *stream = fake_stream(1);
    pintensor_block a = pin(MIB);
    for (int i = 0; i < 1000; i++) {
        send(&a, stream);
        fake_run(stream);
        fake_again(stream);
    }
    ck_assert_uint_le(fake_count('e'), 20);
    unpin(&a);
    ck_assert_ptr_eq(pin(MIB).data, a.data);
}
END_TEST

static pintensor_block used_by_many;
static void *others_streams[8];

static void drop_it(void)
{
    unpin(&used_by_many);
    for (int i = 0; i < 8; i++) {
        fake_run(others_streams[i]);
    }
    ck_assert_ptr_ne(pin(MIB).data, used_by_many.data);
}

/* Who uses a block once more asks for its oldest use, with no lock held; that one counts all the same. */
START_TEST(a_drop_meanwhile_waits_for_the_use_that_is_asked_for)
{
    start();
    void *oldest = fake_stream(1);
    used_by_many = pin(MIB);
    send(&used_by_many, oldest);
    for (int i = 0; i < 8; i++) {
        others_streams[i] = fake_stream(1);
        if (i == 7) {
            fake_when_asked(drop_it);
        }
        send(&used_by_many, others_streams[i]);
    }
    ck_assert_int_ne(pintensor_free(manager, used_by_many.data), 0); /* it was dropped then */
    for (int i = 0; i < 20; i++) {
        ck_assert_ptr_ne(pin(MIB).data, used_by_many.data);
    }
    fake_run(oldest);
    bool found = false;
    for (int i = 0; i < 20 && !found; i++) {
        found = pin(MIB).data == used_by_many.data;
    }
    ck_assert(found);
}
END_TEST

START_TEST(what_is_not_locked_has_no_uses)
{
    setenv("PINTENSOR_ON_LIMIT", "pageable", 1);
    setenv("FAKE_CUDA_FAIL", "1", 1);
    limit_memlock(0, 0);
    start();
    void *stream = fake_stream(1);
    for (int i = 0; i < 100; i++) {
        pintensor_block a = pin(MIB);
        ck_assert(pt_stream_use_note(a.data, stream, PT_STREAM_USE_CURRENT, false));
        unpin(&a);
    }
    ck_assert_uint_le(fake_count('e'), 1);
}
END_TEST

/* In a callback the driver says of everything that it is not permitted, which is not that it is done. */
START_TEST(a_host_callback_learns_nothing)
{
    if (_i == 1) {
        setenv("PINTENSOR_REUSE", "strict", 1);
    }
    start();
    void *stream = fake_stream(1);
    pintensor_block a = pin(MIB);
    send(&a, stream);
    unpin(&a);
    fake_callback(1);
    ck_assert_ptr_ne(pin(MIB).data, a.data);
    fake_callback(0);
    fake_run(stream);
    ck_assert_ptr_eq(pin(MIB).data, a.data);
}
END_TEST

START_TEST(a_destroyed_context_is_left_alone)
{
    start();
    void *stream = fake_context();
    pintensor_block a = pin(MIB);
    send(&a, stream);
    unpin(&a);
    ck_assert_ptr_ne(pin(MIB).data, a.data);
    fake_run(stream);
    fake_destroy(stream);
    ck_assert_ptr_eq(pin(MIB).data, a.data);
}
END_TEST

START_TEST(events_that_cannot_be_recorded_do_not_pile_up)
{
    start();
    void *stream = fake_stream(1);
    pintensor_block a = pin(MIB);
    fake_copy(device, a.data, a.bytes, 1, stream);
    ck_assert(pt_stream_use_note(a.data, stream, 1, true));
    fake_refuse(stream, 1);
    unpin(&a);
    for (int i = 0; i < 50; i++) {
        ck_assert_ptr_ne(pin(MIB).data, a.data);
    }
    ck_assert_uint_le(fake_count('e'), 1);
    fake_refuse(stream, 0);
    fake_run(stream);
    ck_assert_ptr_eq(pin(MIB).data, a.data);
}
END_TEST

START_TEST(the_default_stream_is_let_alone_during_captures)
{
    start();
    void *stream = fake_stream(1);
    pintensor_block a = pin(MIB);
    fake_copy(device, a.data, a.bytes, 1, NULL);
    ck_assert(pt_stream_use_note(a.data, NULL, 1, true));
    fake_capture(stream, 1);
    pt_stream_use_capture(1);
    unpin(&a);
    ck_assert_ptr_ne(pin(MIB).data, a.data);
    fake_capture(stream, 0);
    pt_stream_use_capture(-1);
    ck_assert_ptr_ne(pin(MIB).data, a.data);
    fake_run(NULL);
    ck_assert_ptr_eq(pin(MIB).data, a.data);
}
END_TEST

/* CUDA takes its driver apart then, in destructors that run before ours. */
START_TEST(when_exit_has_begun_no_thread_asks_the_driver)
{
    setenv("PINTENSOR_IDLE", "0", 1);
    start();
    void *stream = fake_stream(1);
    pintensor_block a = pin(MIB);
    send(&a, stream);
    unpin(&a);
    size_t before = fake_count('c');
    for (int i = 0; i < 100 && fake_count('c') == before; i++) {
        usleep(10000);
    }
    ck_assert_uint_gt(fake_count('c'), before); /* the thread is there */
    pt_held_begin();
    usleep(200000);
    before = fake_count('c');
    usleep(300000);
    ck_assert_uint_eq(fake_count('c'), before);
}
END_TEST

static pintensor_block shared_by_all;

static void *use_again_and_again(void *stream)
{
    for (int i = 0; i < 20000; i++) {
        REQUIRE(pt_stream_use_note(shared_by_all.data, stream, PT_STREAM_USE_CURRENT, false));
    }
    return NULL;
}

START_TEST(threads_that_use_one_block_make_few_events)
{
    start();
    void *stream = fake_stream(1);
    shared_by_all = pin(MIB);
    pthread_t threads[6];
    for (int i = 0; i < 6; i++) {
        pthread_create(&threads[i], NULL, use_again_and_again, stream);
    }
    for (int i = 0; i < 6; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_uint_le(fake_count('e'), 6);
    fake_run(stream);
    unpin(&shared_by_all);
    ck_assert_ptr_eq(pin(MIB).data, shared_by_all.data);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("flight");
    tcase_add_loop_test(t, a_block_in_flight_is_not_reused, 0, SIZES);
    tcase_add_test(t, what_flies_has_its_room);
    tcase_add_test(t, only_what_was_given_so_far_counts);
    tcase_add_test(t, until_the_drop_all_counts);
    tcase_add_test(t, every_stream_counts);
    tcase_add_test(t, a_slow_stream_holds_nobody_up);
    tcase_add_test(t, a_captured_block_is_never_reused);
    tcase_add_test(t, a_drop_during_a_capture_waits_for_its_end);
    tcase_add_test(t, what_flies_is_neither_trimmed_nor_lost);
    tcase_add_test(t, when_memory_is_short_the_copies_are_waited_for);
    tcase_add_loop_test(t, what_cuda_freed_waits_for_all_of_the_device, 0, SIZES);
    tcase_add_loop_test(t, strict_waits_for_all_of_the_device, 0, SIZES);
    tcase_add_test(t, strict_costs_nothing_without_a_device);
    tcase_add_test(t, a_program_may_tell);
    tcase_add_test(t, foreign_memory_is_nobody_of_ours);
    tcase_add_test(t, many_threads_and_streams);
    tcase_add_test(t, a_child_has_nothing_in_flight);
    tcase_add_loop_test(t, few_slow_blocks_hold_nobody_up, 0, 20);
    tcase_add_test(t, each_thread_has_a_stream_of_its_own);
    tcase_add_test(t, a_destroyed_streams_work_counts);
    tcase_add_test(t, a_block_that_outlives_many_streams);
    tcase_add_test(t, a_drop_meanwhile_waits_for_the_use_that_is_asked_for);
    tcase_add_test(t, what_is_not_locked_has_no_uses);
    tcase_add_loop_test(t, a_host_callback_learns_nothing, 0, 2);
    tcase_add_test(t, a_destroyed_context_is_left_alone);
    tcase_add_test(t, events_that_cannot_be_recorded_do_not_pile_up);
    tcase_add_test(t, the_default_stream_is_let_alone_during_captures);
    tcase_add_test(t, when_exit_has_begun_no_thread_asks_the_driver);
    tcase_add_test(t, threads_that_use_one_block_make_few_events);
    return suite_run("flight", t);
}
