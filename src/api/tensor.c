#include "api/tensor.h"

#include "base/dtype.h"
#include "base/libraries.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

/* libtorch's functions, from its stable C headers (torch/csrc/stable/c/shim.h and torch/csrc/inductor/aoti_torch/c/
 * shim.h). They return 0 on success. torch is loaded with RTLD_LOCAL, so they are looked up in the library itself. */
static struct {
    int32_t (*from_blob)(void *data, int64_t dims, const int64_t *sizes, const int64_t *strides, int64_t offset,
                         int32_t dtype, int32_t device_type, int32_t device_index, pt_tensor *out, int32_t layout,
                         const uint8_t *metadata, int64_t metadata_size, void (*deleter)(void *, void *),
                         void *context);
    int32_t (*data_of)(pt_tensor, void **);
    int32_t (*elements_of)(pt_tensor, int64_t *);
    int32_t (*dtype_of)(pt_tensor, int32_t *);
    int32_t (*device_type_of)(pt_tensor, int32_t *);
    size_t (*element_size)(int32_t dtype); /* or NULL, and so is */
    const char *(*what)(void);
    void (*operator_delete)(void *);
    void (*check_fail)(const char *function, const char *file, uint32_t line, const char *message);
    bool usable;
} torch;

static const struct {
    void *place;
    const char *name;
} functions[] = {{&torch.from_blob, "torch_from_blob"},
                 {&torch.data_of, "torch_get_mutable_data_ptr"},
                 {&torch.elements_of, "aoti_torch_get_numel"},
                 {&torch.dtype_of, "aoti_torch_get_dtype"},
                 {&torch.device_type_of, "aoti_torch_get_device_type"},
                 {&torch.element_size, "aoti_torch_dtype_element_size"},
                 {&torch.what, "torch_exception_get_what_without_backtrace"}};
enum { FUNCTIONS = sizeof functions / sizeof functions[0], NEEDED = 5 }; /* the first ones */

static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool loaded; /* only set once libtorch is there: it may come later */
static int (*fallback)(struct pt_elf *out);

void pt_tensor_set_fallback(int (*library)(struct pt_elf *out))
{
    fallback = library;
}

/* -ENOENT also if libtorch itself has all that is needed. */
static int find_the_rest(const struct pt_elf *cpu, struct pt_elf *rest)
{
    unsigned there = 0;
    while (there < NEEDED && pt_elf_find(cpu, functions[there].name) != NULL) {
        there++;
    }
    return there == NEEDED || fallback == NULL ? -ENOENT : fallback(rest);
}

static void load(const struct pt_elf *cpu, const struct pt_elf *c10, const struct pt_elf *rest, void *operator_delete)
{
    bool usable = operator_delete != NULL;
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        void *found = pt_elf_symbol(cpu, functions[i].name);
        found = found == NULL && rest != NULL ? pt_elf_symbol(rest, functions[i].name) : found;
        *(void **)functions[i].place = found;
        usable = usable && (found != NULL || i >= NEEDED);
    }
    *(void **)&torch.operator_delete = operator_delete;
    *(void **)&torch.check_fail = pt_elf_symbol(c10, "_ZN3c106detail14torchCheckFailEPKcS2_jS2_");
    torch.usable = usable;
    atomic_store_explicit(&loaded, true, memory_order_release);
}

/* Nothing is kept loaded: libtorch never goes away. */
static bool look_up(void)
{
    if (!atomic_load_explicit(&loaded, memory_order_acquire)) {
        struct pt_library cpu, c10;
        struct pt_elf rest;
        void *operator_delete; /* the program's, which frees what its operator new made */
        if (pt_libraries_named("libtorch_cpu.so", NULL, &cpu) != 0 ||
            pt_libraries_named("libc10.so", NULL, &c10) != 0 ||
            pt_libraries_reached("_ZdlPv", false, &cpu, &operator_delete) == -EBUSY) {
            return false;
        }
        int error = find_the_rest(&cpu.elf, &rest);
        if (error == -EBUSY) {
            return false;
        }
        pthread_mutex_lock(&loading);
        if (!atomic_load(&loaded)) {
            load(&cpu.elf, &c10.elf, error == 0 ? &rest : NULL, operator_delete);
        }
        pthread_mutex_unlock(&loading);
    }
    return atomic_load_explicit(&loaded, memory_order_acquire);
}

