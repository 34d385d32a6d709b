/* Tensors by DLPack's ABI: what a consumer finds, and that its deleter ends the block. */
#include "memory/cells.h"
#include "pintensor.h"
#include "pintensor/dlpack.h"
#include "suite.h"

#include <pthread.h>

enum { UINT8 = 0, INT64 = 4, FLOAT32 = 6, BOOL = 11, QINT8 = 12, BFLOAT16 = 15, FLOAT8 = 24, FLOAT4_X2 = 45 };

static pintensor_stats stats(void)
{
    pintensor_stats s;
    pintensor_get_stats(&s, sizeof s);
    return s;
}

START_TEST(a_tensor_by_either_form)
{
    const int64_t shape[] = {3, 5, 7};
    DLManagedTensor *old;
    ck_assert_int_eq(pintensor_dlpack_alloc(3, shape, FLOAT32, &old), 0);
    DLManagedTensorVersioned *new;
    ck_assert_int_eq(pintensor_dlpack_alloc_versioned(3, shape, FLOAT32, &new), 0);
    ck_assert_uint_eq(new->version.major, 1);
    ck_assert_uint_eq(new->flags, 0);
    const DLTensor *both[] = {&old->dl_tensor, &new->dl_tensor};
    for (int i = 0; i < 2; i++) {
        const DLTensor *t = both[i];
        ck_assert_int_eq(t->device.device_type, kDLCPU);
        ck_assert_int_eq(t->device.device_id, 0);
        ck_assert_int_eq(t->ndim, 3);
        ck_assert_mem_eq(t->shape, shape, sizeof shape);
        ck_assert_mem_eq(t->strides, ((int64_t[]){35, 7, 1}), sizeof shape);
        ck_assert_uint_eq(t->byte_offset, 0);
        ck_assert(pintensor_is_managed(t->data, 3 * 5 * 7 * 4) && !pintensor_is_managed(t->data, 3 * 5 * 7 * 4 + 1));
        memset(t->data, 1, 3 * 5 * 7 * 4);
    }
    ck_assert_uint_eq(stats().live_blocks, 2);
    old->deleter(old);
    ck_assert_uint_eq(stats().live_blocks, 1);
    new->deleter(new);
    ck_assert_uint_eq(stats().live_blocks, 0);
    ck_assert_uint_eq(stats().reclaimed_blocks, 0); /* nothing that stock would have lost */
}
END_TEST

START_TEST(element_types)
{
    static const struct {
        int type, kind, bits;
    } types[] = {{UINT8, kDLUInt, 8}, {INT64, kDLInt, 64},       {FLOAT32, kDLFloat, 32},
                 {BOOL, kDLBool, 8},  {BFLOAT16, kDLBfloat, 16}, {FLOAT8, kDLFloat8_e4m3fn, 8},
                 {27, kDLUInt, 16},   {9, kDLComplex, 64},       {44, kDLFloat8_e8m0fnu, 8}};
    for (unsigned i = 0; i < sizeof types / sizeof types[0]; i++) {
        DLManagedTensor *t;
        ck_assert_int_eq(pintensor_dlpack_alloc(1, &(int64_t){10}, types[i].type, &t), 0);
        ck_assert_int_eq(t->dl_tensor.dtype.code, types[i].kind);
        ck_assert_int_eq(t->dl_tensor.dtype.bits, types[i].bits);
        ck_assert_int_eq(t->dl_tensor.dtype.lanes, 1);
        ck_assert_uint_eq(stats().live_bytes, 10 * (unsigned)types[i].bits / 8);
        t->deleter(t);
    }
    static const int none[] = {QINT8, FLOAT4_X2, 46, -1};
    for (unsigned i = 0; i < sizeof none / sizeof none[0]; i++) {
        DLManagedTensor *t = (void *)&i;
        ck_assert_int_eq(pintensor_dlpack_alloc(1, &(int64_t){10}, none[i], &t), PINTENSOR_EINVALID);
        ck_assert_ptr_null(t);
    }
}
END_TEST

