/* Files of /proc and /sys that are opened early, since a program may shut itself in later, and be killed for opening
 * one. They are read from their beginning each time. What a program has put in the place of one, by closing it, is left
 * alone. A leaf. */
#ifndef PT_KEPT_FILE_H
#define PT_KEPT_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct pt_kept_file {
    int fd; /* 0: none, since our own are never that */
    dev_t device;
    ino_t inode;
};

/* Opens it; one that is not there is none. */
void pt_kept_file_open(struct pt_kept_file *f, const char *path);
void pt_kept_file_close(struct pt_kept_file *f);

/* The number after `key`, in the first line that starts with it (an empty key: that the file starts with), or the sum
 * of all those in lines that start with blanks and it. False: there is none. */
bool pt_kept_file_number(const struct pt_kept_file *f, const char *key, uint64_t *out);
bool pt_kept_file_sum(const struct pt_kept_file *f, const char *key, uint64_t *out);

#endif
