#include "base/dtype.h"
#include "life/block.h"
#include "pintensor.h"
#include "suite.h"

#include <pthread.h>
#include <stdint.h>

static pintensor_manager manager;
static pintensor_block block;
static struct pt_block tensor;

static struct pt_block alloc_tensor(size_t bytes)
{
    struct pt_request q = {
        .manager = (uint32_t)manager, .bytes = bytes, .dtype = PT_DTYPE_NONE, .door = PT_DOOR_C, .tensor = true};
    struct pt_block b;
    ck_assert_int_eq(pt_block_alloc(&q, &b), 0);
    return b;
}

/* The parent's blocks: one raw, one under a tensor. */
static void start(void)
{
    manager = pintensor_manager_create();
    ck_assert_int_eq(pintensor_alloc(manager, MIB, &block), 0);
    memset(block.data, 7, MIB);
    tensor = alloc_tensor(MIB);
    memset(tensor.base, 8, MIB);
}

static pintensor_stats stats(void)
{
    pintensor_stats s;
    pintensor_get_stats(&s, sizeof s);
    return s;
}

/* Nothing that `fn` does in a child is seen here. */
static void parent_is_unmoved_by(void (*fn)(void))
{
    size_t locked = vmlck();
    pintensor_stats before = stats();
    ck_assert(child_does(fn));
    ck_assert_uint_eq(vmlck(), locked);
    pintensor_stats after = stats();
    ck_assert_mem_eq(&before, &after, sizeof before);
    ck_assert(pintensor_is_managed(block.data, MIB) && pintensor_is_managed(tensor.base, MIB));
    for (size_t i = 0; i < MIB; i++) {
        REQUIRE(((char *)block.data)[i] == 7 && ((char *)tensor.base)[i] == 8);
    }
}

/* What DeepSpeed's own map says in a child: its copy knows the parent's blocks, whole and in part. */
static void parents_blocks_look_as_in_stock(void)
{
    ck_assert(pintensor_is_managed(block.data, MIB));
    ck_assert(pintensor_is_managed((char *)block.data + 5, MIB - 5));
    ck_assert(!pintensor_is_managed(block.data, MIB + 1));
    ck_assert(pintensor_is_managed(tensor.base, 1));
    ck_assert_int_eq(pintensor_free(manager, block.data), 0);
}

static void only_look(void)
{
    ck_assert_uint_eq(vmlck(), 0);
    pintensor_stats s = stats(), zero = {0};
    ck_assert_mem_eq(&s, &zero, sizeof s);
    parents_blocks_look_as_in_stock();
    ck_assert_int_eq(pintensor_free(manager, &s), PINTENSOR_ENOT_OURS);
    pt_block_drop(&tensor);
    ck_assert_uint_eq(pintensor_trim(), 0);
    ck_assert_int_eq(pintensor_report(STDERR_FILENO), PINTENSOR_EOFF);
    pintensor_manager_destroy(manager);
    memset(block.data, 0, MIB); /* its own copy */
}

static void pin_own(void)
{
    pintensor_manager m = pintensor_manager_create();
    pintensor_block b;
    ck_assert_int_eq(pintensor_alloc(m, 3 * MIB, &b), 0);
    ck_assert_uint_eq(vmlck(), 3 * MIB);
    pintensor_stats s = stats();
    ck_assert(s.live_blocks == 1 && s.live_bytes == 3 * MIB && s.allocated_blocks == 1 && s.locked_bytes == 3 * MIB);
    ck_assert(pintensor_is_managed(b.data, 3 * MIB));
    ck_assert_int_eq(pintensor_free(m, b.data), 0);
    pintensor_trim();
    ck_assert_uint_eq(vmlck(), 0);
}

/* With its own table set up, the child's numbers start again: the parent's must not be taken for them. */
static void drop_the_parents_beside_own(void)
{
    pintensor_manager m = pintensor_manager_create();
    pintensor_block b[2];
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(pintensor_alloc(m, MIB, &b[i]), 0);
    }
    pt_block_drop(&tensor);
    ck_assert_uint_eq(stats().live_blocks, 2);
    ck_assert(pintensor_is_managed(b[0].data, MIB) && pintensor_is_managed(b[1].data, MIB));
}

