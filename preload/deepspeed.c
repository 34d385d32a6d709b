/* DeepSpeed's door: the members of deepspeed_pin_tensor_t, as its ops call them. Each is a few lines; the work is the
 * manager's. `self` only names a manager: nothing in it is read or written. */
#include "deepspeed.h"

#include "api/tensor.h"
#include "base/dtype.h"
#include "base/log.h"
#include "life/block.h"
#include "life/init.h"
#include "life/managers.h"
#include "memory/owner.h"
#include "stock.h"

#include <errno.h>
#include <stdint.h>

#define DOOR __attribute__((visibility("default")))
#define CALLER __builtin_return_address(0)

#define ALLOC_SCALAR "_ZN22deepspeed_pin_tensor_t5allocElRKN3c1010ScalarTypeE"
#define ALLOC_OPTIONS "_ZN22deepspeed_pin_tensor_t5allocElRKN3c1013TensorOptionsE"
#define FREE_TENSOR "_ZN22deepspeed_pin_tensor_t4freeERN2at6TensorE"
#define FREE_ADDRESS "_ZN22deepspeed_pin_tensor_t4freeEPv"
#define IS_MANAGED "_ZN22deepspeed_pin_tensor_t10is_managedERKN2at6TensorE"
#define DESTROY_1 "_ZN22deepspeed_pin_tensor_tD1Ev"
#define DESTROY_2 "_ZN22deepspeed_pin_tensor_tD2Ev"

/* at::TensorOptions as it lies in memory (c10/core/TensorOptions.h). */
struct options {
    int8_t device_type, device_index;
    uint16_t dtype;
    int8_t layout, memory_format;
    uint8_t flags;
};
enum { HAS_DEVICE = 1 << 2, HAS_DTYPE = 1 << 3, HAS_LAYOUT = 1 << 4 };

typedef void *alloc_function(void *result, void *self, int64_t elements, const void *what);

/* Set once a call had to be answered by stock: from then on its blocks may come back here. */
static _Atomic bool stock_serves;
static __thread bool in_stock;

bool deepspeed_in_stock(void)
{
    return in_stock;
}

static void *alloc_by_stock(const char *symbol, const void *caller, void *result, void *self, int64_t elements,
                            const void *what, const char *why)
{
    alloc_function *stock = (alloc_function *)(uintptr_t)stock_of_caller(caller, symbol);
    if (stock == NULL) {
        pt_tensor_raise("deepspeed_pin_tensor_t::alloc", why);
        return NULL;
    }
    if (!atomic_exchange(&stock_serves, true) && pt_owner_owns()) {
        pt_log("%s: DeepSpeed's own manager serves it instead", why);
    }
    in_stock = true;
    stock(result, self, elements, what);
    in_stock = false;
    return result;
}

static void raise_for(int error, const struct pt_tensor_request *q)
{
    char message[1024];
    struct pt_text t;
    pt_text_init(&t, message, sizeof message, -1);
    pt_text_add(&t, "pintensor: ");
    switch (error) {
    case -EINVAL:
        pt_text_add(&t, "%s%llu elements of %s is not a size that a tensor can have", q->elements < 0 ? "-" : "",
                    q->elements < 0 ? 0 - (uint64_t)q->elements : (uint64_t)q->elements, pt_dtype_name(q->dtype));
        break;
    case -EIO: pt_text_add(&t, "libtorch could not make the tensor: %s", pt_tensor_error()); break;
    default: pt_block_explain(pt_tensor_bytes(q->elements, q->dtype), &t);
    }
    pt_tensor_raise("deepspeed_pin_tensor_t::alloc", message);
}

/* An at::Tensor is one pointer, returned through memory that the caller names first. */
static void *alloc(const char *symbol, void *result, struct pt_tensor_request *q, void *self, const void *what)
{
    if (pt_init() != 0) {
        return alloc_by_stock(symbol, q->caller, result, self, q->elements, what, "pintensor is off");
    }
    if (!pt_tensor_usable()) {
        return alloc_by_stock(symbol, q->caller, result, self, q->elements, what,
                              "this torch is older than 2.11, and for those pintensor makes tensors by the bridge only");
    }
    if (q->dtype >= 0 && pt_tensor_element_size(q->dtype) == 0) {
        return alloc_by_stock(symbol, q->caller, result, self, q->elements, what,
                              "this torch has an element type that pintensor does not know");
    }
    q->manager = pt_managers_of(self, true);
    q->door = PT_DOOR_DEEPSPEED;
    pt_tensor tensor;
    int error = pt_tensor_alloc(q, &tensor);
    if (error != 0) {
        raise_for(error, q);
        return alloc_by_stock(symbol, q->caller, result, self, q->elements, what, "this torch takes no errors");
    }
    *(void **)result = pt_tensor_unwrap(tensor);
    return result;
}

