/* Stands in for libtorch: the C functions that tensors are made with. One source for each of its libraries:
 *
 *   (nothing)     libtorch_cpu.so, with all of them
 *   -DOLD         the same of an old torch, which lacks torch_from_blob() and the ones that may be missing
 *   -DREST        what has torch_from_blob() in its place
 *   -DC10         libc10.so
 *   -DOLD_C10     libc10.so without the function that throws
 *
 * What tests make it do:
 *
 *   fake_torch_refuse(name)    that function fails from now on; NULL: none does. What it says is fake_torch_reason
 *   fake_torch_device(device)  where the tensors made from now on are
 *   fake_torch_drop(tensor)    the last reference to it goes
 *   fake_torch_shells()        tensors that were made, less the shells that were given back */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined C10 || defined OLD_C10
char fake_torch_raised[200];
#ifndef OLD_C10
void _ZN3c106detail14torchCheckFailEPKcS2_jS2_(const char *function, const char *file, uint32_t line,
                                               const char *message);
void _ZN3c106detail14torchCheckFailEPKcS2_jS2_(const char *function, const char *file, uint32_t line,
                                               const char *message)
{
    (void)line;
    strcat(strcat(strcat(strcpy(fake_torch_raised, function), " "), file), " ");
    strncat(fake_torch_raised, message, 100);
}
#endif
#else

struct tensor {
    struct tensor *impl; /* itself: what an at::Tensor is */
    void *data;
    int64_t elements;
    int32_t dtype, device;
    void (*deleter)(void *, void *);
    void *context;
};

const char *fake_torch_reason = "";
static const char *refused;
static int32_t device;
static int shells;

void fake_torch_refuse(const char *name)
{
    refused = name;
}

void fake_torch_device(int32_t its)
{
    device = its;
}

int fake_torch_shells(void)
{
    return shells;
}

void fake_torch_drop(void *tensor)
{
    struct tensor *t = tensor;
    if (t->deleter != NULL) {
        t->deleter(t->data, t->context);
    }
    free(t);
}

static int fails(const char *name)
{
    return refused != NULL && strcmp(refused, name) == 0;
}

#ifndef OLD
int32_t torch_from_blob(void *data, int64_t dims, const int64_t *sizes, const int64_t *strides, int64_t offset,
                        int32_t dtype, int32_t device_type, int32_t device_index, void **out, int32_t layout,
                        const uint8_t *metadata, int64_t metadata_size, void (*deleter)(void *, void *), void *context)
{
    if (fails(__func__) || dims != 1 || strides[0] != 1 || offset != 0 || device_type != 0 || device_index != -1 ||
        layout != 0 || metadata != NULL || metadata_size != 0) {
        return 1;
    }
    struct tensor *t = malloc(sizeof *t);
    *t = (struct tensor){t, data, sizes[0], dtype, device, deleter, context};
    *out = t;
    shells++;
    return 0;
}
#endif

#ifndef REST
int32_t torch_get_mutable_data_ptr(void *tensor, void **out)
{
    *out = ((struct tensor *)tensor)->data;
    return fails(__func__);
}

int32_t aoti_torch_get_numel(void *tensor, int64_t *out)
{
    *out = ((struct tensor *)tensor)->elements;
    return fails(__func__);
}

int32_t aoti_torch_get_dtype(void *tensor, int32_t *out)
{
    *out = ((struct tensor *)tensor)->dtype;
    return fails(__func__);
}

int32_t aoti_torch_get_device_type(void *tensor, int32_t *out)
{
    *out = ((struct tensor *)tensor)->device;
    return fails(__func__);
}

void _ZdlPv(void *shell); /* operator delete */
void _ZdlPv(void *shell)
{
    shells -= shell != NULL;
}

#ifndef OLD
size_t aoti_torch_dtype_element_size(int32_t dtype)
{
    return dtype == 46 ? 12 : 0; /* the first type that our list has not */
}

const char *torch_exception_get_what_without_backtrace(void)
{
    return fake_torch_reason;
}
#endif
#endif
#endif
