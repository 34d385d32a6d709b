/* Processes that report at once to one pipe, terminal or file: one writes after the other, so that each text is whole.
 */
#ifndef PT_TURN_H
#define PT_TURN_H

#include <stdint.h>

enum pt_turn {
    PT_TURN_MINE, /* to be given back */
    PT_TURN_NONE, /* there is no such thing here: a network's file, a sandbox */
    PT_TURN_LATE, /* somebody else is still at it */
};

/* Waits for it until then (pt_thread_now()). Other processes' turns end with them at the latest. */
enum pt_turn pt_turn_take(int fd, int64_t until_ns);
void pt_turn_give(int fd);

#endif
