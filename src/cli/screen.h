/* The terminal, while something is shown in place on it. Where stdout is none, text goes out as it is. */
#ifndef PT_CLI_SCREEN_H
#define PT_CLI_SCREEN_H

#include <stdbool.h>

/* From here on signals that would end or stop this process are taken by pt_screen_wait(). */
void pt_screen_begin(void);

/* Shows lines, each with its end. On a terminal in place of what was there, cut to its size. False: nobody takes it. */
bool pt_screen_show(char *lines);

/* Waits so long, or until something happens that asks for another look. False: a key or a signal says that it is
 * enough. Stops and goes on as any program. */
bool pt_screen_wait(int ms);

/* Leaves the terminal as it was. If a signal was what ended it, this process ends by it. */
void pt_screen_end(void);

#endif
