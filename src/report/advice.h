/* Which line to look at first, and what to do there. */
#ifndef PT_ADVICE_H
#define PT_ADVICE_H

#include "report/entries.h"

/* The worst entry, if any is worth a look; returns it, or UINT32_MAX. */
uint32_t pt_advice_write(const struct pt_entries *e, struct pt_text *out);

/* What ends the loss of an entry that loses memory in this way, if `pt_advice_write` has not said it. */
enum pt_loss { PT_LOSS_GROWING, PT_LOSS_RECLAIMED, PT_LOSS_HELD };
void pt_advice_add(struct pt_text *out, enum pt_loss loss, enum pt_door door);

#endif
