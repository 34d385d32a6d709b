/* What the other doors need to know of torch's. */
#ifndef PRELOAD_TORCH_DOOR_H
#define PRELOAD_TORCH_DOOR_H

#include <stdbool.h>

/* Whether copies made by this caller are told by record_event: it is torch itself, and its allocator is ours. */
bool torch_tells(const void *caller);

#endif
