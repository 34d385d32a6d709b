#include "base/kept.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define OUT_OF_THE_WAY 600 /* few programs have as many, and few limits are lower */

bool pt_kept_take(struct pt_kept *k, int fd)
{
    struct stat is;
    *k = (struct pt_kept){0};
    int high = fcntl(fd, F_DUPFD_CLOEXEC, OUT_OF_THE_WAY);
    if (high >= 0 && fstat(high, &is) == 0) {
        *k = (struct pt_kept){high, is.st_dev, is.st_ino};
    } else if (high >= 0) {
        close(high);
    }
    close(fd);
    return k->fd > 0;
}

int pt_kept_fd(const struct pt_kept *k)
{
    struct stat is;
    int error = errno;
    bool ours = k->fd > 0 && fstat(k->fd, &is) == 0 && is.st_dev == k->device && is.st_ino == k->inode;
    errno = error;
    return ours ? k->fd : -1;
}

void pt_kept_close(struct pt_kept *k)
{
    int fd = pt_kept_fd(k);
    if (fd >= 0) {
        close(fd);
    }
    *k = (struct pt_kept){0};
}
