/* Writing without raising a signal, being stopped as a background process, or waiting for a reader past a deadline. A
 * leaf. */
#ifndef PT_WRITE_H
#define PT_WRITE_H

#include <stddef.h>
#include <stdint.h>

/* Writes all of it, in pieces that others' writes do not tear: of whole lines, as far as these go. Returns 0, or the
 * errno of what failed; ETIMEDOUT: nobody took it by `until_ns` (pt_thread_now()). */
int pt_write(int fd, const char *p, size_t n, int64_t until_ns);

#endif