static void look_beside_own(void)
{
    pintensor_block b;
    ck_assert_int_eq(pintensor_alloc(pintensor_manager_create(), MIB, &b), 0);
    parents_blocks_look_as_in_stock();
    ck_assert_uint_eq(stats().misuses, 0);
}

static void fork_again(void)
{
    pin_own();
    ck_assert(child_does(pin_own));
    ck_assert(child_does(only_look));
}

START_TEST(a_child_that_only_looks)
{
    start();
    parent_is_unmoved_by(only_look);
}
END_TEST

START_TEST(a_child_that_pins)
{
    start();
    parent_is_unmoved_by(pin_own);
}
END_TEST

START_TEST(a_child_that_pins_and_drops_its_parents)
{
    start();
    parent_is_unmoved_by(drop_the_parents_beside_own);
}
END_TEST

START_TEST(a_child_that_pins_and_looks_at_its_parents)
{
    start();
    parent_is_unmoved_by(look_beside_own);
}
END_TEST

START_TEST(a_grandchild)
{
    start();
    parent_is_unmoved_by(fork_again);
}
END_TEST

/* The child's copy of the parent's map is as of the fork. */
START_TEST(a_child_does_not_see_what_its_parent_frees_later)
{
    start();
    int go[2];
    ck_assert_int_eq(pipe(go), 0);
    pid_t child = suite_fork();
    if (child == 0) {
        char c;
        ck_assert_int_eq((int)read(go[0], &c, 1), 1);
        suite_leave(pintensor_is_managed(block.data, MIB) ? 0 : 1);
    }
    ck_assert_int_eq(pintensor_free(manager, block.data), 0);
    ck_assert_int_eq((int)write(go[1], "x", 1), 1);
    int status;
    waitpid(child, &status, 0);
    ck_assert_int_eq(status, 0);
}
END_TEST

/* Whatever lock another thread holds at the moment of the fork. */
static _Atomic bool stop;

static void *churn(void *unused)
{
    while (!stop) {
        pintensor_block b[3];
        for (unsigned i = 0; i < 3; i++) {
            REQUIRE(pintensor_alloc(manager, i == 0 ? 100 : i * 50 * KIB, &b[i]) == 0);
        }
        for (unsigned i = 0; i < 3; i++) {
            REQUIRE(pintensor_free_block(manager, &b[i]) == 0);
        }
    }
    return unused;
}

START_TEST(a_fork_in_the_middle_of_other_threads_work)
{
    start();
    pthread_t thread[2];
    for (unsigned i = 0; i < 2; i++) {
        pthread_create(&thread[i], NULL, churn, NULL);
    }
    for (unsigned i = 0; i < 200; i++) {
        ck_assert(child_does(i % 2 == 0 ? pin_own : only_look));
    }
    stop = true;
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(thread[i], NULL);
    }
    ck_assert_uint_eq(stats().live_blocks, 2);
}
END_TEST

/* What a program had registered before its first block runs while the fork is under way: in the middle of ours. */
static void pin_on_the_way(void)
{
    enum { COUNT = 300 };
    static pintensor_block b[COUNT];
    pintensor_manager m = pintensor_manager_create();
    for (unsigned i = 0; i < COUNT; i++) {
        REQUIRE(pintensor_alloc(m, i % 100 == 0 ? MIB : 10 * i + 1, &b[i]) == 0);
        memset(b[i].data, 1, b[i].bytes);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        REQUIRE(pintensor_free_block(m, &b[i]) == 0);
    }
    pintensor_trim();
    pintensor_manager_destroy(m);
}

static void go_on(void)
{
    ck_assert_uint_eq(stats().live_blocks, 0);
    ck_assert_uint_gt(stats().allocated_blocks, 0); /* the handler's are this child's own */
    pin_on_the_way();
    ck_assert_uint_eq(vmlck(), 0);
}

