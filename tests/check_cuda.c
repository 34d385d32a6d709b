/* CUDA's row alone: each of the driver's functions refuses in its turn, and what is made of that. The driver is the one
 * that stands in (fake.h), which ends the process where contexts, capture modes and events are not as they were before.
 */
#include "base/libraries.h"
#include "device/driver.h"
#include "device/runtime.h"
#include "fake.h"

#include <errno.h>

enum { OUT_OF_MEMORY = 2, NOT_PERMITTED = 800, SOMETHING_ELSE = 719, FOR_EVER = -1 };
static const int ends[] = {3, 4, 201, 709}; /* all that was asked of the driver before is over */
enum { ENDS = sizeof ends / sizeof ends[0] };

static const struct pt_runtime *const cuda = &pt_runtime_cuda;
static char memory[4096] __attribute__((aligned(4096)));

static void look(const char *library)
{
    fake_load_of(library);
    ck_assert(pt_driver_look() && pt_driver_found() && !pt_driver_look());
}

static void start(void)
{
    look("libcuda.so.1");
    fake_start(1);
}

/* All is as before: a registration can be made and taken back, by a thread with no context of its own. */
static void works(void)
{
    fake_answer("", 0, 0);
    ck_assert_int_eq(pt_driver_register(memory, sizeof memory), 0);
    ck_assert(fake_holds(memory, sizeof memory));
    pt_driver_unregister(memory, sizeof memory);
    ck_assert(!fake_holds(memory, sizeof memory));
}

START_TEST(a_library_that_lacks_a_function_is_none)
{
    struct pt_library libc;
    ck_assert_int_eq(pt_libraries_named("libc.so", NULL, &libc), 0);
    ck_assert(!cuda->bind(&libc.elf));
}
END_TEST

START_TEST(initialised_or_not)
{
    look("libcuda.so.1");
    ck_assert(!pt_driver_in_use() && !pt_driver_ready());
    fake_start(-1);
    ck_assert(pt_driver_in_use() && !pt_driver_ready()); /* no context */
    fake_answer("cuDeviceGetCount", SOMETHING_ELSE, FOR_EVER);
    ck_assert(!pt_driver_in_use() && !pt_driver_ready());
    fake_answer("", 0, 0);
    fake_start(2);
    ck_assert(pt_driver_ready());
    fake_answer("cuDevicePrimaryCtxGetState", SOMETHING_ELSE, FOR_EVER);
    ck_assert(!pt_driver_ready());
    works();
}
END_TEST

START_TEST(no_context_no_registration)
{
    static const char *const functions[] = {"cuDevicePrimaryCtxGetState", "cuThreadExchangeStreamCaptureMode",
                                            "cuDevicePrimaryCtxRetain", "cuCtxPushCurrent_v2"};
    start();
    for (unsigned i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        fake_answer(functions[i], SOMETHING_ELSE, FOR_EVER);
        ck_assert_int_eq(pt_driver_register(memory, sizeof memory), -ENODEV);
        ck_assert_uint_eq(fake_count('r'), 0);
    }
    works();
    ck_assert_int_eq(pt_driver_register(memory, sizeof memory), 0);
    for (unsigned i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        fake_answer(functions[i], SOMETHING_ELSE, FOR_EVER);
        pt_driver_unregister(memory, sizeof memory);
        ck_assert(fake_holds(memory, sizeof memory));
    }
    fake_answer("", 0, 0);
    pt_driver_unregister(memory, sizeof memory);
    works();
}
END_TEST

START_TEST(what_a_refused_registration_means)
{
    static const struct {
        int code;
        bool first, all;
    } cases[] = {{801, false, true}, {801, true, true},   {1, true, true},  {1, false, false},
                 {800, true, true},  {800, false, false}, {2, true, false}, {719, true, false}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ck_assert_int_eq(cuda->refuses_all(cases[i].code, cases[i].first), cases[i].all);
    }
    start();
    works();
    fake_answer("cuMemHostRegister_v2", OUT_OF_MEMORY, 1);
    ck_assert_int_eq(pt_driver_register(memory, sizeof memory), -ENOMEM);
    ck_assert_int_eq(pt_driver_error(), OUT_OF_MEMORY);
    fake_answer("cuMemHostRegister_v2", SOMETHING_ELSE, 1);
    ck_assert_int_eq(pt_driver_register(memory, sizeof memory), -EIO);
    ck_assert(!pt_driver_refuses());
    works();
    fake_answer("cuMemHostRegister_v2", 801, 1);
    ck_assert_int_eq(pt_driver_register(memory, sizeof memory), -EIO);
    ck_assert(pt_driver_refuses() && !pt_driver_registers() && !pt_driver_takes_a_page());
    ck_assert_int_eq(pt_driver_error(), 801);
    ck_assert_int_eq(pt_driver_register(memory, sizeof memory), -ENODEV);
}
END_TEST

