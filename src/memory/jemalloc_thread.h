/* What jemalloc keeps for each thread. Debian's archive has it in thread-local storage, 2.6 KiB of the initial-exec
 * kind, with which no library can be loaded late. The one of scripts/jemalloc asks here. */
#ifndef PT_JEMALLOC_THREAD_H
#define PT_JEMALLOC_THREAD_H

#include <stdbool.h>

/* Around all calls of jemalloc, except in handlers of fork(), where no other thread is inside. A thread that cannot be
 * given memory for its own shares what is kept for such threads, and waits for the others of them. Calls do not nest.
 */
void pt_jemalloc_thread_enter(void);
void pt_jemalloc_thread_leave(void);

/* Whether this thread's is there, so that entering does nothing. */
bool pt_jemalloc_thread_is_known(void);

#endif
