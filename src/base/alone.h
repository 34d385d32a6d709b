/* A program whose first thread leaves by pthread_exit() is ended by libc once its last thread ends. Threads of ours are
 * not to keep it from that: those that stay for long look now and then whether they are alone, and return if so; the
 * last of them then ends the process as the program's last thread would have. A leaf but for own_status and sandbox. */
#ifndef PT_ALONE_H
#define PT_ALONE_H

#include <stdbool.h>

/* A thread of ours that stays calls the one at its begin, the other at its end. */
void pt_alone_begin(void);
void pt_alone_end(void);

/* Whether no thread of the program is left. Never true wrongly; later than it might be while a thread of ours begins or
 * ends, and not at all once the program has sandboxed itself. Some 10 us. */
bool pt_alone(void);

/* How long to wait from one look to the next. */
#define PT_ALONE_LOOK_NS 1000000000

/* In a forked child, where those threads are not. */
void pt_alone_init(void);

#endif
