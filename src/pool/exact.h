/* Exact blocks: memory whose pages are one block's alone, made, fitted to another size, and given back. Nothing here
 * knows of the cache or of what may stay. With no lock held unless it says otherwise. */
#ifndef PT_EXACT_H
#define PT_EXACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void pt_exact_reset(void);

/* Whether a block of so many bytes may be exact: each may cost two of the mappings that the kernel allows. */
bool pt_exact_may(size_t bytes);

/* A cached record on fresh memory: 0 with the errno in *error. */
uint32_t pt_exact_make(size_t bytes, bool locked, int *error);

/* A cached record that nobody else knows gets `need` locked bytes, of those that are mlocked; a registered one stays as
 * it is. False: it could not be, and is gone. */
bool pt_exact_fit(uint32_t number, size_t need);

/* Gives cached records, chained by `next`, back for good; returns their bytes. Waits for a device that is busy, as its
 * driver does before it takes a registration back: not for a thread of the program, unless it asks for that. */
size_t pt_exact_destroy(uint32_t first);

/* The same by the idle thread, where a device could be waited for. */
void pt_exact_dismiss(uint32_t first);

/* The idle thread's part of it, or that of who wants the memory back now. Returns the bytes. */
size_t pt_exact_destroy_dismissed(void);

/* Before more memory is locked: lets the idle thread get on with it, for 20 ms at most, while more than so many bytes of
 * what was dismissed are locked still. */
void pt_exact_give_way(size_t tolerated);

#endif
