/* For suites that stand between the library and the kernel: the program's own open(), read(), mmap() and so on come
 * before libc's (kernel.c). What the suite does not answer itself goes on to the kernel. */
#ifndef TESTS_KERNEL_H
#define TESTS_KERNEL_H

#include "suite.h"

#include <stdbool.h>
#include <sys/syscall.h>

/* From here on `answer` sees each call, by its number in the kernel: true, and `*result` (negative: an error's number)
 * is what it answers; NULL: nobody does. It may come from any thread. */
void kernel_watch(bool (*answer)(long number, const long *arguments, long *result));

/* `times` calls of that number fail, after the first `skip` of them. One number at a time; 0: none. */
void kernel_refuse(long number, int error, unsigned skip, unsigned times);

/* How many were refused. */
unsigned kernel_refused(void);

/* What is opened, or looked for, below /sys and in /proc's files of cgroups, memory and zones is looked for below this
 * folder. */
void kernel_files(const char *root);

/* Past all that. */
long kernel_call(long number, long a, long b, long c, long d, long e, long f);

/* As child_does(), past libc too: no handler of fork() runs. */
static inline bool child_past_libc_does(void (*f)(void))
{
    int status;
    long child = kernel_call(SYS_fork, 0, 0, 0, 0, 0, 0);
    if (child == 0) {
        f();
        suite_leave(0);
    }
    ck_assert_int_eq(waitpid((pid_t)child, &status, 0), child);
    return status == 0;
}

#endif
