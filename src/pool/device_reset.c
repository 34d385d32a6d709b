#include "pool/device_reset.h"

#include "device/driver.h"
#include "memory/owner.h"
#include "memory/segments.h"
#include "pool/chunks.h"
#include "pool/lock.h"
#include "pool/supply.h"
#include "pool/upkeep.h"

#include <stddef.h>
#include <stdint.h>

_Atomic bool pt_device_reset_forgot;

void pt_device_reset_init(void)
{
    pt_device_reset_forgot = false;
}

void pt_device_reset_begins(void)
{
    (void)pt_upkeep_trim();
}

/* Which registrations went with the context nobody tells: another device's may have been the one that holds them. */
void pt_device_reset_ended(void)
{
    if (pt_owner_owns()) {
        pt_device_reset_forgot = true;
        pt_supply_look(); /* without a context nothing that was registered is handed out */
    }
}

/* What is registered still is refused, and stays as it is. */
void pt_device_reset_register_again(void)
{
    uint32_t chunk = 0;
    void *base;
    size_t len;
    if (!pt_driver_ready() || !atomic_exchange(&pt_device_reset_forgot, false)) {
        return;
    }
    pt_lock_enter();
    while (pt_chunks_hold_next_registered(&chunk, &base, &len)) {
        pt_lock_leave();
        (void)pt_driver_register(base, len);
        pt_lock_enter();
    }
    pt_lock_leave();
    pt_segments_register_again();
    pt_supply_look();
}
