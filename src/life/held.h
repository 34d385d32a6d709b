/* The end of the process, as far as blocks are concerned: what was held, and giving everything back. */
#ifndef PT_HELD_H
#define PT_HELD_H

#include "report/report.h"

#include <stdbool.h>

void pt_held_reset(void);

/* Whether exit has begun, or Python's. */
bool pt_held_begun(void);

/* A report from now, or from when exit began, in memory of its own: others may report, allocate and end meanwhile. Waits for
 * nobody and is usable in a signal handler. Where this thread was interrupted at the wrong place, or another is in the way, what
 * threads keep for themselves is not in the counters yet; what is held is. `text` is a buffer for whoever writes it. */
struct pt_held_look {
    struct pt_report report;
    char *text;
    size_t text_size;
    struct pt_held_copy {
        char text[4096];
        struct pt_counters counters;
        struct pt_misuse misuse[PT_MISUSE_MOST];
        struct pt_held_by held_by[PT_HELD_BY_MOST];
        struct pt_site site[];
    } * copy;
    size_t bytes;
    char few[256];
};
void pt_held_look(struct pt_held_look *look);
void pt_held_look_end(struct pt_held_look *look);

/* Exit begins: what is alive now is held, and counted when this returns, whichever thread began. Usable in abort() and in a
 * signal handler; later calls do nothing. */
void pt_held_begin(void);

/* Python begins to exit: what is alive now is held, if the process ends with it. When it has, and the program makes another
 * block, it goes on as if nothing had been; and what it frees before that was not held (`r` is about to end: with the lock). */
void pt_held_python_ends(void);
void pt_held_python_ended(void);
void pt_held_goes_on(void);
void pt_held_ended_well(const struct pt_record *r);

/* Whether the last step, below, is done: destructors of other libraries may still free what they have. */
bool pt_held_finished(void);

/* The process ends: unlocks and frees every block that is left, without touching contents. */
void pt_held_finish(void);

#endif
