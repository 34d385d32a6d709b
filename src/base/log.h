/* One line to stderr, as "pintensor: ...". Safe in a signal handler. A leaf. */
#ifndef PT_LOG_H
#define PT_LOG_H

/* The format is pt_text_add's. */
#define pt_log(...)                                        \
    do {                                                   \
        char line_[1024];                                  \
        struct pt_text text_;                              \
        pt_log_begin(&text_, line_, sizeof line_);         \
        pt_text_add(&text_, __VA_ARGS__);                  \
        pt_log_end(&text_);                                \
    } while (0)

#include "base/text.h"

void pt_log_begin(struct pt_text *t, char *buf, size_t cap);
void pt_log_end(struct pt_text *t);

/* stderr, if that is still where the program's words go: what it was when the library was loaded, or where stdout goes
 * too. Otherwise -1: a program that closed it may have opened a file of its own under this number. */
int pt_log_fd(void);

/* From now on stderr is what it is now. For tests, which put a file in its place. */
void pt_log_remember(void);

/* The rank that the launcher gave this process (RANK and its kin), or -1. */
int pt_log_rank(void);

#endif
