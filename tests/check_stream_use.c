/* Uses of blocks by streams where the driver refuses, or another thread comes in between: memory is handed out again
 * when nobody uses it any more, and never where nobody can tell. */
#include "fake.h"
#include "pintensor.h"
#include "pool/lock.h"
#include "pool/stream_use.h"
#include "pool/use_store.h"

#include <pthread.h>

enum { SOMETHING_ELSE = 719, DESTROYED = 709, FOR_EVER = -1 };

static pintensor_manager manager;
static char device[4 << 20]; /* stands for the device's memory */
static pintensor_block block;

static pintensor_block pin(void)
{
    pintensor_block b;
    if (pintensor_alloc(manager, MIB, &b) != 0) {
        ck_abort_msg("%s", pintensor_last_error());
    }
    memset(b.data, 1, b.bytes);
    return b;
}

static void start(const char *driver)
{
    fake_load_of(driver);
    fake_start(1);
    manager = pintensor_manager_create();
    block = pin();
}

static void drop(void)
{
    REQUIRE(pintensor_free_block(manager, &block) == 0);
}

static void note(void *stream, bool until_drop)
{
    ck_assert(pt_stream_use_note(block.data, stream, PT_STREAM_USE_CURRENT, until_drop));
}

static void send(void *stream)
{
    fake_copy(device, block.data, block.bytes, 1, stream);
    note(stream, false);
}

/* Whether the block's memory is handed out again soon. What was looked at stays pinned. */
static bool comes_back(void)
{
    for (int i = 0; i < 20; i++) {
        if (pin().data == block.data) {
            return true;
        }
    }
    return false;
}

/* Whether it is, once it was dropped and its streams have done all. */
static bool comes_back_after(void *stream)
{
    fake_answer("", 0, 0);
    fake_run(stream);
    drop();
    return comes_back();
}

START_TEST(a_place_that_nobody_tells_is_never_done)
{
    start("libcuda.so.1");
    void *stream = fake_stream(1);
    fake_answer("cuStreamGetCtx", SOMETHING_ELSE, FOR_EVER);
    note(stream, false);
    ck_assert(!comes_back_after(stream));
}
END_TEST

START_TEST(without_a_context_nothing_is_under_way)
{
    start("libcuda.so.1");
    void *stream = fake_stream(1);
    fake_answer("cuDevicePrimaryCtxGetState", SOMETHING_ELSE, FOR_EVER);
    ck_assert(pt_stream_use_note(block.data, stream, 1, false));
    ck_assert(comes_back_after(stream));
}
END_TEST

START_TEST(no_room_for_one_more_place)
{
    start("libcuda.so.1");
    void *stream = fake_stream(1), *another = fake_context();
    send(stream);
    pt_lock_enter();
    for (unsigned i = 1; i < PT_PLACES_MOST; i++) {
        REQUIRE(pt_use_store_place(&(struct pt_place){.context = device + i, .number = i}) == i);
    }
    REQUIRE(pt_use_store_place(&(struct pt_place){.context = device}) == PT_PLACES_MOST);
    REQUIRE(pt_use_store_place(&(struct pt_place){.context = device + 5, .number = 6}) == PT_PLACES_MOST);
    REQUIRE(pt_use_store_place(&(struct pt_place){.context = device + 5, .number = 5}) == 5);
    pt_lock_leave();
    send(stream); /* its place is known */
    ck_assert(comes_back_after(stream));
    block = pin();
    note(another, false);
    ck_assert(!comes_back_after(another));
}
END_TEST

START_TEST(an_event_that_cannot_be_made)
{
    start("libcuda.so.1");
    void *stream = fake_stream(1);
    fake_answer("cuEventCreate", SOMETHING_ELSE, FOR_EVER);
    note(stream, false);
    ck_assert(!comes_back_after(stream)); /* how far it was is not known */
}
END_TEST

START_TEST(an_event_that_cannot_be_made_since_the_context_is_gone)
{
    start("libcuda.so.1");
    void *stream = fake_stream(1);
    fake_answer("cuCtxGetId", DESTROYED, FOR_EVER);
    note(stream, false);
    ck_assert(comes_back_after(stream));
}
END_TEST

START_TEST(until_the_drop_whatever_was_noted_before)
{
    start("libcuda.so.1");
    void *stream = fake_stream(1);
    pintensor_block other = pin();
    note(stream, true);
    note(stream, false);
    fake_copy(device, other.data, other.bytes, 1, stream); /* counts, though it is not the block's */
    drop();
    ck_assert(!comes_back());
    fake_run(stream);
    ck_assert(comes_back());
}
END_TEST

/* ---- another thread comes in between ---- */

START_TEST(dropped_while_it_is_asked_whether_the_stream_is_captured)
{
    start("libcuda.so.1");
    void *stream = fake_stream(1);
    fake_when("cuStreamIsCapturing", drop);
    note(stream, false);
    ck_assert_int_ne(pintensor_free_block(manager, &block), 0);
    ck_assert(comes_back());
}
END_TEST

START_TEST(dropped_while_the_stream_is_captured)
{
    start("libcuda.so.1");
    void *stream = fake_stream(1);
    fake_capture(stream, 1);
    fake_when("cuStreamIsCapturing", drop);
    note(stream, false);
    fake_capture(stream, 0);
    ck_assert(comes_back()); /* it was no longer the block of which that was noted */
}
END_TEST

