/* Who holds most of what is locked, in words. */
#ifndef PT_HOLDERS_H
#define PT_HOLDERS_H

#include "base/text.h"

/* "Most of it: 5.0 GiB in 20 blocks from train.py:41  collect, called at train.py:77  main; ...": the three sites that
 * hold most, as of now. Takes no lock. Adds nothing if nobody holds any. */
void pt_holders_add(struct pt_text *out);

#endif
