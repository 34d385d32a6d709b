/* A program that resets its device (cudaDeviceReset): with the context its driver forgets what was registered. What
 * waits is given back before. What is in use then stays as it is, and is registered again once there is a context: by
 * who asks for memory next, before he is given any. With no lock held. */
#ifndef PT_DEVICE_RESET_H
#define PT_DEVICE_RESET_H

#include <stdatomic.h>
#include <stdbool.h>

/* For a fresh process. */
void pt_device_reset_init(void);

/* Around the reset of any device. */
void pt_device_reset_begins(void);
void pt_device_reset_ended(void);

/* Before memory that may have been registered is relied on. In line: next to nothing where no device was reset. */
extern _Atomic bool pt_device_reset_forgot;
void pt_device_reset_register_again(void);
static inline void pt_device_reset_mend(void)
{
    if (__builtin_expect(atomic_load_explicit(&pt_device_reset_forgot, memory_order_relaxed), false)) {
        pt_device_reset_register_again();
    }
}

#endif