START_TEST(all_shapes)
{
    DLManagedTensor *t;
    ck_assert_int_eq(pintensor_dlpack_alloc(0, NULL, INT64, &t), 0); /* a scalar */
    ck_assert_int_eq(t->dl_tensor.ndim, 0);
    ck_assert(pintensor_is_managed(t->dl_tensor.data, 8));
    t->deleter(t);
    ck_assert_int_eq(pintensor_dlpack_alloc(2, (int64_t[]){0, 5}, INT64, &t), 0); /* nothing */
    ck_assert_ptr_null(t->dl_tensor.data);
    ck_assert_mem_eq(t->dl_tensor.shape, ((int64_t[]){0, 5}), 16);
    ck_assert_mem_eq(t->dl_tensor.strides, ((int64_t[]){5, 1}), 16);
    t->deleter(t);
    ck_assert_int_eq(pintensor_dlpack_alloc(8, (int64_t[]){2, 2, 2, 2, 2, 2, 2, 2}, UINT8, &t), 0);
    ck_assert_int_eq(t->dl_tensor.strides[0], 128);
    t->deleter(t);

    const int64_t nine[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    ck_assert_int_eq(pintensor_dlpack_alloc(9, nine, UINT8, &t), PINTENSOR_EINVALID);
    ck_assert_int_eq(pintensor_dlpack_alloc(-1, nine, UINT8, &t), PINTENSOR_EINVALID);
    ck_assert_int_eq(pintensor_dlpack_alloc(1, NULL, UINT8, &t), PINTENSOR_EINVALID);
    ck_assert_int_eq(pintensor_dlpack_alloc(1, nine, UINT8, NULL), PINTENSOR_EINVALID);
    ck_assert_int_eq(pintensor_dlpack_alloc(2, (int64_t[]){4, -1}, UINT8, &t), PINTENSOR_EINVALID);
    ck_assert_int_eq(pintensor_dlpack_alloc(2, (int64_t[]){0, -1}, UINT8, &t), PINTENSOR_EINVALID);
    ck_assert_int_eq(pintensor_dlpack_alloc(2, (int64_t[]){INT64_MAX, 3}, UINT8, &t), PINTENSOR_EINVALID);
    ck_assert_int_eq(pintensor_dlpack_alloc(1, (int64_t[]){INT64_MAX}, INT64, &t), PINTENSOR_EINVALID);
    ck_assert_int_eq(pintensor_dlpack_alloc(1, (int64_t[]){(int64_t)1 << 46}, UINT8, &t), PINTENSOR_ELIMIT);
    ck_assert_ptr_null(t);
    ck_assert_ptr_nonnull(strstr(pintensor_last_error(), "cannot lock"));
    ck_assert_uint_eq(stats().live_blocks, 0);
}
END_TEST

START_TEST(nobody_but_the_consumer_ends_it)
{
    pintensor_manager m = pintensor_manager_create();
    DLManagedTensor *t;
    ck_assert_int_eq(pintensor_dlpack_alloc(1, &(int64_t){5000}, UINT8, &t), 0);
    ck_assert_int_eq(pintensor_free(m, t->dl_tensor.data), PINTENSOR_ENOT_OURS);
    ck_assert_int_eq(pintensor_free(0, t->dl_tensor.data), PINTENSOR_ENOT_OURS);
    pintensor_manager_destroy(m);
    ck_assert(pintensor_is_managed(t->dl_tensor.data, 5000));
    pid_t child = suite_fork();
    if (child == 0) {
        t->deleter(t); /* as an array does that ends in a child */
        DLManagedTensor *own;
        bool fine = pintensor_dlpack_alloc(1, &(int64_t){5000}, UINT8, &own) == 0;
        memset(own->dl_tensor.data, 7, 5000);
        own->deleter(own);
        suite_leave(fine ? 42 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 42);
    ck_assert_uint_eq(stats().live_blocks, 1);
    t->deleter(t);
    ck_assert_uint_eq(stats().live_blocks, 0);
}
END_TEST

/* Each thread has some cells, writes its name all over them, and finds it there again. */
static void *churn(void *name)
{
    enum { KEPT = 40, ROUNDS = 20000 };
    char *kept[KEPT] = {0};
    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned k = (i * 7919u) % KEPT;
        if (kept[k] != NULL) {
            for (unsigned b = 0; b < PT_CELLS_BYTES; b++) {
                REQUIRE(kept[k][b] == *(char *)name);
            }
            pt_cells_give(kept[k]);
        }
        kept[k] = pt_cells_take();
        REQUIRE(kept[k] != NULL && (uintptr_t)kept[k] % 8 == 0);
        memset(kept[k], *(char *)name, PT_CELLS_BYTES);
    }
    for (unsigned k = 0; k < KEPT; k++) {
        if (kept[k] != NULL) {
            pt_cells_give(kept[k]);
        }
    }
    return NULL;
}

START_TEST(a_cell_is_one_thread_s)
{
    size_t before = mappings();
    pthread_t threads[4];
    char names[] = "abcd";
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4; i++) {
            ck_assert_int_eq(pthread_create(&threads[i], NULL, churn, &names[i]), 0);
        }
        for (int i = 0; i < 4; i++) {
            pthread_join(threads[i], NULL);
        }
    }
    ck_assert_uint_le(mappings(), before + 4 * 3 + 8); /* cells are used again: 4 threads' stacks, and a few batches */
}
END_TEST

int main(void)
{
    need_lockable(4 * MIB);
    TCase *tests = tcase_create("dlpack");
    tcase_add_test(tests, a_tensor_by_either_form);
    tcase_add_test(tests, element_types);
    tcase_add_test(tests, all_shapes);
    tcase_add_test(tests, nobody_but_the_consumer_ends_it);
    if (mappings_are_ours()) { /* it counts them */
        tcase_add_test(tests, a_cell_is_one_thread_s);
    }
    return suite_run("dlpack", tests);
}