bool pt_tensor_usable(void)
{
    return look_up() && torch.usable;
}

size_t pt_tensor_element_size(int dtype)
{
    size_t size = pt_dtype_size(dtype);
    /* A type newer than our list. */
    if (size == 0 && dtype >= 0 && pt_tensor_usable() && torch.element_size != NULL && pt_dtype_size(dtype - 1) != 0) {
        size = torch.element_size(dtype);
    }
    return size;
}

/* The deleter's context is the block itself in 64 bits: nothing to allocate, nothing to free. */
static void *pack(const struct pt_block *block)
{
    return (void *)((uintptr_t)block->generation << 32 | block->number);
}

static void drop(void *data, void *context)
{
    struct pt_block block = {.base = data,
                             .number = (uint32_t)(uintptr_t)context,
                             .generation = (uint32_t)((uintptr_t)context >> 32)};
    pt_block_drop(&block);
}

static int make(void *data, const struct pt_tensor_request *q, void (*deleter)(void *, void *), void *context,
                pt_tensor *out)
{
    const int64_t stride = 1;
    int32_t error = torch.from_blob(data, 1, &q->elements, &stride, 0, q->dtype, q->device_type, q->device_index, out,
                                    0, NULL, 0, deleter, context);
    return error == 0 ? 0 : -EIO;
}

size_t pt_tensor_bytes(int64_t elements, int dtype)
{
    size_t size = pt_tensor_element_size(dtype), bytes;
    return elements < 0 || size == 0 || __builtin_mul_overflow((size_t)elements, size, &bytes) ? SIZE_MAX : bytes;
}

int pt_tensor_alloc(const struct pt_tensor_request *q, pt_tensor *out)
{
    static char nothing[64] __attribute__((aligned(64)));
    if (!pt_tensor_usable()) {
        return -ENOSYS;
    }
    size_t bytes = pt_tensor_bytes(q->elements, q->dtype);
    if (bytes > PTRDIFF_MAX) {
        return -EINVAL;
    }
    if (bytes == 0) {
        return make(nothing, q, NULL, NULL, out);
    }
    struct pt_block block;
    struct pt_request request = {.manager = q->manager,
                                 .bytes = bytes,
                                 .dtype = q->dtype,
                                 .door = q->door,
                                 .tensor = true,
                                 .caller = q->caller};
    int error = pt_block_alloc(&request, &block);
    if (error == 0 && (error = make(block.base, q, drop, pack(&block), out)) != 0) {
        (void)pt_block_release_block(q->manager, &block, q->caller); /* libtorch did not call the deleter */
        pt_block_drop(&block);
    }
    return error;
}

void *pt_tensor_unwrap(pt_tensor tensor)
{
    void *impl = *(void **)tensor;
    torch.operator_delete(tensor);
    return impl;
}

int pt_tensor_extent(pt_tensor tensor, struct pt_extent *out)
{
    int32_t device, dtype;
    int64_t elements;
    *out = (struct pt_extent){0};
    if (!pt_tensor_usable() || torch.device_type_of(tensor, &device) != 0) {
        return -EIO;
    }
    out->cpu = device == 0;
    if (!out->cpu) {
        return 0;
    }
    if (torch.data_of(tensor, &out->data) != 0 || torch.elements_of(tensor, &elements) != 0 ||
        torch.dtype_of(tensor, &dtype) != 0) {
        return -EIO;
    }
    out->bytes = (size_t)elements * pt_tensor_element_size(dtype);
    return 0;
}

const char *pt_tensor_error(void)
{
    const char *what = look_up() && torch.what != NULL ? torch.what() : NULL;
    return what != NULL && what[0] != '\0' ? what : "libtorch refused";
}

void pt_tensor_raise(const char *function, const char *message)
{
    if (look_up() && torch.check_fail != NULL) {
        torch.check_fail(function, "pintensor", 0, message);
    }
}
