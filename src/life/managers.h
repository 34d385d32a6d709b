/* Managers: numbers for groups of blocks. DeepSpeed's are known by the object that stands for one. */
#ifndef PT_MANAGERS_H
#define PT_MANAGERS_H

#include <stdbool.h>
#include <stdint.h>

void pt_managers_reset(void);

/* A number for a new manager; never 0, and never again. */
uint32_t pt_managers_new(void);

/* The manager known by `key`. `make`: a new one if there is none, else 0. 0 in a forked child before its first block. */
uint32_t pt_managers_of(const void *key, bool make);

/* The manager is gone: its key may stand for another one. */
void pt_managers_forget(uint32_t manager);

#endif
