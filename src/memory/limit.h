/* PINTENSOR_LIMIT: the most that may be locked, by this process, and by all of the user's on this machine together
 * (node_share.h). Every lock is announced here before it is taken, so that no two threads pass at once. Safe under
 * jemalloc's locks: allocates nothing, and says nothing; who has no locks does. */
#ifndef PT_LIMIT_H
#define PT_LIMIT_H

#include "base/text.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Reads the option; nothing is locked so far. Again in a forked child. A bad value is one line on stderr, and no limit.
 */
void pt_limit_init(void);

/* So many bytes are about to be locked, or are locked no longer. 0, or -EDQUOT. */
int pt_limit_take(size_t len);
void pt_limit_give(size_t len);

/* Whether so many more would pass at this moment. */
bool pt_limit_room(size_t len);

/* The most that this process may have locked, with what others have now; SIZE_MAX: there is no limit. */
size_t pt_limit_most(void);

/* Says which limit has no room for `len` bytes. */
void pt_limit_explain(size_t len, struct pt_text *out);

/* A soft limit was passed, and nobody has said so yet. */
extern _Atomic bool pt_limit_passed;
static inline bool pt_limit_is_passed(void)
{
    return atomic_load_explicit(&pt_limit_passed, memory_order_relaxed);
}

/* Says which one, to the one caller who is to say it; false: somebody else does. */
bool pt_limit_warn(struct pt_text *out);

#endif
