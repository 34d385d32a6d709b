/* Others pin memory, and give it back: told by the doors, which serve it as it is served without us. With no lock held.
 */
#ifndef PT_OTHERS_H
#define PT_OTHERS_H

#include "ledger/foreign.h"

/* It worked. `caller`: return address of the exported call. */
void pt_others_pinned(const void *p, size_t bytes, enum pt_foreign_call call, const void *caller);

/* It is about to be tried; then, that it failed. Before and not after, since another thread may be given the address at
 * once. */
struct pt_foreign_pin pt_others_unpin(const void *p);
void pt_others_unpin_failed(const struct pt_foreign_pin *pin);

/* Their device was reset, and with it goes what they pinned. */
void pt_others_reset(void);

#endif
