/* The end of the process by a signal that the program left to the kernel: the report first, then the signal does its
 * work. For a process that has pinned something this is the default action of these signals; preload/signal.c has the
 * program see SIG_DFL. */
#ifndef PT_SIGNALS_H
#define PT_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

/* At the first block: takes those signals whose action is SIG_DFL. What a program does with a signal itself stays as it
 * is. */
void pt_signals_begin(void);

/* Whether this process's default action is ours, and then which; not in a child that was forked or vforked and has
 * pinned nothing. Usable in a signal handler. */
bool pt_signals_default(int sig, struct sigaction *ours);

bool pt_signals_is_ours(const struct sigaction *action);

/* The report has been written: a signal that we took over is the kernel's again. */
void pt_signals_leave(int sig);

#endif