START_TEST(dropped_while_an_event_is_recorded)
{
    start("libcuda.so.1");
    void *stream = fake_stream(1);
    fake_when("cuEventRecord", drop);
    note(stream, false);
    ck_assert_int_ne(pintensor_free_block(manager, &block), 0);
    size_t events = fake_count('e');
    fake_run(stream);
    ck_assert(comes_back());
    block = pin(); /* the event serves again */
    send(stream);
    ck_assert_uint_eq(fake_count('e'), events);
    ck_assert(comes_back_after(stream));
}
END_TEST

START_TEST(dropped_while_no_event_can_be_made)
{
    start("libcuda.so.1");
    void *stream = fake_stream(1);
    fake_answer("cuEventCreate", SOMETHING_ELSE, FOR_EVER);
    fake_when("cuEventCreate", drop);
    note(stream, false);
    ck_assert_int_ne(pintensor_free_block(manager, &block), 0);
    ck_assert(!comes_back());
    fake_answer("", 0, 0);
    ck_assert(comes_back());
}
END_TEST

/* ---- many streams: the oldest use is asked for ---- */

enum { MANY = 12 };
static void *streams[MANY];

static void note_by_many(bool until_drop)
{
    for (int i = 0; i < MANY; i++) {
        streams[i] = streams[i] != NULL ? streams[i] : fake_stream(1);
        note(streams[i], until_drop);
    }
}

static bool comes_back_after_all(void)
{
    for (int i = 0; i < MANY; i++) {
        fake_run(streams[i]);
    }
    drop();
    return comes_back();
}

static void comes_back_after_the_first(void)
{
    drop();
    ck_assert(!comes_back());
    fake_run(streams[0]);
    ck_assert(comes_back());
}

START_TEST(uses_until_the_drop_do_not_go_before)
{
    start("libcuda.so.1");
    note_by_many(true);
    fake_launch(streams[0]);
    comes_back_after_the_first();
}
END_TEST

START_TEST(the_oldest_use_is_not_over)
{
    start("libcuda.so.1");
    streams[0] = fake_stream(1);
    send(streams[0]);
    note_by_many(false);
    note_by_many(false);
    comes_back_after_the_first();
}
END_TEST

static void note_until_drop(void)
{
    note(streams[0], true);
}

START_TEST(somebody_wants_all_to_count_while_the_oldest_use_is_asked_for)
{
    start("libcuda.so.1");
    for (int i = 0; i < MANY; i++) {
        streams[i] = fake_stream(1);
        if (i == MANY / 2 + 2) {
            fake_when_asked(note_until_drop);
        }
        note(streams[i], false);
    }
    fake_launch(streams[0]);
    comes_back_after_the_first();
}
END_TEST

START_TEST(dropped_by_the_last_of_many)
{
    start("libcuda.so.1");
    note_by_many(false);
    fake_when("cuEventRecord", drop);
    note(fake_stream(1), false);
    ck_assert_int_ne(pintensor_free_block(manager, &block), 0);
    ck_assert(comes_back());
}
END_TEST

START_TEST(many_streams_that_are_done)
{
    start("libcuda.so.1");
    note_by_many(false);
    ck_assert(comes_back_after_all());
}
END_TEST

/* ---- a driver that gives streams no numbers ---- */

static void *send_twice(void *unused)
{
    send(PT_PER_THREAD_STREAM);
    send(PT_PER_THREAD_STREAM); /* by the same thread: the same stream */
    return unused;
}

START_TEST(each_thread_has_a_stream_of_its_own_with_an_old_driver)
{
    pthread_t thread;
    start("old_cuda/libcuda.so.1");
    pthread_create(&thread, NULL, send_twice, NULL);
    pthread_join(thread, NULL); /* its copies are never done here */
    (void)send_twice(NULL);
    ck_assert(!comes_back_after(PT_PER_THREAD_STREAM));
    block = pin();
    (void)send_twice(NULL);
    ck_assert(comes_back_after(PT_PER_THREAD_STREAM));
    ck_assert_uint_eq(fake_count('e'), 3); /* one for each use that waits or waited */
}
END_TEST

START_TEST(per_thread_streams_count_as_far_as_they_were_given)
{
    start("libcuda.so.1");
    send(PT_PER_THREAD_STREAM);
    note(PT_PER_THREAD_STREAM, true); /* who drops it has another stream of that name */
    ck_assert(comes_back_after(PT_PER_THREAD_STREAM));
}
END_TEST

int main(void)
{
    need_lockable(64 * MIB);
    TCase *tests = tcase_create("stream use");
    tcase_add_test(tests, a_place_that_nobody_tells_is_never_done);
    tcase_add_test(tests, without_a_context_nothing_is_under_way);
    tcase_add_test(tests, no_room_for_one_more_place);
    tcase_add_test(tests, an_event_that_cannot_be_made);
    tcase_add_test(tests, an_event_that_cannot_be_made_since_the_context_is_gone);
    tcase_add_test(tests, until_the_drop_whatever_was_noted_before);
    tcase_add_test(tests, dropped_while_it_is_asked_whether_the_stream_is_captured);
    tcase_add_test(tests, dropped_while_the_stream_is_captured);
    tcase_add_test(tests, dropped_while_an_event_is_recorded);
    tcase_add_test(tests, dropped_while_no_event_can_be_made);
    tcase_add_test(tests, uses_until_the_drop_do_not_go_before);
    tcase_add_test(tests, the_oldest_use_is_not_over);
    tcase_add_test(tests, somebody_wants_all_to_count_while_the_oldest_use_is_asked_for);
    tcase_add_test(tests, dropped_by_the_last_of_many);
    tcase_add_test(tests, many_streams_that_are_done);
    tcase_add_test(tests, each_thread_has_a_stream_of_its_own_with_an_old_driver);
    tcase_add_test(tests, per_thread_streams_count_as_far_as_they_were_given);
    return suite_run("stream use", tests);
}
