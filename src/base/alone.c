#include "base/alone.h"

#include "base/own_status.h"
#include "base/sandbox.h"

#include <stdatomic.h>
#include <stdint.h>

/* Two counts, not their difference: one thread that ends and another that begins are not nothing. */
static _Atomic unsigned begun, ended;
static bool first_is_told; /* of a process whose first thread is there, the status has its memory */

static bool first_thread_is_there(void)
{
    uint64_t bytes;
    return pt_own_status_number("VmSize", &bytes);
}

void pt_alone_begin(void)
{
    atomic_fetch_add(&begun, 1);
}

void pt_alone_end(void)
{
    atomic_fetch_add(&ended, 1);
}

bool pt_alone(void)
{
    unsigned began = atomic_load(&begun), left = atomic_load(&ended);
    uint64_t threads;
    return first_is_told && !pt_sandbox_entered() && !first_thread_is_there() && pt_own_status_number("Threads", &threads) &&
           threads == (uint64_t)(began - left) + 1 && atomic_load(&begun) == began && atomic_load(&ended) == left;
}

void pt_alone_init(void)
{
    atomic_store(&begun, 0);
    atomic_store(&ended, 0);
    first_is_told = first_thread_is_there();
}
