#include "pool/registration.h"

#include "device/driver.h"
#include "ledger/table.h"
#include "memory/owner.h"
#include "memory/pages.h"
#include "memory/pin.h"
#include "memory/segments.h"
#include "pool/chunks.h"
#include "pool/device_reset.h"
#include "pool/drain.h"
#include "pool/lock.h"

bool pt_registration_covers(const void *p)
{
    if (!pt_table_ours(p) || !pt_owner_owns()) {
        return false;
    }
    struct pt_found f = pt_table_find(p);
    return f.number != 0 && (f.flags & PT_EXACT) != 0 ? (f.flags & PT_REGISTERED) != 0 : pt_segments_registered(p);
}

bool pt_registration_ensure(const void *p, size_t len)
{
    if (!pt_table_ours(p) || !pt_owner_owns() || !pt_table_covers(p, len)) {
        return false;
    }
    pt_device_reset_mend();
    struct pt_found f = pt_table_find(p);
    if (pt_registration_covers(p) || f.number == 0 || (f.flags & PT_EXACT) == 0 || (f.flags & PT_PAGEABLE) != 0) {
        return pt_registration_covers(p);
    }
    (void)pt_driver_look();
    /* Made before the program had a context. Whoever asks holds the block, so it stays meanwhile. */
    struct pt_record *r = pt_table_record(f.number);
    if (pt_pin_convert((void *)r->base, r->capacity) != 0) {
        return false;
    }
    pt_lock_enter();
    struct pt_magazine *owner = pt_drain_hold(r);
    bool converted = pt_chunks_convert(f.number);
    pt_drain_leave(owner);
    if (!converted) {
        pt_driver_unregister((void *)r->base, r->capacity);
        (void)pt_pages_lock((void *)r->base, r->capacity); /* as it was */
    }
    return converted;
}
