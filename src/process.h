/* Whose memory this is. What is said here lies on a page that every kind of fork wipes, so a child is told from its
 * parent at the price of one load, and starts with a clean state of its own. A leaf. */
#ifndef PT_PROCESS_H
#define PT_PROCESS_H

#include <stdbool.h>

/* What the caller has to do to use the library in this process. */
enum pt_process_turn {
    PT_PROCESS_READY,  /* nothing: it is set up */
    PT_PROCESS_YOURS,  /* set it up, then call pt_process_done */
    PT_PROCESS_REFUSED /* it was tried and cannot be done */
};

/* The first caller of a process is told YOURS; callers meanwhile wait for it. */
enum pt_process_turn pt_process_begin(void);
void pt_process_done(bool works);

/* True between a successful set-up and the process's end; false in a forked child that has not set up its own. */
bool pt_process_owns(void);

/* Like pt_process_owns, but also false in a vfork child, which shares the memory. Slower. */
bool pt_process_owns_strictly(void);

#endif
