#include "report/destination.h"

#include "base/kept.h"
#include "base/log.h"
#include "base/options.h"
#include "base/path.h"
#include "base/sandbox.h"
#include "ledger/table.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static struct pt_kept kept;
static char path[PT_PATH_MOST]; /* empty: it goes to stderr */

/* A pipe without a reader is an error, and no terminal becomes this process's. */
static int open_file(void)
{
    enum { HOW = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY };
    int fd = open(path, HOW, 0666);
    if (fd < 0 && errno == ENOENT) {
        fd = pt_path_make_directories(path) ? open(path, HOW, 0666) : -1;
    }
    return fd;
}

bool pt_destination_is_file(void)
{
    return path[0] != '\0';
}

static bool name_file(void)
{
    const char *pattern = pt_option_text(PT_OPTION_REPORT);
    struct pt_text t;
    pt_text_init(&t, path, sizeof path, -1);
    if (pattern[0] != '\0') {
        pt_path_add(&t, pattern, pt_table()->pid, pt_table()->rank);
    }
    return pattern[0] != '\0';
}

void pt_destination_keep(void)
{
    struct stat is;
    pt_kept_close(&kept); /* in a forked child: its parent's */
    if (!name_file() || !pt_sandbox_may_open()) {
        return;
    }
    int fd = open_file();
    if (fd < 0 || fstat(fd, &is) != 0 || S_ISFIFO(is.st_mode)) { /* whose reader waits for the end */
        (void)(fd >= 0 && close(fd));
    } else {
        (void)pt_kept_take(&kept, fd);
    }
}

/* It may have been removed since, with a folder that a program makes anew. */
static int open_again(void)
{
    struct stat is;
    int fd = pt_kept_fd(&kept);
    if (fd >= 0 && fstat(fd, &is) == 0 && is.st_nlink > 0) {
        return fd;
    }
    errno = EPERM;
    return pt_sandbox_entered() ? -1 : open_file();
}

/* strerror() may translate, and allocate. */
static const char *words_of(int error)
{
    switch (error) {
    case ENOENT: return "there is no such directory";
    case ENOTDIR: return "a part of the path is no directory";
    case EISDIR: return "it is a directory";
    case EACCES:
    case EPERM: return "this process may not";
    case EROFS: return "it is mounted read-only";
    case ENOSPC:
    case EDQUOT: return "the disk is full";
    case EFBIG: return "files may not become that large";
    case ENAMETOOLONG: return "the name is too long";
    case ENXIO: return "nobody reads the pipe";
    default: return "it fails";
    }
}

int pt_destination_open_instead(int error)
{
    if (path[0] == '\0') {
        return -1;
    }
    pt_log("cannot write the report to %s, %s (errno %d): here it is instead", path, words_of(error), error);
    return pt_log_fd();
}

int pt_destination_open(void)
{
    if (path[0] == '\0') {
        return pt_log_fd();
    }
    int fd = open_again();
    return fd >= 0 ? fd : pt_destination_open_instead(errno);
}

void pt_destination_close(int fd)
{
    if (fd > STDERR_FILENO && fd != kept.fd) {
        (void)close(fd);
    }
}
