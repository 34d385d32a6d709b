/* What each process of this user has locked on this machine, where it keeps a limit for the node: a small file in
 * /dev/shm that all of them map, with a slot a process. A slot is written by its owner alone, and freed by whoever sees
 * that its owner is no more; no process waits for another. Safe under jemalloc's locks. */
#ifndef PT_NODE_SHARE_H
#define PT_NODE_SHARE_H

#include <stdbool.h>
#include <stddef.h>

/* Takes a slot for this process. Returns 0 or a negative errno: -EACCES, the file is not this user's alone; -EBADF, it
 * is something else; -EUSERS, there are too many processes. Again in a forked child. */
int pt_node_share_join(void);

/* Where it lies; tests have a place of their own. */
extern const char *pt_node_share_folder;

/* The file's name, after that. */
const char *pt_node_share_file(void);

/* Once joined: this process has so much more, or less. */
void pt_node_share_add(size_t len);
void pt_node_share_sub(size_t len);

/* The bytes of all. */
size_t pt_node_share_all(void);

/* Frees the slots of processes that are no more. True if there were some. */
bool pt_node_share_sweep(void);

#endif
