#include "life/others.h"

#include "base/thread.h"
#include "life/init.h"
#include "memory/owner.h"
#include "memory/pin.h"
#include "trace/site.h"

void pt_others_pinned(const void *p, size_t bytes, enum pt_foreign_call call, const void *caller)
{
    int cancel = pt_thread_forbid_cancel();
    if (p != NULL && (bytes >= PT_FOREIGN_LEAST || pt_owner_owns()) && pt_init() == 0) {
        pt_foreign_add(p, bytes, call, pt_site_here(caller, bytes), pt_pin_bytes());
    }
    pt_thread_allow_cancel(cancel);
}

struct pt_foreign_pin pt_others_unpin(const void *p)
{
    return pt_owner_owns() ? pt_foreign_take(p) : (struct pt_foreign_pin){0};
}

void pt_others_unpin_failed(const struct pt_foreign_pin *pin)
{
    if (pin->row != 0 && pt_owner_owns()) {
        pt_foreign_put_back(pin);
    }
}

void pt_others_reset(void)
{
    if (pt_owner_owns()) {
        pt_foreign_forget();
    }
}
