/* Managers: numbers for groups of blocks. DeepSpeed's are known by the object that stands for one. */
#ifndef PT_MANAGERS_H
#define PT_MANAGERS_H

#include <stdbool.h>
#include <stdint.h>

/* A number that no manager ever has. 0 is that of objects that cannot be told apart any more. */
#define PT_MANAGERS_NOBODY UINT32_MAX

void pt_managers_reset(void);

/* A number for a new manager of the C interface, never given twice; 0: 65,536 of them are alive, or all numbers were
 * given. A forked child goes on with its parent's. */
uint32_t pt_managers_new(void);

/* Whether such a manager is alive. Takes no lock. */
bool pt_managers_alive(uint64_t manager);

/* It ends; false: it was not alive. */
bool pt_managers_end(uint64_t manager);

/* The manager known by `key`. `make`: a new one if there is none, else 0. 0 in a forked child before its first block. */
uint32_t pt_managers_of(const void *key, bool make);

/* The manager is gone: its key may stand for another one. */
void pt_managers_forget(uint32_t manager);

#endif
