/* One build for glibc 2.17 and newer, which does nothing, without harm, where there is less. The command line includes
 * this before everything else, and Makefile.am does the same to jemalloc: what libc may lack is called by a name of
 * ours, looked up early, and absent until pt_old_libc_complete() says otherwise. */
#ifndef PT_OLD_LIBC_H
#define PT_OLD_LIBC_H

#include <stdbool.h>

#define PT_PRAGMA(text) _Pragma(#text)
#define X(name)         PT_PRAGMA(redefine_extname name pt_libc_##name)
#include "base/old_libc.def"
#undef X

/* Whether all of them are there. Not to be asked for with a lock held. */
bool pt_old_libc_complete(void);

/* Whether one is, now. */
#define PT_OLD_LIBC_HAS(name)                                                                                          \
    __extension__({                                                                                                    \
        extern void *pt_libc_slot_##name;                                                                              \
        pt_libc_slot_##name != (void *)0;                                                                              \
    })

/* These were no functions before 2.33. */
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#define fstat(fd, out)   ((int)syscall(SYS_fstat, fd, out))
#define stat(path, out)  ((int)syscall(SYS_stat, path, out))
#define lstat(path, out) ((int)syscall(SYS_lstat, path, out))

#endif
