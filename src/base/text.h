/* Building text without allocating and without locks, so that it also works inside abort(), _exit()
 * and a signal handler. A leaf. */
#ifndef PT_TEXT_H
#define PT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A text being built. With fd >= 0 the whole lines of a full buffer are written out; otherwise what does not
 * fit is cut off. The buffer always ends in NUL. */
struct pt_text {
    char *buf;
    size_t cap, len;
    int fd;
    int failed;         /* errno of a write that failed, or 0; ETIMEDOUT: nobody took it in time */
    int64_t until_ns;   /* 0: from the first write on, PT_TEXT_PATIENCE */
    const char *prefix; /* of each line; NULL: none */
    bool in_line;       /* a line with a prefix has begun */
};

#define PT_TEXT_PATIENCE 2000000000 /* ns */

void pt_text_init(struct pt_text *t, char *buf, size_t cap, int fd);

/* Writes all that is there: write.h. */
void pt_text_flush(struct pt_text *t);

/* Waits for readers until then, over all writes to come. */
void pt_text_wait_most(struct pt_text *t, int64_t ns);

/* printf with: %s %d (int) %u (unsigned) %zu (size_t) %llu (uint64_t) %x (uint64_t, hexadecimal) %p %% and, of our own,
 * %S a string that may hold anything, as one line of UTF-8 that does nothing to a terminal ("\\n", "\\x1b"),
 * %B a size_t of bytes as "5.7 MiB", %N a uint64_t with thousands separators, %T a uint64_t of
 * nanoseconds as "12 s". %-20s and %12s pad strings. */
void pt_text_add(struct pt_text *t, const char *format, ...);

/* Has '?' where a byte is no part of a line of UTF-8, or would do something to a terminal. The text ends in NUL. */
void pt_text_make_plain(char *text, size_t n);

/* Edit distance between two short words, for "did you mean". */
unsigned pt_text_distance(const char *a, const char *b);

/* Parses a whole decimal number; returns -EINVAL if there is anything else in it. */
int pt_text_parse_u64(const char *s, uint64_t *out);

/* Reads the number after the first line that starts with `key` in a /proc-like file; -errno if none. */
int pt_text_proc_number(const char *path, const char *key, uint64_t *out);

/* The same of a file that is open, from its beginning. */
int pt_text_find_number(int fd, const char *key, uint64_t *out);

#endif
