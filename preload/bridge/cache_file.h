/* Files in the user's cache directory that are loaded as code: nobody else may have written them, and they have to be
 * whole. */
#ifndef PRELOAD_CACHE_FILE_H
#define PRELOAD_CACHE_FILE_H

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CACHE_FILE_HASH 0xcbf29ce484222325u
uint64_t cache_file_hash(uint64_t hash, const void *p, size_t n);

/* Makes the directory if need be. NULL; else *why has what is wrong, and what to do about it is returned. Before all
 * that follows. */
const char *cache_file_directory(struct pt_text *why);

/* `out` has room for 4096 bytes. */
void cache_file_path(char *out, const char *name, const char *ending);

/* A name for a file that is being made, by the one who holds the lock or, without one, by this process. */
void cache_file_temporary(char *out, const char *name, const char *ending, int lock);

/* Whether this user made the file and nobody else may have changed it, or it is not there; as cache_file_directory(). */
const char *cache_file_check(const char *path, struct pt_text *why);

/* One process at a time: the descriptor to close afterwards, -ETIMEDOUT after 3 minutes, or -ENOLCK where files cannot
 * be locked. */
int cache_file_lock(void);

bool cache_file_write(int fd, const char *p, size_t n);

/* Ends a file with its own checksum, which the dynamic linker does not mind; and whether it still is what was sealed. */
bool cache_file_seal(const char *path);
bool cache_file_is_whole(const char *path);

#endif
