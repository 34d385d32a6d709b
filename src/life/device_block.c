#include "life/device_block.h"

#include "base/dtype.h"
#include "base/log.h"
#include "base/options.h"
#include "device/driver.h"
#include "life/init.h"
#include "life/managers.h"
#include "memory/owner.h"
#include "memory/pages.h"
#include "pool/in_flight.h"
#include "pool/registration.h"
#include "pool/upkeep.h"

#include <errno.h>

/* CUDA aligns to that what is smaller than a page. */
#define ALIGNMENT ((size_t)512)

/* Whether the block is the device's too: it may have been locked before there was a context. */
static bool registered(const struct pt_block *block, size_t bytes)
{
    return (pt_table_record(block->number)->flags & PT_REGISTERED) != 0 || pt_registration_ensure(block->base, bytes);
}

int pt_device_block_alloc(const struct pt_request *q, struct pt_block *out)
{
    if (pt_driver_refuses()) {
        return -ENODEV;
    }
    int error = pt_block_alloc(q, out);
    if (error == 0 && !registered(out, q->bytes) && pt_driver_ready()) {
        (void)pt_block_end(out);
        error = -ENODEV;
    }
    if (error != 0 && pt_driver_error() != 0 &&
        !pt_block_limited()) { /* CUDA itself may do better, or says why in its own words */
        error = -ENODEV;
    }
    if (error != 0 && pt_driver_refuses()) { /* since a moment ago: what is locked for it is of no use */
        (void)pt_upkeep_trim();
        error = -ENODEV;
    }
    return error;
}

/* A program has CUDA's number for it and no more. */
static void explain(size_t bytes)
{
    static _Atomic bool said;
    char line[1024];
    struct pt_text t;
    if (!atomic_exchange(&said, true)) {
        pt_log_begin(&t, line, sizeof line);
        pt_text_add(&t, "cudaHostAlloc fails: ");
        pt_block_explain(bytes, &t);
        pt_log_end(&t);
    }
}

int pt_device_block_pin(size_t bytes, const void *caller, void **out)
{
    static const char key;
    struct pt_block block;
    if (!pt_init_wanted() || pt_option(PT_OPTION_SERVE) != PT_SERVE_ALL) {
        return -ENODEV;
    }
    (void)pt_driver_look();
    if (!pt_driver_ready() || pt_init() != 0) { /* CUDA's own makes the context */
        return -ENODEV;
    }
    struct pt_request q = {.manager = pt_managers_of(&key, true),
                           .bytes = bytes < PT_PAGE ? pt_pages_up(bytes, ALIGNMENT) : bytes,
                           .dtype = PT_DTYPE_NONE,
                           .door = PT_DOOR_CUDA,
                           .caller = caller};
    int error = pt_device_block_alloc(&q, &block);
    if (error == 0) {
        *out = block.base;
    } else if (error != -ENODEV && !pt_block_limited()) {
        error = -ENODEV;
    } else if (error != -ENODEV) {
        explain(bytes);
    }
    return error;
}

bool pt_device_block_unpin(void *p)
{
    if (!pt_table_ours(p) || !pt_owner_owns()) {
        return false;
    }
    struct pt_found f = pt_table_find(p);
    struct pt_block block = {.base = p, .number = f.number, .generation = f.generation};
    if (f.number == 0 || f.state != PT_LIVE || f.base != (uintptr_t)p ||
        PT_GET(pt_table_record(f.number)->door) != PT_DOOR_CUDA || !pt_block_end(&block)) {
        return false;
    }
    (void)pt_in_flight_settle(PT_IN_FLIGHT_WAIT);
    return true;
}
