#include "trial.h"

#include "compile.h"

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

/* What the program says counts: nobody may know how it ended. */
enum trial_end trial_run(const char *const *argv, const char *said, int lock)
{
    char answer[16] = "";
    enum compile_end end = compile_run_program((char *const *)(uintptr_t)argv, said, lock);
    if (end == COMPILE_NO_COMPILER || end == COMPILE_NOT_STARTED) {
        return TRIAL_UNKNOWN;
    }
    int fd = open(said, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, answer, sizeof answer - 1) : 0;
    if (fd >= 0) {
        close(fd);
    }
    return n <= 0                                 ? TRIAL_FAILED
           : strncmp(answer, "it fits", 7) == 0   ? TRIAL_FITS
           : strncmp(answer, "not tried", 9) == 0 ? TRIAL_UNKNOWN
                                                  : TRIAL_FAILED;
}
