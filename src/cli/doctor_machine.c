/* What there is to be had: memory, its cgroups, the kernel's help with pages. */
#include "cli/doctor.h"

#include "cli/limits.h"
#include "memory/pages.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>

#define LITTLE ((uint64_t)64 << 20) /* with less a job does not even begin */

#define HUGE_PAGES "/sys/kernel/mm/transparent_hugepage/"

enum pt_doctor_state pt_doctor_memory(struct pt_doctor_finding *f)
{
    uint64_t available = pt_limits_available(), total = pt_limits_total();
    if (total == 0) {
        pt_text_add(&f->words, "/proc/meminfo cannot be read");
        return PT_DOCTOR_NOTE;
    }
    pt_text_add(&f->words, "%B available of %B", (size_t)available, (size_t)total);
    f->most = available;
    return available < LITTLE ? PT_DOCTOR_STOPS : PT_DOCTOR_OK;
}

enum pt_doctor_state pt_doctor_cgroup(struct pt_doctor_finding *f)
{
    struct pt_limits_cgroup c;
    bool limited = pt_limits_cgroup(&c);
    if (limited) {
        pt_text_add(&f->words, "%B free of %B, by %s in %s", (size_t)c.room, (size_t)c.limit, c.file, c.folder);
        f->most = c.room;
    } else {
        pt_text_add(&f->words, "no limit");
    }
    if (c.high != UINT64_MAX && (!limited || c.high < c.limit)) {
        pt_text_add(&f->words, "; from %B on (memory.high) the kernel slows the job down", (size_t)c.high);
    }
    return limited && c.room < LITTLE                               ? PT_DOCTOR_STOPS
           : c.high != UINT64_MAX && (!limited || c.high < c.limit) ? PT_DOCTOR_NOTE
                                                                    : PT_DOCTOR_OK;
}

/* "always [madvise] never": the word in brackets. */
static bool read_choice(const char *path, char *word, size_t cap)
{
    char line[256];
    if (!pt_limits_line(path, line, sizeof line) || strchr(line, '[') == NULL) {
        return false;
    }
    const char *begins = strchr(line, '[') + 1;
    size_t len = strcspn(begins, "]");
    len = len < cap ? len : cap - 1;
    memcpy(word, begins, len);
    word[len] = '\0';
    return true;
}

/* MADV_HUGEPAGE needs more than never; MADV_COLLAPSE makes them of shared memory wherever it is not denied. */
enum pt_doctor_state pt_doctor_huge_pages(struct pt_doctor_finding *f)
{
    char own[32], shared[32];
    if (!read_choice(HUGE_PAGES "enabled", own, sizeof own)) {
        pt_text_add(&f->words, "the kernel has none that it makes by itself: locking takes 3 to 6 times as long");
        return PT_DOCTOR_NOTE;
    }
    bool known = read_choice(HUGE_PAGES "shmem_enabled", shared, sizeof shared);
    pt_text_add(&f->words, "enabled: %s, shmem_enabled: %s", own, known ? shared : "not there");
    if (strcmp(own, "never") == 0 || (known && strcmp(shared, "deny") == 0)) {
        pt_text_add(&f->words, ": locking takes 3 to 6 times as long");
        return PT_DOCTOR_NOTE;
    }
    return PT_DOCTOR_OK;
}

/* What it does not know it refuses even of no memory at all. */
static bool knows(int advice)
{
    return madvise((void *)0, 0, advice) == 0;
}

enum pt_doctor_state pt_doctor_kernel(struct pt_doctor_finding *f)
{
    struct utsname name;
    bool populates = knows(MADV_POPULATE_WRITE), collapses = knows(MADV_COLLAPSE);
    pt_text_add(&f->words, "%s", uname(&name) == 0 ? name.release : "unknown");
    if (!populates || !collapses) {
        pt_text_add(&f->words, ", without %s%s%s", populates ? "" : "MADV_POPULATE_WRITE",
                    populates || collapses ? "" : " and ", collapses ? "" : "MADV_COLLAPSE");
        return PT_DOCTOR_NOTE;
    }
    return PT_DOCTOR_OK;
}
