/* The counters: what is alive, what was at the peak, and what the same requests would have cost elsewhere. Every call
 * with the manager's lock held. */
#ifndef PT_ACCOUNT_H
#define PT_ACCOUNT_H

#include "table.h"

/* `asked_ns`: when it was asked for; the record says when it was there. */
void pt_account_alloc(struct pt_record *r, bool reused, uint64_t asked_ns);

/* free() was called, or its manager is gone: stock DeepSpeed's memory goes back here. */
void pt_account_release(struct pt_record *r);

/* The block is gone. `reclaimed`: without a free(). */
void pt_account_drop(struct pt_record *r, bool reclaimed);

/* Exit begins: adds a live block to its site's held ones. */
void pt_account_held(struct pt_record *r);

#endif
