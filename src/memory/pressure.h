/* Whether memory runs short around this process: in its cgroup, or on the machine. A leaf. */
#ifndef PT_PRESSURE_H
#define PT_PRESSURE_H

#include <stdbool.h>

/* True when less than a twentieth of what the cgroup or the machine may use is left. Reads /proc and /sys: some 50 us.
 * Not so in a sandbox. */
bool pt_pressure_high(void);

#endif
