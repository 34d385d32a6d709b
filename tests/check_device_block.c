/* Blocks in the place of what CUDA would have pinned: where they are to be, where CUDA's own has to serve, and what is
 * none of ours. */
#include "blocks.h"
#include "fake.h"
#include "kernel.h"
#include "life/device_block.h"
#include "life/init.h"
#include "pool/registration.h"

#include <errno.h>

enum { OUT_OF_MEMORY = 2, FOR_EVER = -1 };

static void start(void)
{
    setenv("PINTENSOR_SERVE", "all", 1);
    fake_begin();
    manager = pintensor_manager_create();
}

static int pin(size_t bytes, void **p)
{
    *p = NULL;
    return pt_device_block_pin(bytes, __builtin_return_address(0), p);
}

START_TEST(memory_that_a_program_asks_cuda_for)
{
    static const size_t sizes[] = {1, 511, 4096, 100 * KIB, 3 * MIB};
    start();
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *p;
        ck_assert_int_eq(pin(sizes[i], &p), 0);
        ck_assert(fake_within(p, sizes[i]) && pt_registration_covers(p) && (uintptr_t)p % 512 == 0);
        memset(p, 1, sizes[i]);
        ck_assert(!pt_device_block_unpin((char *)p + 1)); /* its start is what names it */
        ck_assert(pt_device_block_unpin(p) && !pt_device_block_unpin(p));
    }
}
END_TEST

START_TEST(what_is_none_of_these)
{
    char here[10];
    void *p;
    ck_assert(!pt_device_block_unpin(here) && !pt_device_block_unpin(NULL));
    start();
    ck_assert_int_eq(pin(MIB, &p), 0);
    pintensor_block b = alloc(MIB);
    ck_assert(!pt_device_block_unpin(here) && !pt_device_block_unpin(NULL));
    ck_assert(!pt_device_block_unpin(b.data)); /* by another door */
    ck_assert(pintensor_is_managed(b.data, MIB));
    release(b);
}
END_TEST

static void *inherited;

static void a_child_unpins(void)
{
    void *p;
    ck_assert(!pt_device_block_unpin(inherited));
    ck_assert_int_eq(pin(MIB, &p), -ENODEV); /* the driver is its parent's */
}

START_TEST(what_a_child_has_from_its_parent)
{
    start();
    ck_assert_int_eq(pin(MIB, &inherited), 0);
    ck_assert(child_does(a_child_unpins));
    ck_assert(pt_device_block_unpin(inherited));
}
END_TEST

START_TEST(cuda_s_own_serves)
{
    void *p;
    if (_i == 0) {
        setenv("PINTENSOR_ENABLE", "off", 1);
    }
    if (_i <= 1) {
        setenv("PINTENSOR_SERVE", _i == 0 ? "all" : "frameworks", 1);
        fake_begin();
    } else if (_i == 2) {
        setenv("PINTENSOR_SERVE", "all", 1); /* no driver */
    } else if (_i == 3) {
        setenv("PINTENSOR_SERVE", "all", 1);
        fake_load();
        fake_start(-1); /* no context: to make one is CUDA's */
    } else {
        setenv("PINTENSOR_SERVE", "all", 1);
        fake_begin();
        kernel_refuse(SYS_mmap, ENOMEM, 0, 1000); /* nothing can be set up */
    }
    catch_stderr();
    int error = pin(MIB, &p);
    kernel_refuse(0, 0, 0, 0);
    ck_assert_int_eq(error, -ENODEV);
    ck_assert_ptr_null(p);
}
END_TEST

START_TEST(the_driver_registers_no_more)
{
    void *p;
    start();
    ck_assert_int_eq(pin(MIB, &p), 0);
    fake_answer("cuMemHostRegister_v2", OUT_OF_MEMORY, FOR_EVER);
    ck_assert_int_eq(pin(64 * MIB, &p), -ENODEV); /* CUDA may do better, or says why in its own words */
    ck_assert_ptr_null(p);
    fake_answer("", 0, 0);
    ck_assert_int_eq(pin(64 * MIB, &p), 0);
    fake_answer("cuMemHostRegister_v2", 801, FOR_EVER);
    catch_stderr();
    ck_assert_int_eq(pin(128 * MIB, &p), -ENODEV);
    ck_assert_ptr_nonnull(strstr(suite_stderr(), "the device's driver registers no memory (its error 801)"));
    fake_answer("", 0, 0);
    ck_assert_int_eq(pin(MIB, &p), -ENODEV); /* not one more */
    ck_assert_uint_eq(vmlck(), 0);
}
END_TEST

/* Locked before there was a context, and asked for after that. */
START_TEST(memory_that_was_locked_before)
{
    void *p;
    setenv("PINTENSOR_SERVE", "all", 1);
    manager = pintensor_manager_create();
    release(alloc(8 * MIB));
    fake_begin();
    if (_i == 1) {
        fake_answer("cuMemHostRegister_v2", OUT_OF_MEMORY, FOR_EVER);
    }
    ck_assert_int_eq(pin(8 * MIB, &p), _i == 1 ? -ENODEV : 0);
    if (_i == 0) {
        ck_assert(fake_within(p, 8 * MIB));
        ck_assert(pt_device_block_unpin(p));
    }
}
END_TEST

START_TEST(more_than_may_be_locked)
{
    void *p;
    setenv("PINTENSOR_LIMIT", "8M", 1);
    start();
    catch_stderr();
    for (int i = 0; i < 3; i++) {
        ck_assert_int_lt(pin(16 * MIB, &p), 0);
        ck_assert_ptr_null(p);
    }
    ck_assert_ptr_nonnull(strstr(suite_stderr(), "cudaHostAlloc fails: cannot lock 16.0 MiB more memory"));
    ck_assert_uint_eq(lines_of(suite_stderr()), 1); /* it is said once */
    ck_assert_int_eq(pin(MIB, &p), 0);
}
END_TEST

int main(void)
{
    need_lockable(16 * MIB);
    TCase *tests = tcase_create("device block");
    tcase_add_test(tests, memory_that_a_program_asks_cuda_for);
    tcase_add_test(tests, what_is_none_of_these);
    tcase_add_test(tests, what_a_child_has_from_its_parent);
    tcase_add_loop_test(tests, cuda_s_own_serves, 0, 5);
    tcase_add_test(tests, the_driver_registers_no_more);
    tcase_add_loop_test(tests, memory_that_was_locked_before, 0, 2);
    tcase_add_test(tests, more_than_may_be_locked);
    return suite_run("device block", tests);
}