DOOR void *alloc_scalar(void *result, void *self, int64_t elements, const int8_t *dtype) __asm__(ALLOC_SCALAR);
void *alloc_scalar(void *result, void *self, int64_t elements, const int8_t *dtype)
{
    struct pt_tensor_request q = {.elements = elements, .dtype = *dtype, .device_index = -1, .caller = CALLER};
    return alloc(ALLOC_SCALAR, result, &q, self, dtype);
}

DOOR void *alloc_options(void *result, void *self, int64_t elements,
                         const struct options *o) __asm__(ALLOC_OPTIONS);
void *alloc_options(void *result, void *self, int64_t elements, const struct options *o)
{
    struct pt_tensor_request q = {.elements = elements, .dtype = o->dtype, .device_index = -1, .caller = CALLER};
    if ((o->flags & HAS_DEVICE) != 0) {
        q.device_type = o->device_type;
        q.device_index = o->device_index;
    }
    /* Without a type of its own torch's default is meant, which stock can ask for. */
    if ((o->flags & HAS_DTYPE) == 0) {
        return alloc_by_stock(ALLOC_OPTIONS, CALLER, result, self, elements, o,
                              "a tensor without an element type was asked for");
    }
    /* libtorch's C function only makes strided ones. */
    if ((o->flags & HAS_LAYOUT) != 0 && o->layout != 0) {
        return alloc_by_stock(ALLOC_OPTIONS, CALLER, result, self, elements, o,
                              "a tensor that is not strided was asked for");
    }
    return alloc(ALLOC_OPTIONS, result, &q, self, o);
}

static bool free_address_of(void *self, void *address, const void *caller)
{
    if (stock_serves && !pt_table_ours(address)) {
        bool (*stock)(void *, void *) = (bool (*)(void *, void *))stock_of_caller(caller, FREE_ADDRESS);
        return stock != NULL && stock(self, address);
    }
    return pt_block_release(pt_managers_of(self, false), address, caller) == 0;
}

DOOR bool free_address(void *self, void *address) __asm__(FREE_ADDRESS);
bool free_address(void *self, void *address)
{
    return free_address_of(self, address, CALLER);
}

DOOR bool free_tensor(void *self, pt_tensor tensor) __asm__(FREE_TENSOR);
bool free_tensor(void *self, pt_tensor tensor)
{
    struct pt_extent e = {0};
    bool (*stock)(void *, pt_tensor) = NULL;
    bool known = pt_tensor_usable() && pt_tensor_extent(tensor, &e) == 0;
    if (stock_serves && !pt_table_ours(e.data)) {
        stock = (bool (*)(void *, pt_tensor))stock_of_caller(CALLER, FREE_TENSOR);
    }
    if (stock != NULL) {
        return stock(self, tensor);
    }
    if (!known) {
        pt_tensor_raise("deepspeed_pin_tensor_t::free", pt_tensor_error());
    }
    return free_address_of(self, e.data, CALLER);
}

DOOR bool is_managed(void *self, pt_tensor tensor) __asm__(IS_MANAGED);
bool is_managed(void *self, pt_tensor tensor)
{
    struct pt_extent e = {0};
    bool known = pt_tensor_usable() && pt_tensor_extent(tensor, &e) == 0;
    if (stock_serves && !pt_table_ours(e.data)) {
        bool (*stock)(void *, pt_tensor) = (bool (*)(void *, pt_tensor))stock_of_caller(CALLER, IS_MANAGED);
        return stock != NULL && stock(self, tensor);
    }
    if (!known) {
        pt_tensor_raise("deepspeed_pin_tensor_t::is_managed", pt_tensor_error());
    }
    return e.cpu && pt_table_covers(e.data, e.bytes);
}

static void destroy(void *self, const void *caller, const char *symbol)
{
    pt_block_close_manager(pt_managers_of(self, false));
    void (*stock)(void *) = (void (*)(void *))stock_of_caller(caller, symbol);
    if (stock != NULL) {
        stock(self); /* its members still have to be destroyed, and blocks that stock itself served */
    }
}

DOOR void destroy_1(void *self) __asm__(DESTROY_1);
void destroy_1(void *self)
{
    destroy(self, CALLER, DESTROY_1);
}

DOOR void destroy_2(void *self) __asm__(DESTROY_2);
void destroy_2(void *self)
{
    destroy(self, CALLER, DESTROY_2);
}