START_TEST(a_page_tells_whether_all_is_refused)
{
    start();
    ck_assert(pt_driver_takes_a_page() && pt_driver_takes_a_page());
    ck_assert_uint_eq(fake_count('s'), 1); /* it was asked for once, and is kept */
    works();
    ck_assert(pt_driver_takes_a_page());
    ck_assert_uint_eq(fake_count('s'), 1);
}
END_TEST

START_TEST(a_page_that_is_refused_tells_so)
{
    start();
    fake_answer("cuCtxPushCurrent_v2", SOMETHING_ELSE, 1);
    ck_assert(pt_driver_takes_a_page()); /* nobody could ask */
    fake_answer("cuMemHostRegister_v2", SOMETHING_ELSE, FOR_EVER);
    ck_assert(!pt_driver_takes_a_page() && pt_driver_refuses());
    ck_assert_int_eq(pt_driver_error(), SOMETHING_ELSE);
}
END_TEST

START_TEST(the_first_registration_and_a_page_are_refused)
{
    start();
    fake_answer("cuMemHostRegister_v2", OUT_OF_MEMORY, FOR_EVER);
    ck_assert_int_eq(pt_driver_register(memory, sizeof memory), -ENOMEM);
    ck_assert(pt_driver_refuses());
}
END_TEST

START_TEST(whether_addresses_serve_is_asked_until_somebody_knows)
{
    setenv("FAKE_CUDA_ADDRESSES", "3", 1);
    start();
    fake_answer("cuDeviceGetCount", SOMETHING_ELSE, 1);
    ck_assert(!pt_driver_refuses());
    ck_assert(pt_driver_refuses());
    fake_answer("cuDeviceGetCount", SOMETHING_ELSE, 1);
    ck_assert(pt_driver_refuses()); /* it is not asked any more */
}
END_TEST

START_TEST(a_device_that_says_nothing_of_addresses_has_none_of_its_own)
{
    start();
    fake_answer("cuDeviceGetAttribute", SOMETHING_ELSE, FOR_EVER);
    ck_assert(!pt_driver_refuses());
    works();
}
END_TEST

START_TEST(the_place_of_a_stream)
{
    struct pt_place at;
    start();
    void *stream = fake_stream(1), *others = fake_context();
    ck_assert(pt_driver_place(stream, -1, &at) && at.device == 1 && at.number != 0);
    void *context = at.context;
    ck_assert(pt_driver_place(NULL, 1, &at) && at.device == 1 && at.context == context);
    ck_assert(pt_driver_place(others, -1, &at) && at.device == -1 && at.context != context); /* the program's own */
    ck_assert(!pt_driver_place(NULL, 0, &at) &&
              !pt_driver_place(NULL, 77, &at)); /* without a context, or none at all */

    fake_answer("cuStreamGetCtx", SOMETHING_ELSE, FOR_EVER);
    ck_assert(!pt_driver_place(stream, -1, &at));
    fake_answer("cuCtxPushCurrent_v2", SOMETHING_ELSE, FOR_EVER);
    ck_assert(!pt_driver_place(stream, -1, &at));
    fake_answer("cuDevicePrimaryCtxRetain", SOMETHING_ELSE, FOR_EVER);
    ck_assert(!pt_driver_place(NULL, 1, &at));
    ck_assert(pt_driver_place(stream, -1, &at) && at.device == -1); /* whose it is, nobody tells */
    fake_answer("cuCtxGetDevice", SOMETHING_ELSE, FOR_EVER);
    ck_assert(pt_driver_place(stream, -1, &at) && at.device == -1);
    fake_answer("cuCtxGetId", SOMETHING_ELSE, FOR_EVER);
    ck_assert(pt_driver_place(stream, -1, &at) && at.device == 1 && at.number == 0);
    works();
}
END_TEST

START_TEST(who_a_stream_is)
{
    start();
    void *stream = fake_stream(1);
    uint64_t first = pt_driver_identity(stream);
    ck_assert(first != 0 && pt_driver_identity(stream) == first);
    fake_again(stream);
    ck_assert_uint_ne(pt_driver_identity(stream), first);
    ck_assert_uint_ne(pt_driver_identity(PT_PER_THREAD_STREAM), 0);
    ck_assert_uint_eq(pt_driver_identity(NULL), 0);
    ck_assert_uint_eq(pt_driver_identity(PT_LEGACY_STREAM), 0);
    fake_answer("cuStreamGetId", SOMETHING_ELSE, FOR_EVER);
    ck_assert_uint_eq(pt_driver_identity(stream), 0);
}
END_TEST

