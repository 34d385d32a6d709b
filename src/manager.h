/* The manager: makes, releases and drops blocks, keeps the cache within its bounds, and is the only writer of the
 * table's records and counters.
 *
 * Lock order: [GIL] -> manager -> (nothing). jemalloc, system calls that may take long, Python and libtorch are all
 * called with no lock held. */
#ifndef PT_MANAGER_H
#define PT_MANAGER_H

#include "table.h"
#include "text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pt_request {
    uint32_t manager; /* from pt_manager_open */
    size_t bytes;     /* > 0 */
    int dtype;        /* for the report; PT_DTYPE_NONE for a raw block */
    enum pt_door door;
    bool tensor;        /* goes back when dropped, not at free() */
    const void *caller; /* return address of the exported call */
};

/* A block as its holder knows it: the generation makes a late drop harmless. */
struct pt_block {
    void *base;
    uint32_t number, generation;
};

/* First use in this process (or in a forked child): options, range, arenas, table. Returns 0, or -ENODEV when
 * pintensor is off or cannot work here; then the caller does what stock does. Cheap when done already. */
int pt_manager_start(void);

/* Forgets everything, for a fresh range and table. */
void pt_manager_reset(void);

/* A number for a new manager; never 0. */
uint32_t pt_manager_new(void);

/* The manager known by `key`, an object of the program that stands for it. `make`: a new one if there is none, else
 * 0. */
uint32_t pt_manager_of(const void *key, bool make);

/* Whether the address lies in memory of ours that is registered with the device in use: then nobody else may do or undo
 * that. And whether all of [p, p + len) does, in one live block, which is registered first if need be. */
bool pt_manager_registered(const void *p);
bool pt_manager_register(const void *p, size_t len);

/* The manager goes, and its key: tensors' blocks are released, raw blocks given back. */
void pt_manager_close(uint32_t manager);

/* Returns 0, -ENOMEM (pt_lock_error() and pt_manager_explain say why) or -ENODEV. */
int pt_manager_alloc(const struct pt_request *request, struct pt_block *out);

/* Why the last pt_manager_alloc of this thread failed, in one sentence. */
void pt_manager_explain(size_t bytes, struct pt_text *out);

/* free(address): 0, or -ENOENT with the misuse counted. NULL is -ENOENT and no misuse. */
int pt_manager_release(uint32_t manager, void *address, const void *caller);

/* The same for one block and no other: -ESTALE if its memory is another block's by now. */
int pt_manager_release_block(uint32_t manager, const struct pt_block *block, const void *caller);

/* The last tensor of the block is gone. */
void pt_manager_drop(const struct pt_block *block);

/* Bytes locked and free: the cache, and free runs of the small region. */
size_t pt_manager_cached(void);

/* Unlocks everything that is not in use; returns the bytes. */
size_t pt_manager_trim(void);

/* Gives back what has been idle for too long; false when nothing is left to watch. */
bool pt_manager_tick(void);

/* Counts the live blocks into their sites' held ones. Once exit has begun it waits a tenth of a second for the lock at most,
 * and then reads without it: usable in abort(). */
void pt_manager_count_held(void);

/* Exit begins: what is alive now is held. Usable in abort(); later calls do nothing. */
void pt_manager_exit_begins(void);

/* The process ends: unlocks and frees every block that is left, without touching contents. */
void pt_manager_finish(void);

/* Whether this process pinned anything and owns what it pinned: false in forked children. */
bool pt_manager_active(void);

#endif
