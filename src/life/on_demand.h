/* Reports while the process goes on, to where the one at its end goes: when a signal asks for one (PINTENSOR_SIGNAL),
 * and every so many seconds (PINTENSOR_EVERY). */
#ifndef PT_ON_DEMAND_H
#define PT_ON_DEMAND_H

/* At the first block: the thread that reports by the clock, if that is asked for. */
void pt_on_demand_begin(void);

/* Nothing if one is being written, or the process ends. Usable in a signal handler. */
void pt_on_demand_report(void);

#endif
