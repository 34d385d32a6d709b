/* Bridges that were built beforehand and lie beside the preload, as the wheel has them: DIR/libpintensor_preload.so,
 * DIR/pintensor/bridge-torch-2.13-<hash of the bridge's text>.so and DIR/pintensor/try-bridge. They are trusted as the
 * preload is. */
#ifndef PRELOAD_PREBUILT_H
#define PRELOAD_PREBUILT_H

#include <stdbool.h>
#include <stdint.h>

/* The one for this release of torch and this text: `out` has room for 4096 bytes. 0, or -ENOENT: there is none, or it
 * is not whole; or -EBUSY: where we lie could not be told just now, ask again. */
int prebuilt_find(char *out, const char *torch_version, uint64_t text);

/* Whether it fits the torch that is loaded: tried once, which the process remembers, and the cache under `name`, if
 * there can be one. `cpu` and `c10` are the paths of torch's libraries. */
bool prebuilt_fits(const char *bridge, const char *name, const char *cpu, const char *c10);

#endif
