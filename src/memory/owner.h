/* Whose memory this is. What is said here lies on a page that every kind of fork wipes, so a child is told from its
 * parent at the price of one load, and starts with a clean state of its own. Where the kernel cannot wipe it, fork handlers and
 * the pid tell. A leaf. */
#ifndef PT_OWNER_H
#define PT_OWNER_H

#include <stdbool.h>
#include <stdint.h>

/* What the caller has to do to use the library in this process. */
enum pt_owner_turn {
    PT_OWNER_READY,  /* nothing: it is set up */
    PT_OWNER_YOURS,  /* set it up, then call pt_owner_done */
    PT_OWNER_REFUSED /* it was tried and cannot be done */
};

/* The first caller of a process is told YOURS; callers meanwhile wait for it. */
enum pt_owner_turn pt_owner_begin(void);
void pt_owner_done(bool works);

/* True between a successful set-up and the process's end; false in a forked child that has not set up its own. */
bool pt_owner_owns(void);

/* Like pt_owner_owns, but also false in a vfork child, which shares the memory. Slower. */
bool pt_owner_owns_strictly(void);

/* gettid(), which costs as much as all the rest of a reuse: each thread remembers its own. In a process that is set up. */
uint32_t pt_owner_thread(void);

#endif
