/* Code objects by their address, without keeping them: other code may take an address once the first has ended, so
 * names are made of the address and of how often code around there has ended. One that is watched tells of its end. */
#ifndef PT_CODE_H
#define PT_CODE_H

#include "trace/python.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Past that many at once the rest are not watched. */
#define PT_CODE_MOST 24576

#define PT_CODE_AGES_BITS 12
extern _Atomic uint32_t pt_code_ages[1 << PT_CODE_AGES_BITS];

static inline _Atomic uint32_t *pt_code_age(uintptr_t code)
{
    return &pt_code_ages[(code >> 4) * 0x9e3779b97f4a7c15u >> (64 - PT_CODE_AGES_BITS)];
}

/* Of code that runs, or is watched: no other code ever gets the same. Any thread; takes no lock. */
static inline uint64_t pt_code_name(uintptr_t code)
{
    return code ^ (uint64_t)atomic_load_explicit(pt_code_age(code), memory_order_relaxed) << 47;
}

void pt_code_init(void);

/* True if all of them are watched from now on: what is remembered by their names stays true. With the GIL, no lock
 * held, and the frames running. */
bool pt_code_watch(const struct pt_python_frame *frames, unsigned count);

#endif
