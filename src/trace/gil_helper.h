/* Looking at a thread's Python stack when that thread does not hold the GIL and must not wait for it: DeepSpeed's
 * async_io releases the GIL, takes a lock of its own and then calls us, while another thread may hold the GIL and wait
 * for that very lock. A thread that holds nothing waits instead, for a bounded time. */
#ifndef PT_GIL_HELPER_H
#define PT_GIL_HELPER_H

#include <stdbool.h>
#include <stdint.h>

void pt_gil_helper_init(void);

/* What the helper runs, with the GIL and without garbage collection: `thread_state` is the asking thread's. */
typedef uint32_t pt_gil_helper_work(void *thread_state, void *argument);

/* Has `work` done for the calling thread. False after 20 ms, or at once if that happened lately: then it is not done, and
 * `work` no longer looks at `argument`. With no lock of ours held. */
bool pt_gil_helper_ask(pt_gil_helper_work *work, void *argument, uint32_t *result);

/* Has `work` done whenever the GIL is to be had, by nobody's thread and without an argument: its answer is not waited
 * for. One such work a process. With no lock of ours held. */
void pt_gil_helper_leave(pt_gil_helper_work *work);

#endif
