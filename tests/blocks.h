/* Blocks for the suites that test the library by its calls: one manager, and a failure where a call fails. */
#ifndef TESTS_BLOCKS_H
#define TESTS_BLOCKS_H

#include "base/dtype.h"
#include "life/block.h"
#include "pintensor.h"
#include "suite.h"

static pintensor_manager manager;

static inline pintensor_stats stats(void)
{
    pintensor_stats s;
    pintensor_get_stats(&s, sizeof s);
    return s;
}

static inline __attribute__((always_inline)) pintensor_block alloc(size_t bytes)
{
    pintensor_block b;
    if (pintensor_alloc(manager, bytes, &b) != 0) {
        ck_abort_msg("%zu bytes: %s", bytes, pintensor_last_error());
    }
    return b;
}

static inline void release(pintensor_block b)
{
    REQUIRE(pintensor_free(manager, b.data) == 0);
}

/* A block as a tensor holds it: it goes back when dropped. */
static inline struct pt_block alloc_tensor(size_t bytes)
{
    struct pt_request q = {
        .manager = (uint32_t)manager, .bytes = bytes, .dtype = PT_DTYPE_NONE, .door = PT_DOOR_C, .tensor = true};
    struct pt_block b;
    REQUIRE(pt_block_alloc(&q, &b) == 0);
    return b;
}

#endif
