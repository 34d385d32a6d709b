/* The oldest and newest minor version of torch 2 the host allocator of which was looked at. */
#ifndef PT_TORCH_VERSIONS_H
#define PT_TORCH_VERSIONS_H

enum { PT_TORCH_OLDEST = 8, PT_TORCH_NEWEST = 14 };

#endif
