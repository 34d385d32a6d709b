/* A running stack, and its site in the table: equal stacks give equal sites. */
#ifndef PT_STACK_H
#define PT_STACK_H

#include "trace/frames.h"

#include <stdbool.h>
#include <stdint.h>

#define PT_STACK_NATIVE_MOST 16

struct pt_stack {
    const void *caller;
    uint32_t thread; /* 0: the one that enters it */
    unsigned count, native_count;
    bool lasts; /* its code is watched (code.h): what is remembered by its keys stays true */
    struct pt_python_frame *frames; /* room for PT_FRAMES_MOST, where there is Python: a thread of none may have no stack for it */
    void *native[PT_STACK_NATIVE_MOST];
};

void pt_stack_init(void);

/* The part that needs no GIL; and the one that does, in the thread itself, on whose C stack it is, or while that stands
 * still. */
void pt_stack_begin(struct pt_stack *s, const void *caller);
void pt_stack_complete(struct pt_stack *s, void *thread_state);

/* Never 0. */
uint64_t pt_stack_key(const struct pt_stack *s);

/* Known, or entered now; never 0. With no lock held, and with the GIL if there are Python frames. */
uint32_t pt_stack_site(const struct pt_stack *s);

#endif