START_TEST(handlers_of_the_program_may_pin)
{
    char directory[] = "/tmp/pintensor-fork-XXXXXX";
    if (_i == 1) { /* with its table in a file, as by `pintensor run` */
        ck_assert_ptr_nonnull(mkdtemp(directory));
        setenv("PINTENSOR_DIR", directory, 1);
    }
    pthread_atfork(pin_on_the_way, pin_on_the_way, pin_on_the_way);
    start();
    pthread_t thread[2];
    for (unsigned i = 0; i < 2; i++) {
        pthread_create(&thread[i], NULL, churn, NULL);
    }
    for (unsigned i = 0; i < 20; i++) {
        ck_assert(child_does(go_on));
    }
    stop = true;
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(thread[i], NULL);
    }
    ck_assert_uint_eq(stats().live_blocks, 2);
    if (_i == 1) {
        char command[64];
        snprintf(command, sizeof command, "rm -r %s", directory);
        ck_assert_int_eq(system(command), 0);
    }
}
END_TEST

START_TEST(vfork_leaves_the_parent_alone)
{
    start();
    size_t locked = vmlck();
    for (unsigned i = 0; i < 10; i++) {
        pid_t child = vfork();
        if (child == 0) {
            _exit(3);
        }
        int status;
        waitpid(child, &status, 0);
        ck_assert_int_eq(WEXITSTATUS(status), 3);
    }
    ck_assert_uint_eq(vmlck(), locked);
    ck_assert_uint_eq(stats().live_blocks, 2);
    pt_block_drop(&tensor);
    ck_assert_uint_eq(stats().live_blocks, 1);
}
END_TEST

enum { MANY = 2000 };
static struct pt_block many[MANY];

/* The numbers of its own blocks do not go so far. */
static void ends_what_its_parent_has_more_of(void)
{
    manager = pintensor_manager_create();
    struct pt_block own = alloc_tensor(MIB);
    pt_block_drop(&many[MANY - 1]);
    ck_assert(!pt_block_end(&many[MANY - 2]));
    ck_assert(!pt_block_end(&many[0])); /* the same number, perhaps, and another block */
    ck_assert_uint_eq(stats().live_blocks, 1);
    pt_block_drop(&own);
    ck_assert_uint_eq(stats().live_blocks, 0);
}

START_TEST(a_child_that_ends_more_blocks_than_it_has)
{
    start();
    for (int i = 0; i < MANY; i++) {
        many[i] = alloc_tensor(100);
    }
    parent_is_unmoved_by(ends_what_its_parent_has_more_of);
    ck_assert_uint_eq(stats().live_blocks, MANY + 2);
}
END_TEST

static void closes_its_parents_manager(void)
{
    pintensor_manager_destroy(manager);
    pt_block_close_manager((uint32_t)manager);
}

START_TEST(a_child_that_closes_its_parents_manager)
{
    start();
    parent_is_unmoved_by(closes_its_parents_manager);
    ck_assert_int_eq(pintensor_free(manager, block.data), 0);
}
END_TEST

int main(void)
{
    need_lockable(16 * MIB);
    TCase *tests = tcase_create("fork");
    tcase_add_test(tests, a_child_that_only_looks);
    tcase_add_test(tests, a_child_that_pins);
    tcase_add_test(tests, a_child_that_pins_and_drops_its_parents);
    tcase_add_test(tests, a_child_that_pins_and_looks_at_its_parents);
    tcase_add_test(tests, a_grandchild);
    tcase_add_test(tests, a_child_does_not_see_what_its_parent_frees_later);
    tcase_add_test(tests, a_fork_in_the_middle_of_other_threads_work);
    tcase_add_loop_test(tests, handlers_of_the_program_may_pin, 0, 2);
    tcase_add_test(tests, vfork_leaves_the_parent_alone);
    tcase_add_test(tests, a_child_that_ends_more_blocks_than_it_has);
    tcase_add_test(tests, a_child_that_closes_its_parents_manager);
    return suite_run("fork", tests);
}
