/* Looking at a thread's Python stack when that thread does not hold the GIL and must not wait for it: DeepSpeed's
 * async_io releases the GIL, takes a lock of its own and then calls us, while another thread may hold the GIL and wait
 * for that very lock. A thread that holds nothing waits instead, for a bounded time. */
#ifndef PT_ASK_H
#define PT_ASK_H

#include <stdbool.h>
#include <stdint.h>

void pt_ask_init(void);

/* What the helper runs, with the GIL and without garbage collection: `thread_state` is the asking thread's. */
typedef uint32_t pt_ask_work(void *thread_state, const void *argument);

/* Has `work` done for the calling thread. False after 20 ms, or at once if that happened lately: then it is not done, and
 * `work` no longer looks at `argument`. With no lock of ours held. */
bool pt_ask(pt_ask_work *work, const void *argument, uint32_t *result);

#endif
