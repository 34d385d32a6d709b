#include "base/sandbox.h"

#include "base/own_status.h"

#include <stdatomic.h>
#include <stdint.h>

static bool had;
static uint64_t filters; /* when it began */
static _Atomic bool entered;

/* Before Linux 5.9 it is told whether there are any. */
static bool count(uint64_t *out)
{
    return pt_own_status_number("Seccomp_filters", out) || pt_own_status_number("Seccomp", out);
}

__attribute__((constructor)) void pt_sandbox_init(void)
{
    if (pt_own_status_init()) {
        atomic_store(&entered, false);
        had = pt_own_status_had() && count(&filters);
    }
}

/* Such a filter is there for good. */
static bool look(bool *known)
{
    uint64_t now;
    if (atomic_load_explicit(&entered, memory_order_relaxed)) {
        *known = true;
        return true;
    }
    *known = count(&now);
    if (*known && now > filters) {
        atomic_store(&entered, true);
    }
    return *known && now > filters;
}

bool pt_sandbox_entered(void)
{
    bool known;
    return look(&known);
}

bool pt_sandbox_may_open(void)
{
    bool known, is = look(&known);
    return (known || !had) && !is;
}
