/* A running stack, and its site in the table: equal stacks give equal numbers. Owns the sites' frames and strings. */
#ifndef PT_STACK_H
#define PT_STACK_H

#include "trace/frames.h"

#include <stdint.h>

#define PT_STACK_NATIVE_MOST 16

struct pt_stack {
    const void *caller;
    uint32_t thread; /* 0: the one that enters it */
    unsigned count, native_count;
    struct pt_python_frame frames[PT_FRAMES_MOST]; /* empty if nobody could read them */
    void *native[PT_STACK_NATIVE_MOST];
};

void pt_stack_init(void);

/* The part that needs no GIL. */
void pt_stack_begin(struct pt_stack *s, const void *caller);

/* Never 0. */
uint64_t pt_stack_key(const struct pt_stack *s);

/* Known, or entered now. 0 when the table of sites is full. With no lock held, and with the GIL if there are Python
 * frames. */
uint32_t pt_stack_site(const struct pt_stack *s);

#endif
