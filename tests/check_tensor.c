/* Tensors on blocks, with libraries that stand in for libtorch (tests/programs/fake_libtorch.c): all that it may refuse
 * or lack. */
#include "api/tensor.h"
#include "base/dtype.h"
#include "base/libraries.h"
#include "base/linker.h"
#include "blocks.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>

enum { UINT8 = 0, FLOAT32 = 6, BEYOND_OUR_LIST = 46 };

static void (*refuse)(const char *), (*set_device)(int32_t), (*drop)(void *);
static int (*shells)(void);
static const char **reason;

static void *open_library(const char *folder, const char *name)
{
    char path[4096];
    const char *top = getenv("top_builddir");
    snprintf(path, sizeof path, "%s/tests/%s/%s", top != NULL ? top : ".", folder, name);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(library != NULL, "%s", dlerror());
    return library;
}

static void load(const char *folder)
{
    void *library = open_library(folder, "libtorch_cpu.so");
    (void)open_library(folder, "libc10.so");
    *(void **)&refuse = dlsym(library, "fake_torch_refuse");
    *(void **)&set_device = dlsym(library, "fake_torch_device");
    *(void **)&drop = dlsym(library, "fake_torch_drop");
    *(void **)&shells = dlsym(library, "fake_torch_shells");
    reason = dlsym(library, "fake_torch_reason");
    manager = pintensor_manager_create();
}

static pintensor_tensor tensor_of(int64_t elements)
{
    pintensor_tensor t;
    int error = pintensor_tensor_alloc(manager, elements, FLOAT32, &t);
    ck_assert_msg(error == 0, "%s", pintensor_last_error());
    return t;
}

static struct pt_extent extent_of(pintensor_tensor t)
{
    struct pt_extent e;
    ck_assert_int_eq(pt_tensor_extent(t, &e), 0);
    return e;
}

static void refuses(int64_t elements, int dtype, int error, const char *words)
{
    pintensor_tensor t = &elements;
    ck_assert_int_eq(pintensor_tensor_alloc(manager, elements, dtype, &t), error);
    ck_assert_ptr_null(t);
    ck_assert_ptr_nonnull(strstr(pintensor_last_error(), words));
    ck_assert_uint_eq(stats().live_blocks, 0);
}

START_TEST(a_tensor_from_its_beginning_to_its_end)
{
    load("torch");
    pintensor_tensor t = tensor_of(1000);
    struct pt_extent e = extent_of(t);
    ck_assert(e.cpu && e.bytes == 4000 && pintensor_is_managed(e.data, 4000) && !pintensor_is_managed(e.data, 4001));
    ck_assert(pintensor_tensor_is_managed(t));
    memset(e.data, 1, e.bytes);
    ck_assert_int_eq(pintensor_tensor_free(manager, t), 0);
    pintensor_tensor other = tensor_of(1000); /* not in its place, which the first one still holds */
    ck_assert_ptr_ne(extent_of(other).data, e.data);
    ck_assert_uint_eq(((unsigned char *)e.data)[3999], 1);
    ck_assert_int_eq(pintensor_tensor_free(manager, other), 0);
    drop(other);
    ck_assert_int_eq(pintensor_tensor_free(manager, t), PINTENSOR_ENOT_OURS);
    drop(t);
    ck_assert_uint_eq(stats().live_blocks, 0);
    ck_assert_uint_eq(stats().reclaimed_blocks, 0);
    drop(tensor_of(10));
    ck_assert_uint_eq(stats().reclaimed_blocks, 1);
}
END_TEST

START_TEST(a_tensor_of_nothing_has_no_block)
{
    load("torch");
    pintensor_tensor t = tensor_of(0);
    struct pt_extent e = extent_of(t);
    ck_assert(e.cpu && e.bytes == 0 && e.data != NULL && !pt_table_covers(e.data, 1));
    ck_assert_uint_eq(stats().allocated_blocks, 0);
    ck_assert_int_eq(pintensor_tensor_free(manager, t), PINTENSOR_ENOT_OURS);
    drop(t);
}
END_TEST