START_TEST(whether_a_stream_is_captured)
{
    start();
    void *stream = fake_stream(1);
    ck_assert(!pt_driver_captured(stream));
    fake_capture(stream, 1);
    ck_assert(pt_driver_captured(stream));
    ck_assert(!pt_driver_captured(NULL) && !pt_driver_captured(PT_LEGACY_STREAM)); /* they cannot be */
    fake_answer("cuThreadExchangeStreamCaptureMode", SOMETHING_ELSE, FOR_EVER);
    ck_assert(!pt_driver_captured(stream));
    fake_answer("cuStreamIsCapturing", SOMETHING_ELSE, FOR_EVER);
    ck_assert(!pt_driver_captured(stream));
    fake_capture(stream, 0);
    works();
}
END_TEST

START_TEST(noting_how_far_a_stream_is)
{
    struct pt_place at;
    void *event = NULL;
    start();
    void *stream = fake_stream(1);
    ck_assert(pt_driver_place(stream, -1, &at));
    static const char *const functions[] = {"cuDevicePrimaryCtxGetState",
                                            "cuDevicePrimaryCtxRetain",
                                            "cuCtxGetId",
                                            "cuThreadExchangeStreamCaptureMode",
                                            "cuCtxPushCurrent_v2",
                                            "cuEventCreate",
                                            "cuEventRecord"};
    for (unsigned i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        fake_answer(functions[i], SOMETHING_ELSE, FOR_EVER);
        ck_assert(!pt_driver_mark(&at, stream, &event));
        ck_assert_ptr_null(event);
        ck_assert_uint_eq(fake_count('e'), 0); /* one that was made is gone */
    }
    fake_answer("", 0, 0);
    ck_assert(pt_driver_mark(&at, stream, &event) && event != NULL);
    void *first = event;
    fake_answer("cuEventRecord", SOMETHING_ELSE, FOR_EVER);
    ck_assert(!pt_driver_mark(&at, stream, &event) && event == first);
    fake_answer("cuEventCreate", SOMETHING_ELSE, FOR_EVER); /* there is one */
    ck_assert(pt_driver_mark(&at, stream, &event) && event == first);
    ck_assert_uint_eq(fake_count('e'), 1);
    works();
}
END_TEST

START_TEST(whether_a_stream_has_come_so_far)
{
    struct pt_place at;
    void *event = NULL;
    start();
    void *stream = fake_stream(1);
    ck_assert(pt_driver_place(stream, -1, &at));
    fake_launch(stream);
    ck_assert(pt_driver_mark(&at, stream, &event));
    ck_assert_int_eq(pt_driver_passed(&at, event), PT_PENDING);
    ck_assert_int_eq(pt_driver_passed(&at, NULL), PT_PENDING);
    static const int pending[] = {600, 800, 900, 907, 999}, over[] = {2, 719, 899, 1000};
    for (unsigned i = 0; i < sizeof pending / sizeof pending[0]; i++) {
        fake_answer("cuEventQuery", pending[i], FOR_EVER);
        ck_assert_int_eq(pt_driver_passed(&at, event), PT_PENDING);
    }
    for (unsigned i = 0; i < sizeof over / sizeof over[0]; i++) {
        fake_answer("cuEventQuery", over[i], FOR_EVER); /* by an error of the device all has ended */
        ck_assert_int_eq(pt_driver_passed(&at, event), PT_PASSED);
    }
    static const char *const functions[] = {"cuDevicePrimaryCtxGetState", "cuDevicePrimaryCtxRetain", "cuCtxGetId",
                                            "cuThreadExchangeStreamCaptureMode", "cuCtxPushCurrent_v2"};
    for (unsigned i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        for (unsigned k = 0; k < ENDS; k++) {
            fake_answer(functions[i], ends[k], FOR_EVER);
            ck_assert_int_eq(pt_driver_passed(&at, event), PT_PASSED);
        }
        fake_answer(functions[i], NOT_PERMITTED, FOR_EVER); /* that says nothing */
        ck_assert_int_eq(pt_driver_passed(&at, event), PT_PENDING);
    }
    fake_answer("", 0, 0);
    fake_run(stream);
    ck_assert_int_eq(pt_driver_passed(&at, event), PT_PASSED);
    works();
}
END_TEST

