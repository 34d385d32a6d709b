/* The memory of blocks: made exact or small, kept as a cache in the room under the peak, given back. Nothing here knows
 * of tensors, managers or sites. Takes the guard itself unless it says otherwise. */
#ifndef PT_POOL_H
#define PT_POOL_H

#include "ledger/table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void pt_pool_reset(void);

/* A record with memory for `bytes`, not alive yet: 0 on failure, with the errno in *error. *reused: nothing had to be
 * locked for it. */
uint32_t pt_pool_make(size_t bytes, bool *reused, int *error);

/* The same without a lock on its pages. */
uint32_t pt_pool_make_pageable(size_t bytes, int *error);

/* Whether the address lies in memory of ours that is registered with the device in use: then nobody else may do or undo
 * that. And whether all of [p, p + len) does, in one live block, which is registered first if need be. */
bool pt_pool_registered(const void *p);
bool pt_pool_register(const void *p, size_t len);

/* What is to be given back once the guard is no longer held. */
struct pt_leftover {
    uint32_t victims, flying;
    void *small;
    bool purge;
};

/* The record goes live. With the guard held. */
void pt_pool_live(struct pt_record *r);

/* What must be done before the counters take the record for live; what is left goes to pt_pool_clean(). With the guard
 * held. */
struct pt_leftover pt_pool_expect(const struct pt_record *r);

/* What threads keep in magazines comes into the cache: with the guard held and the magazines stopped. */
void pt_pool_gather(void);

/* The same, all or by one of the magazine's functions. */
void pt_pool_take_back_all(void);
void pt_pool_take_back(size_t (*from)(void));

/* A live record ends: its memory waits for a device that uses it, waits for reuse, or is left to be given back by
 * pt_pool_clean(), which the caller calls once the guard is no longer held. With the guard held. */
struct pt_leftover pt_pool_end(uint32_t number);
void pt_pool_clean(const struct pt_leftover *left);

/* Bytes locked and free: the cache, and free runs of the small region. */
size_t pt_pool_cached(void);

/* Unlocks everything that is not in use; returns the bytes. Waits for nothing. */
size_t pt_pool_trim(void);

/* Waits for the devices, if they still use dropped blocks; true if any can be used again now. */
bool pt_pool_wait(void);

/* What program's threads left to the idle one, since a device could be waited for. */
void pt_pool_errand(void);

/* Gives back what has been idle for too long; false when nothing is left to watch. */
bool pt_pool_tick(void);

#endif
