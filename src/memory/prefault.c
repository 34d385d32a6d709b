#include "memory/prefault.h"

#include "base/sandbox.h"
#include "base/thread.h"
#include "memory/pages.h"

#include <sched.h>

#define THREADS_MOST 16
#define PART_LEAST ((size_t)32 << 20)

struct part {
    pthread_t thread;
    void *p;
    size_t len;
};

/* An older kernel says EINVAL, and a lock that follows does the touching. */
static void *touch(void *argument)
{
    const struct part *part = argument;
    if (pt_pages_is_shared(part->p)) {
        pt_pages_make_huge(part->p, part->len);
    }
    pt_pages_make_present(part->p, part->len);
    return NULL;
}

/* One, where the program could be killed for asking. */
static size_t processors(void)
{
    cpu_set_t set;
    if (pt_sandbox_entered()) {
        return 1;
    }
    CPU_ZERO(&set);
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < THREADS_MOST ? (size_t)n : THREADS_MOST;
}

void pt_prefault(void *p, size_t len)
{
    if (len < PT_HUGE) {
        return;
    }
    struct part parts[THREADS_MOST];
    size_t count = len / PART_LEAST > 1 ? processors() : 1;
    count = count < len / PART_LEAST ? count : len / PART_LEAST;
    if (count < 2) {
        struct part whole = {.p = p, .len = len};
        if (pt_pages_is_shared(p)) {
            (void)touch(&whole);
        }
        return; /* the lock itself does as well, but for huge pages of shared memory */
    }
    size_t each = pt_pages_up(len / count, PT_HUGE), made = 0, done = 0;
    for (; made < count - 1 && done + each < len; made++, done += each) {
        parts[made] = (struct part){.p = (char *)p + done, .len = each};
        if (!pt_thread_start(&parts[made].thread, touch, &parts[made])) {
            break;
        }
    }
    struct part rest = {.p = (char *)p + done, .len = len - done};
    (void)touch(&rest);
    for (size_t i = 0; i < made; i++) {
        pthread_join(parts[i].thread, NULL);
    }
}