START_TEST(a_place_that_is_gone)
{
    struct pt_place at, other;
    start();
    ck_assert(pt_driver_place(NULL, 1, &at));
    ck_assert_int_eq(pt_driver_passed(&at, NULL), PT_PENDING);
    other = at;
    other.context = &other; /* another context is the device's by now */
    ck_assert_int_eq(pt_driver_passed(&other, NULL), PT_PASSED);
    ck_assert_int_eq(fake_reset_device(), 0);
    ck_assert_int_eq(pt_driver_passed(&at, NULL), PT_PASSED);
    fake_start(1); /* at the same address */
    ck_assert_int_eq(pt_driver_passed(&at, NULL), PT_PASSED);
    void *event = NULL, *stream = fake_context();
    ck_assert(!pt_driver_mark(&at, NULL, &event) && event == NULL);
    ck_assert(pt_driver_place(stream, -1, &at));
    ck_assert_int_eq(pt_driver_passed(&at, NULL), PT_PENDING);
    fake_destroy(stream);
    ck_assert_int_eq(pt_driver_passed(&at, NULL), PT_PASSED);
    works();
}
END_TEST

START_TEST(waiting_for_all_devices)
{
    start();
    void *stream = fake_stream(1);
    fake_launch(stream);
    ck_assert(pt_driver_finish());
    static const struct {
        const char *function;
        int code;
        bool all;
    } cases[] = {{"cuDeviceGetCount", 800, false},   {"cuDeviceGetCount", 4, true}, /* nothing is under way any more */
                 {"cuCtxSynchronize", 800, false},   {"cuCtxSynchronize", 899, true},
                 {"cuCtxSynchronize", 900, false},   {"cuCtxSynchronize", 999, false},
                 {"cuCtxSynchronize", 1000, true},   {"cuCtxPushCurrent_v2", 800, false},
                 {"cuCtxPushCurrent_v2", 709, true}, {"cuThreadExchangeStreamCaptureMode", 800, false}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fake_answer(cases[i].function, cases[i].code, FOR_EVER);
        ck_assert_msg(pt_driver_finish() == cases[i].all, "%s %d", cases[i].function, cases[i].code);
    }
    works();
    fake_start(3); /* one of them is enough */
    fake_answer("cuCtxSynchronize", 900, 1);
    ck_assert(!pt_driver_finish());
    ck_assert(pt_driver_finish());
}
END_TEST

START_TEST(a_driver_of_before_its_numbers)
{
    struct pt_place at;
    void *event = NULL;
    look("old_cuda/libcuda.so.1");
    fake_start(1);
    works();
    ck_assert(!pt_driver_refuses());
    void *stream = fake_stream(1);
    ck_assert(pt_driver_place(stream, -1, &at) && at.number == 0);
    ck_assert_uint_eq(pt_driver_identity(stream), 0);
    fake_launch(stream);
    ck_assert(pt_driver_mark(&at, stream, &event));
    ck_assert_int_eq(pt_driver_passed(&at, event), PT_PENDING);
    fake_run(stream);
    ck_assert_int_eq(pt_driver_passed(&at, event), PT_PASSED);
}
END_TEST

START_TEST(without_a_driver)
{
    struct pt_place at;
    void *event = NULL;
    ck_assert(!pt_driver_look() && !pt_driver_found() && !pt_driver_refuses() && !pt_driver_registers());
    ck_assert(pt_driver_takes_a_page()); /* nothing says otherwise */
    ck_assert(!pt_driver_place(NULL, 0, &at) && !pt_driver_captured(&at) && !pt_driver_mark(&at, NULL, &event));
    ck_assert_uint_eq(pt_driver_identity(&at), 0);
    ck_assert_int_eq(pt_driver_passed(&at, NULL), PT_PASSED);
    ck_assert(pt_driver_finish());
    pt_driver_unregister(memory, sizeof memory);
    uint64_t made, taken_back;
    pt_driver_counts(&made, &taken_back);
    ck_assert(made == 0 && taken_back == 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("cuda");
    tcase_add_test(tests, a_library_that_lacks_a_function_is_none);
    tcase_add_test(tests, initialised_or_not);
    tcase_add_test(tests, no_context_no_registration);
    tcase_add_test(tests, what_a_refused_registration_means);
    tcase_add_test(tests, a_page_tells_whether_all_is_refused);
    tcase_add_test(tests, a_page_that_is_refused_tells_so);
    tcase_add_test(tests, the_first_registration_and_a_page_are_refused);
    tcase_add_test(tests, whether_addresses_serve_is_asked_until_somebody_knows);
    tcase_add_test(tests, a_device_that_says_nothing_of_addresses_has_none_of_its_own);
    tcase_add_test(tests, the_place_of_a_stream);
    tcase_add_test(tests, who_a_stream_is);
    tcase_add_test(tests, whether_a_stream_is_captured);
    tcase_add_test(tests, noting_how_far_a_stream_is);
    tcase_add_test(tests, whether_a_stream_has_come_so_far);
    tcase_add_test(tests, a_place_that_is_gone);
    tcase_add_test(tests, waiting_for_all_devices);
    tcase_add_test(tests, a_driver_of_before_its_numbers);
    tcase_add_test(tests, without_a_driver);
    return suite_run("cuda", tests);
}
