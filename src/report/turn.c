#include "report/turn.h"

#include "base/sandbox.h"
#include "base/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#define MAGIC_XFS 0x58465342 /* not in every kernel's headers */

/* A lock of a process on a file, whichever way it has it open: ranks have one stderr. The byte is beyond all that a
 * program locks, whose own locks on the file would go with it otherwise. */
static int set_lock(int fd, short type)
{
    struct flock byte = {.l_type = type, .l_whence = SEEK_SET, .l_start = INT64_MAX - 1, .l_len = 1};
    return fcntl(fd, F_SETLK, &byte);
}

/* A lock on a network's file asks a server, which may never answer. */
static bool is_local(int fd)
{
    struct stat is;
    struct statfs on;
    if (fstat(fd, &is) != 0) {
        return false;
    }
    if (!S_ISREG(is.st_mode)) {
        return true;
    }
    if (fstatfs(fd, &on) != 0) {
        return false;
    }
    unsigned long kind = (unsigned long)on.f_type & 0xffffffff;
    return kind == TMPFS_MAGIC || kind == EXT4_SUPER_MAGIC || kind == MAGIC_XFS || kind == BTRFS_SUPER_MAGIC ||
           kind == OVERLAYFS_SUPER_MAGIC;
}

enum pt_turn pt_turn_take(int fd, int64_t until_ns)
{
    int error = errno;
    int64_t pause = 100000; /* ns */
    struct pt_patience patience = pt_patience_until(until_ns);
    enum pt_turn turn = PT_TURN_NONE;
    if (fd >= 0 && !pt_sandbox_entered() && is_local(fd)) {
        while (set_lock(fd, F_WRLCK) != 0) {
            if (errno != EAGAIN && errno != EACCES && errno != EINTR) {
                errno = error;
                return PT_TURN_NONE;
            }
            if (!pt_patience_pause(&patience, pause)) {
                errno = error;
                return PT_TURN_LATE;
            }
            pause = pause < 4000000 ? 2 * pause : pause;
        }
        turn = PT_TURN_MINE;
    }
    errno = error;
    return turn;
}

void pt_turn_give(int fd)
{
    int error = errno;
    (void)set_lock(fd, F_UNLCK);
    errno = error;
}
