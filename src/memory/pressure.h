/* Whether memory runs short around this process: of the machine, or of a cgroup that it lies in (v1 and v2). What the
 * kernel gives up by itself, such as file cache, counts as free. */
#ifndef PT_PRESSURE_H
#define PT_PRESSURE_H

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Opens the files, once: where a limit is set. In a sandbox nobody looks: all is well then, as far as can be told. */
void pt_pressure_init(void);

/* Nearly all is used: caches had better go. */
bool pt_pressure_high(void);

/* From here on a request is worth a look before it is locked. */
#define PT_PRESSURE_LOOK ((size_t)16 << 20)

/* Whether so much more can be locked at all, as far as can be told: where not, the kernel would kill for it. */
bool pt_pressure_room(size_t len);

/* The same for a request, which counts: smaller ones get a look together. Before one is refused it looks again for
 * 2.5 s, as the kernel's numbers of a cgroup may be 2 s old; once in 10 s. */
bool pt_pressure_await_room(size_t len);

/* All memory of the machine, or of a cgroup that has less: bytes; 0: nobody knows. */
uint64_t pt_pressure_total(void);

/* Says what has no room for `len` bytes, and how to change that. */
void pt_pressure_explain(size_t len, struct pt_text *out);

#endif
