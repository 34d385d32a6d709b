#include "base/process.h"

#include "base/text.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Fields of /proc/PID/stat, which count from 1. The second is the program's name, which may hold anything. */
enum { NAME = 2, STATE = 3, THREADS = 20, STARTED = 22 };

static const char *field(const char *end_of_name, unsigned number)
{
    const char *p = end_of_name;
    for (unsigned at = NAME; p != NULL && at < number; at++) {
        p = strchr(p + 1, ' ');
    }
    return p != NULL ? p + 1 : "";
}

static uint64_t number_at(const char *p)
{
    uint64_t n = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        n = 10 * n + (uint64_t)(*p - '0');
    }
    return n;
}

uint64_t pt_process_start_ticks(int pid)
{
    char path[64], text[1024];
    struct pt_text t;
    pt_text_init(&t, path, sizeof path, -1);
    pt_text_add(&t, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0) {
        close(fd);
    }
    text[n > 0 ? n : 0] = '\0';
    const char *name = strrchr(text, ')'), *state = field(name, STATE);
    /* A first thread that ended before others looks so too, but for their number. */
    bool over = (*state == 'Z' || *state == 'X') && number_at(field(name, THREADS)) <= 1;
    return over ? 0 : number_at(field(name, STARTED));
}

bool pt_process_runs(int pid, uint64_t start_ticks)
{
    return start_ticks != 0 && pt_process_start_ticks(pid) == start_ticks;
}
