#include "base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_PATIENCE 200000000 /* ns: a program whose stderr nobody reads goes on */

/* What stderr is when the library is loaded. A duplicate would do as well, but would keep a pipe open for its reader
 * after the program has closed it. */
static struct stat first;
static bool had;

void pt_log_remember(void)
{
    had = fstat(STDERR_FILENO, &first) == 0;
}

__attribute__((constructor)) static void remember(void)
{
    pt_log_remember();
}

static bool same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_rdev == b->st_rdev &&
           (a->st_mode & S_IFMT) == (b->st_mode & S_IFMT);
}

int pt_log_fd(void)
{
    struct stat now, out;
    int error = errno;
    bool ours = fstat(STDERR_FILENO, &now) == 0 &&
                ((had && same(&now, &first)) || (fstat(STDOUT_FILENO, &out) == 0 && same(&now, &out)));
    errno = error;
    return ours ? STDERR_FILENO : -1;
}

void pt_log_begin(struct pt_text *t, char *buf, size_t cap)
{
    pt_text_init(t, buf, cap - 1, -1); /* the last byte is the newline's */
    pt_text_add(t, "pintensor: ");
}

void pt_log_end(struct pt_text *t)
{
    /* It stays one line, and does nothing to a terminal, whatever the environment and the names of files hold. */
    pt_text_make_plain(t->buf, t->len);
    t->cap++;
    pt_text_add(t, "\n");
    static _Atomic bool stuck; /* the last line found nobody who took it: this one does not wait */
    t->fd = pt_log_fd();
    if (t->fd >= 0) {
        pt_text_wait_most(t, stuck ? 0 : LINE_PATIENCE);
        pt_text_flush(t);
        stuck = t->failed == ETIMEDOUT;
    }
}

int pt_log_rank(void)
{
    static const char *const names[] = {"RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = secure_getenv(names[i]);
        uint64_t rank;
        if (value != NULL && pt_text_parse_u64(value, &rank) == 0 && rank < INT32_MAX) {
            return (int)rank;
        }
    }
    return -1;
}
