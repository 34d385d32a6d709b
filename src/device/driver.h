/* Registering host memory with a device's runtime: the device reads and writes it directly, and its pages stay where they
 * are, so it is a lock, and one that no memlock limit applies to. A process that uses no device pays a look at the number
 * of loaded libraries and nothing else. */
#ifndef PT_DRIVER_H
#define PT_DRIVER_H

#include "device/runtime.h"

#include <stdbool.h>
#include <stddef.h>

/* Looks whether a runtime's library has come into the process; true if one was found now. Cheap when no library was
 * loaded since. Where another thread is loading one, and goes on with that, the next call looks again. Not to be called
 * with a lock held. */
bool pt_driver_look(void);

/* Whether pt_driver_look() has found one. Asks nobody: usable with a lock held. */
bool pt_driver_found(void);

/* Whether the program uses a device: pt_driver_look() found its runtime, and the program has initialised it. */
bool pt_driver_in_use(void);

/* Whether it has a context now, without which nothing can be registered. */
bool pt_driver_ready(void);

/* Whether registering is of no use here, ever: the runtime said so, or took not even a page when memory was to be
 * registered first, or a device cannot use such memory by the address that the program has. Then what would have served
 * without us serves. One line has said it. Cheap. */
bool pt_driver_refuses(void);

/* Before much is populated: false if it takes not even a page, and so refuses. Asks once, and only if nothing was
 * registered before. */
bool pt_driver_takes_a_page(void);

/* Whether memory can be registered now: it is ready, and does not refuse. */
bool pt_driver_registers(void);

/* Registers whole pages. 0; -ENODEV: the program has no context (yet, or any more), or the driver refuses; -ENOMEM or
 * -EIO: refused this time, and pt_driver_error() has the runtime's code. On failure nothing stays registered. */
int pt_driver_register(void *p, size_t len);

/* Takes a registration back, whole. Does nothing once the runtime shuts down. */
void pt_driver_unregister(void *p, size_t len);

/* How many registrations were made, and taken back, since the start. */
void pt_driver_counts(uint64_t *made, uint64_t *taken_back);

/* The runtime's code for this thread's last refused registration, or for that which was refused for good; 0 after a
 * success. */
int pt_driver_error(void);

/* ---- streams: what runtime.h says, for the runtime in this process; without one nothing is under way ---- */

bool pt_driver_place(void *stream, int device, struct pt_place *out);
uint64_t pt_driver_identity(void *stream);
bool pt_driver_captured(void *stream);
bool pt_driver_mark(const struct pt_place *place, void *stream, void **event);
enum pt_passed pt_driver_passed(const struct pt_place *place, void *event);
bool pt_driver_finish(void);

#endif
