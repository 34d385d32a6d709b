/* What the other doors need to know of DeepSpeed's. */
#ifndef PRELOAD_DEEPSPEED_H
#define PRELOAD_DEEPSPEED_H

#include <stdbool.h>

/* Whether this thread is inside a call that was passed on to DeepSpeed's own manager. */
bool deepspeed_in_stock(void);

#endif
