/* Descriptors that stay open, since a program may forbid itself to open files later, and be killed for it. It may also
 * close those that it does not know, and have others under their numbers: so each is compared before it is used. A
 * leaf. */
#ifndef PT_KEPT_H
#define PT_KEPT_H

#include <stdbool.h>
#include <sys/types.h>

struct pt_kept {
    int fd; /* 0: none */
    dev_t device;
    ino_t inode;
};

/* Takes the descriptor over, under a number that is in nobody's way, and closes it if that cannot be. */
bool pt_kept_take(struct pt_kept *k, int fd);

/* The descriptor; -1 if there is none or it is no longer ours. */
int pt_kept_fd(const struct pt_kept *k);

void pt_kept_close(struct pt_kept *k);

#endif
