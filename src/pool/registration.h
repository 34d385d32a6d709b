/* What others ask and want of registrations: DeepSpeed registers each of its blocks itself, and torch's pinned memory has to be
 * the device's. With no lock held. */
#ifndef PT_REGISTRATION_H
#define PT_REGISTRATION_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the address lies in memory of ours that is registered with the device in use: then nobody else may do or undo
 * that. */
bool pt_registration_covers(const void *p);

/* Whether all of [p, p + len) lies there, in one live block; one that is mlocked so far is registered now, whole. */
bool pt_registration_ensure(const void *p, size_t len);

#endif