START_TEST(what_is_no_tensor_and_no_size)
{
    load("torch");
    pintensor_tensor t;
    ck_assert_int_eq(pintensor_tensor_alloc(manager, 1, FLOAT32, NULL), PINTENSOR_EINVALID);
    ck_assert_int_eq(pintensor_tensor_alloc(0, 1, FLOAT32, &t), PINTENSOR_EINVALID);
    ck_assert_int_eq(pintensor_tensor_alloc(manager + 1, 1, FLOAT32, &t), PINTENSOR_EINVALID);
    ck_assert_int_eq(pintensor_tensor_free(manager, NULL), PINTENSOR_EINVALID);
    ck_assert(!pintensor_tensor_is_managed(NULL));
    refuses(-1, FLOAT32, PINTENSOR_EINVALID, "no such number of elements");
    refuses(INT64_MAX / 2, FLOAT32, PINTENSOR_EINVALID, "no such number of elements"); /* an object's size at most */
    refuses(INT64_MAX, FLOAT32, PINTENSOR_EINVALID, "no such number of elements");     /* more than a size_t */
    refuses(1, -1, PINTENSOR_EINVALID, "no such type");
    refuses(1, BEYOND_OUR_LIST + 1, PINTENSOR_EINVALID, "no such type");
    refuses(1, 1000, PINTENSOR_EINVALID, "no such type");
    refuses((int64_t)1 << 46, UINT8, PINTENSOR_ELIMIT, "cannot lock");
}
END_TEST

START_TEST(a_type_newer_than_our_list_is_asked_for)
{
    load("torch");
    pintensor_tensor t;
    ck_assert_int_eq(pt_dtype_size(BEYOND_OUR_LIST), 0);
    ck_assert_int_eq(pintensor_tensor_alloc(manager, 100, BEYOND_OUR_LIST, &t), 0);
    ck_assert_uint_eq(extent_of(t).bytes, 1200);
    drop(t);
}
END_TEST

START_TEST(libtorch_refuses)
{
    load("torch");
    refuse("torch_from_blob");
    refuses(100, FLOAT32, PINTENSOR_ETORCH, "libtorch refused");
    *reason = "no such thing";
    refuses(100, FLOAT32, PINTENSOR_ETORCH, "no such thing");
    *reason = NULL;
    refuses(0, FLOAT32, PINTENSOR_ETORCH, "libtorch refused");
    ck_assert_uint_eq(stats().reclaimed_blocks, 0);
    refuse(NULL);
    pintensor_tensor t = tensor_of(100);
    static const char *const questions[] = {"torch_get_mutable_data_ptr", "aoti_torch_get_numel",
                                            "aoti_torch_get_dtype", "aoti_torch_get_device_type"};
    for (unsigned i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        struct pt_extent e;
        refuse(questions[i]);
        ck_assert_int_eq(pt_tensor_extent(t, &e), -EIO);
        ck_assert(!pintensor_tensor_is_managed(t));
        ck_assert_int_eq(pintensor_tensor_free(manager, t), PINTENSOR_ETORCH);
        ck_assert_uint_eq(stats().live_blocks, 1);
    }
    refuse(NULL);
    ck_assert_int_eq(pintensor_tensor_free(manager, t), 0);
    drop(t);
    ck_assert_uint_eq(stats().live_blocks, 0);
}
END_TEST

START_TEST(a_tensor_on_a_device_has_no_memory_of_ours)
{
    load("torch");
    set_device(1);
    pintensor_tensor t = tensor_of(100);
    struct pt_extent e = extent_of(t);
    ck_assert(!e.cpu && e.data == NULL && e.bytes == 0);
    ck_assert(!pintensor_tensor_is_managed(t));
    ck_assert_int_eq(pintensor_tensor_free(manager, t), PINTENSOR_ENOT_OURS);
    drop(t);
}
END_TEST

START_TEST(the_shell_goes_by_the_program_s_operator_delete)
{
    load("torch");
    pintensor_tensor t = tensor_of(10);
    ck_assert_int_eq(shells(), 1);
    ck_assert_ptr_eq(pt_tensor_unwrap(t), t); /* the fake's first word points to itself */
    ck_assert_int_eq(shells(), 0);
    drop(t);
}
END_TEST

START_TEST(an_error_is_thrown_by_libtorch)
{
    pt_tensor_raise("early", "nobody can"); /* returns */
    load("torch");
    pt_tensor_raise("function", "why");
    ck_assert_str_eq(dlsym(open_library("torch", "libc10.so"), "fake_torch_raised"), "function pintensor why");
}
END_TEST

