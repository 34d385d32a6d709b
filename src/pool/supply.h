/* Memory for a request that the free cache has none for: a registered chunk, or a part of an mlocked one, within the budget.
 * With no lock held. */
#ifndef PT_SUPPLY_H
#define PT_SUPPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void pt_supply_reset(void);

/* Whether memory is registered with a device at present, or else mlocked: as it was when memory was last made, or
 * somebody looked. */
bool pt_supply_registers(void);
void pt_supply_look(void);

/* A busy part of `need` locked bytes, whole pages, which are pending in the budget from now on: until they are used, or
 * given up. 0: none can be had, with the errno in *error. `apart`: a chunk of a small one's size, since what is free is
 * too good for it (pt_budget_spares). `for_device`: what a driver refuses is not to be mlocked instead. */
uint32_t pt_supply_make(size_t need, bool apart, bool for_device, int *error);

/* The same, neither locked nor pending. */
uint32_t pt_supply_make_pageable(size_t need, int *error);

/* How long this thread was in there since it asked last, in nanoseconds. */
uint64_t pt_supply_spent(void);

#endif
