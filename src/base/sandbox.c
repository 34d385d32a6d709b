#include "base/sandbox.h"

#include "base/own_status.h"

#include <stdatomic.h>
#include <stdint.h>

static bool had, counted;
static uint64_t filters; /* when the program began, of which a forked child is a part */
static _Atomic bool entered;

/* Before Linux 5.9 it is told whether there are any. */
static bool count(uint64_t *out)
{
    return pt_own_status_number("Seccomp_filters", out) || pt_own_status_number("Seccomp", out);
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

/* A child has its parent's filters, which the inherited descriptor tells, and so may be killed for opening another one.
 * A parent that came to have them since is taken for one that had them: that costs the child less. */
static bool inherited(void)
{
    bool known;
    return pt_own_status_inherited() && look(&known);
}

__attribute__((constructor)) void pt_sandbox_init(void)
{
    uint64_t now;
    if (inherited()) {
        pt_own_status_forget();
    } else if (pt_own_status_init()) {
        had = pt_own_status_had() && count(&now);
        filters = had && !counted ? now : filters;
        counted = counted || had;
    }
}
