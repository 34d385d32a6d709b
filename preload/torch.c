/* torch's door: the first time that torch asks for its allocator of pinned memory, the bridge is made; from then on it
 * is the answer, as long as torch's own would be torch's. torch's registry is never written, since other threads may be
 * reading it. What the bridge asks for is here. */
#include "api/tensor.h"

#include "base/dtype.h"
#include "base/libraries.h"
#include "base/options.h"
#include "bridge/bridge.h"
#include "bridge/library.h"
#include "device/driver.h"
#include "life/block.h"
#include "life/device_block.h"
#include "life/init.h"
#include "life/managers.h"
#include "memory/owner.h"
#include "memory/pin.h"
#include "pool/stream_use.h"
#include "pool/supply.h"
#include "pool/upkeep.h"
#include "stock.h"
#include "torch_door.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define DOOR   __attribute__((visibility("default")))
#define CALLER __builtin_return_address(0)

#define GET_HOST_ALLOCATOR "_ZN2at16getHostAllocatorEN3c1010DeviceTypeE"
#define TORCH_CUDA         "libtorch_cuda.so"
enum { CUDA = 1 }; /* c10::DeviceType */

/* ---- what the bridge asks for ---- */

static uint32_t manager(bool make)
{
    static const char key;
    return pt_managers_of(&key, make);
}

static size_t drop(void *data)
{
    if (!pt_owner_owns()) {
        return 0;
    }
    struct pt_found f = pt_table_find(data);
    struct pt_block block = {.base = data, .number = f.number, .generation = f.generation};
    bool ours = f.number != 0 && f.base == (uintptr_t)data; /* else inherited */
    return ours && pt_block_end(&block) ? f.asked : 0;
}

static int alloc(size_t bytes, const void *caller, struct pintensor_bridge_block *out, const char **why)
{
    static __thread char text[1024];
    *why = NULL;
    if (pt_init() != 0) {
        return -ENODEV;
    }
    /* Not PT_TENSOR: what keeps DeepSpeed's blocks past their last tensor (free(), PINTENSOR_RECLAIM) is not for
     * torch's. */
    struct pt_request q = {
        .manager = manager(true), .bytes = bytes, .dtype = PT_DTYPE_NONE, .door = PT_DOOR_TORCH, .caller = caller};
    struct pt_block block;
    (void)pt_supply_spent(); /* at the other doors */
    int error = pt_device_block_alloc(&q, &block);
    if (error == 0) {
        *out = (struct pintensor_bridge_block){.data = block.base, .locking_us = pt_supply_spent() / 1000};
    } else if (error != -ENODEV) {
        struct pt_text t;
        pt_text_init(&t, text, sizeof text, -1);
        pt_block_explain(bytes, &t);
        *why = text;
    }
    return error;
}

static bool used(const void *p, void *stream, int device)
{
    return pt_stream_use_note(p, stream, device, true);
}

static uint64_t trim(void)
{
    uint64_t made, before, after;
    pt_driver_counts(&made, &before);
    (void)pt_upkeep_trim();
    pt_driver_counts(&made, &after);
    return after - before;
}

static void stats(struct pintensor_bridge_stats *out)
{
    *out = (struct pintensor_bridge_stats){0};
    if (pt_owner_owns()) {
        uint64_t taken_back;
        pt_driver_counts(&out->registrations, &taken_back);
        out->registrations -= taken_back;
        out->locked = pt_pin_bytes();
    }
}

/* ---- becoming torch's allocator ---- */

/* Where libtorch_cuda lies, once its allocator is ours. */
static struct {
    _Atomic uintptr_t from, len;
} copier;

bool torch_tells(const void *caller)
{
    return (uintptr_t)caller - copier.from < copier.len;
}

/* What torch answers, and what is answered in its place. */
static void *torchs;
static void *_Atomic ours;

static void *symbol(const char *library, const char *name)
{
    struct pt_library found;
    return pt_libraries_named(library, name, &found) == 0 ? pt_elf_symbol(&found.elf, name) : NULL;
}

/* False: not now. */
static bool take_over(void)
{
    static const struct pintensor_bridge_calls calls = {.has_context = pt_driver_ready,
                                                        .alloc = alloc,
                                                        .drop = drop,
                                                        .used = used,
                                                        .trim = trim,
                                                        .stats = stats,
                                                        .symbol = symbol};
    struct pt_elf bridge;
    int error = library_of_bridge(&bridge);
    if (error != 0) {
        return error != -EBUSY;
    }
    pintensor_bridge_start_function *start;
    *(void **)&start = pt_elf_symbol(&bridge, PINTENSOR_BRIDGE_START);
    struct pintensor_bridge_allocators made;
    const char *why = start != NULL ? start(&calls, &made) : "it is not one";
    if (why != NULL) {
        library_complain(why, "Report this");
        return true;
    }
    struct pt_library cuda;
    if (pt_libraries_named(TORCH_CUDA, NULL, &cuda) == 0) {
        copier.from = cuda.elf.from;
        copier.len = cuda.elf.len;
    }
    torchs = made.torchs;
    atomic_store_explicit(&ours, made.ours, memory_order_release);
    return true;
}

static _Atomic bool over;

/* Whether this call is the one. Not before CUDA is initialised, which comes first where anything gets pinned; then
 * whether the range is shared memory is decided rightly too. */
static bool is_the_moment(void)
{
    struct pt_library cuda;
    if (atomic_load_explicit(&over, memory_order_relaxed) || pt_libraries_named(TORCH_CUDA, NULL, &cuda) != 0) {
        return false;
    }
    (void)pt_driver_look();
    if (!pt_driver_in_use()) {
        return false;
    }
    bool wanted = pt_init_wanted() && pt_option(PT_OPTION_TORCH) == PT_TORCH_ON && !pt_driver_refuses();
    return !atomic_exchange(&over, true) && wanted;
}

/* Nobody waits here for the one who takes over: the bridge itself comes through here, and whoever holds the GIL or the
 * dynamic linker's lock must not wait. What others pin meanwhile is torch's own, and stays it. */
DOOR void *get_host_allocator(int8_t device) __asm__(GET_HOST_ALLOCATOR);
void *get_host_allocator(int8_t device)
{
    static struct stock_memory memory;
    void *real = stock_of_library(&memory, CALLER, "libtorch", GET_HOST_ALLOCATOR);
    if (real == NULL) {
        return NULL;
    }
    if (device == CUDA && is_the_moment() && !take_over()) {
        over = false;
    }
    void *answer = ((void *(*)(int8_t))real)(device);
    void *instead = device == CUDA ? atomic_load_explicit(&ours, memory_order_acquire) : NULL;
    return instead != NULL && answer == torchs ? instead : answer; /* the program may have set one of its own */
}

/* ---- DeepSpeed's door, with a torch before 2.11 ---- */

static int bridge_for_tensors(struct pt_elf *out)
{
    return pt_init_wanted() && pt_option(PT_OPTION_TORCH) == PT_TORCH_ON ? library_of_bridge(out) : -ENOENT;
}

__attribute__((constructor)) static void offer_bridge(void)
{
    pt_tensor_set_fallback(bridge_for_tensors);
}