static void serves_nothing(void)
{
    pintensor_tensor t = &shells;
    struct pt_extent e = {.cpu = true};
    ck_assert(!pt_tensor_usable());
    ck_assert_int_eq(pintensor_tensor_alloc(manager, 10, FLOAT32, &t), PINTENSOR_ENO_TORCH);
    ck_assert_ptr_null(t);
    ck_assert_int_eq(pt_tensor_extent(&t, &e), -EIO);
    ck_assert(!e.cpu);
    ck_assert_str_eq(pt_tensor_error(), "libtorch refused");
    ck_assert_int_eq(pt_tensor_element_size(BEYOND_OUR_LIST), 0);
    pt_tensor_raise("function", "nobody can");
}

START_TEST(libtorch_may_come_later)
{
    manager = pintensor_manager_create();
    serves_nothing();
    void *library = open_library("torch", "libtorch_cpu.so");
    serves_nothing(); /* without libc10 it is being loaded */
    (void)open_library("torch", "libc10.so");
    ck_assert(pt_tensor_usable());
    *(void **)&drop = dlsym(library, "fake_torch_drop");
    drop(tensor_of(10));
}
END_TEST

START_TEST(an_old_libtorch_alone_makes_no_tensors)
{
    load("old_torch");
    serves_nothing();
}
END_TEST

static int asked, answer_of_fallback;

static int rest(struct pt_elf *out)
{
    struct pt_library found;
    asked++;
    if (answer_of_fallback == 0) {
        void *library = open_library("old_torch", "rest.so");
        *(void **)&drop = dlsym(library, "fake_torch_drop");
        ck_assert_int_eq(pt_libraries_named("rest.so", NULL, &found), 0);
        *out = found.elf;
    }
    return answer_of_fallback;
}

START_TEST(another_library_has_what_an_old_libtorch_lacks)
{
    pt_tensor_set_fallback(rest);
    answer_of_fallback = -EBUSY;
    load("old_torch");
    ck_assert(!pt_tensor_usable() && !pt_tensor_usable());
    ck_assert_int_eq(asked, 2);
    answer_of_fallback = 0;
    ck_assert(pt_tensor_usable() && pt_tensor_usable());
    ck_assert_int_eq(asked, 3);
    pintensor_tensor t = tensor_of(100);
    ck_assert_uint_eq(extent_of(t).bytes, 400);
    /* What may be missing: */
    ck_assert_int_eq(pt_tensor_element_size(BEYOND_OUR_LIST), 0);
    ck_assert_str_eq(pt_tensor_error(), "libtorch refused");
    pt_tensor_raise("function", "nobody can");
    drop(t);
    ck_assert_uint_eq(stats().live_blocks, 0);
}
END_TEST

START_TEST(no_other_library_has_it)
{
    pt_tensor_set_fallback(rest);
    answer_of_fallback = -ENOENT;
    load("old_torch");
    serves_nothing();
    serves_nothing();
    ck_assert_int_eq(asked, 1);
}
END_TEST

START_TEST(a_complete_libtorch_needs_no_other)
{
    pt_tensor_set_fallback(rest);
    load("torch");
    ck_assert(pt_tensor_usable());
    ck_assert_int_eq(asked, 0);
}
END_TEST

static void *looks(void *unused)
{
    REQUIRE(pt_tensor_usable());
    return unused;
}

START_TEST(threads_look_it_up_at_once)
{
    load("torch");
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, looks, NULL), 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
    }
    drop(tensor_of(10));
}
END_TEST

int main(void)
{
    need_lockable(4 * MIB);
    TCase *tests = tcase_create("tensor");
    tcase_add_test(tests, a_tensor_from_its_beginning_to_its_end);
    tcase_add_test(tests, a_tensor_of_nothing_has_no_block);
    tcase_add_test(tests, what_is_no_tensor_and_no_size);
    tcase_add_test(tests, a_type_newer_than_our_list_is_asked_for);
    tcase_add_test(tests, libtorch_refuses);
    tcase_add_test(tests, a_tensor_on_a_device_has_no_memory_of_ours);
    if (!__has_feature(address_sanitizer)) { /* it has an operator delete of its own */
        tcase_add_test(tests, the_shell_goes_by_the_program_s_operator_delete);
    }
    tcase_add_test(tests, an_error_is_thrown_by_libtorch);
    tcase_add_test(tests, libtorch_may_come_later);
    tcase_add_test(tests, an_old_libtorch_alone_makes_no_tensors);
    tcase_add_test(tests, another_library_has_what_an_old_libtorch_lacks);
    tcase_add_test(tests, no_other_library_has_it);
    tcase_add_test(tests, a_complete_libtorch_needs_no_other);
    tcase_add_test(tests, threads_look_it_up_at_once);
    return suite_run("tensor", tests);
}
