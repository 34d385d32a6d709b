/* Small pieces of memory for what is handed out with a block and must outlive every lock: no malloc, no lock, none
 * given back to the system. A forked child has its own copy. */
#ifndef PT_CELLS_H
#define PT_CELLS_H

#define PT_CELLS_BYTES 248 /* what one cell holds */

/* A cell with undefined contents, aligned to 8; NULL: no memory. */
void *pt_cells_take(void);

void pt_cells_give(void *cell);

#endif
