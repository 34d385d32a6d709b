/* Other processes, as /proc tells of them. A leaf. */
#ifndef PT_PROCESS_H
#define PT_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

/* When a process was started, in clock ticks since the machine was: with its number it tells it from all others. 0:
 * there is none, or nothing is left of it but its exit status, or nobody knows. */
uint64_t pt_process_start_ticks(int pid);

/* Whether the process of that number is the one that was started then, and runs. */
bool pt_process_runs(int pid, uint64_t start_ticks);

#endif
