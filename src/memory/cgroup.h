/* The cgroups that this process lies in, of both versions, as their files tell (kept_file.h). Levels are numbered from
 * 0, its own first; what a level lies in follows it. A limit may come, change and go while the program runs. */
#ifndef PT_CGROUP_H
#define PT_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

/* Finds them, and opens what is needed to see a limit; all of a level that has one. Once. */
void pt_cgroup_init(void);

/* In a forked child, which inherits them. */
void pt_cgroup_init_child(void);

unsigned pt_cgroup_levels(void);

/* All in bytes. False: there is none, or that cannot be told. */
bool pt_cgroup_limit(unsigned level, uint64_t *bytes);
bool pt_cgroup_throttle(unsigned level, uint64_t *bytes); /* beyond that it is slowed down, not killed */

/* What is used, without file cache, which the kernel gives up by itself. Only of a level with a limit of either kind.
 */
bool pt_cgroup_used(unsigned level, uint64_t *bytes);

/* Of that, what could be swapped out; and how much more may be. */
uint64_t pt_cgroup_anonymous(unsigned level);
bool pt_cgroup_swap(unsigned level, uint64_t *bytes);

#endif
