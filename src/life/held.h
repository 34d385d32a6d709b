/* The end of the process, as far as blocks are concerned: what was held, and giving everything back. */
#ifndef PT_HELD_H
#define PT_HELD_H

#include "report/report.h"

#include <stdbool.h>

void pt_held_reset(void);

/* Whether exit has begun. */
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
        struct pt_site site[];
    } * copy;
    size_t bytes;
    char few[256];
};
void pt_held_look(struct pt_held_look *look);
void pt_held_look_end(struct pt_held_look *look);

/* Exit begins: what is alive now is held. Usable in abort(); later calls do nothing. */
void pt_held_begin(void);

/* The process ends: unlocks and frees every block that is left, without touching contents. */
void pt_held_finish(void);

#endif
