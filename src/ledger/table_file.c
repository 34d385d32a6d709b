#include "ledger/table_file.h"

#include "base/kept.h"
#include "base/log.h"
#include "base/options.h"
#include "base/path.h"
#include "base/sandbox.h"
#include "memory/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

/* Set up by one thread; from then on as the table: the pool's lock, or the mutex of the sites' rows. */
static struct {
    struct pt_kept file;
    bool asked, full;
} state;

static char path[PT_PATH_MOST];

/* DIR/HOST-PID-SECONDS.table: the seconds tell a process from an earlier one of the same number. */
static int make(const char *pattern, int pid, int rank)
{
    struct pt_text t;
    pt_text_init(&t, path, sizeof path, -1);
    pt_path_add(&t, pattern, pid, rank);
    pt_text_add(&t, "/");
    if (!pt_path_make_directories(path)) {
        return -errno;
    }
    pt_path_add_host(&t);
    pt_text_add(&t, "-%d-%llu.table", pid, (uint64_t)time(NULL));
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    return fd < 0 ? -errno : pt_kept_take(&state.file, fd) ? 0 : -EMFILE;
}

void pt_table_file_begin(int pid, int rank)
{
    const char *pattern = pt_option_text(PT_OPTION_DIR);
    pt_table_file_forget();
    if (pattern[0] == '\0') {
        return;
    }
    int error = pt_sandbox_may_open() ? make(pattern, pid, rank) : -EPERM;
    state.asked = error == 0;
    if (error != 0) {
        pt_log("no table is kept in %s (errno %d): make it a directory that this process may write", pattern, -error);
    }
}

bool pt_table_file_map(void *p, size_t len, off_t offset)
{
    if (!state.asked || state.full) {
        return false;
    }
    int fd = pt_kept_fd(&state.file);
    int error = fd < 0 || pt_sandbox_entered() ? -EBADF : pt_pages_open_file(p, len, fd, offset);
    if (error != 0) { /* what follows is for this process alone: a file with a hole in the middle would mislead */
        state.full = true;
        pt_log(
            "the table in %s is cut short (errno %d): is there no room, or did the program close what it did not know?",
            pt_option_text(PT_OPTION_DIR), -error);
    }
    return error == 0;
}

void pt_table_file_remove(void)
{
    (void)unlink(path);
}

bool pt_table_file_whole(void)
{
    return state.asked && !state.full;
}

void pt_table_file_forget(void)
{
    pt_kept_close(&state.file);
    state.asked = state.full = false;
}
