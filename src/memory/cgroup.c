#include "memory/cgroup.h"

#include "base/kept_file.h"
#include "base/sandbox.h"
#include "base/text.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define FILE_NAME_MOST 40
#define LEVELS_MOST    16

/* How the two versions of cgroups call things. */
static const struct names {
    const char *line, *mount; /* what /proc/self/cgroup says before the path, and where that is */
    const char *most, *high, *used, *active_file, *inactive_file, *active, *inactive, *swap_most, *swap_used;
} versions[] = {{"0::", "/sys/fs/cgroup", "memory.max", "memory.high", "memory.current", "active_file", "inactive_file",
                 "active_anon", "inactive_anon", "memory.swap.max", "memory.swap.current"},
                {":memory:", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.soft_limit_none",
                 "memory.usage_in_bytes", "total_active_file", "total_inactive_file", "total_active_anon",
                 "total_inactive_anon", "memory.memsw.none", "memory.memsw.none"}};

/* The process's cgroup, or one that it lies in, which follows it. A limit may come while the program runs; what else is
 * asked of a level is opened when it has one. */
struct level {
    const struct names *names;
    size_t len; /* of its folder in state.folder */
    _Atomic bool whole;
    struct pt_kept most, high, used, stat, swap_most, swap_used;
};

/* Written by the one thread that sets up, but for what `opening` says is being written: the rest of a level's files. */
static struct {
    char folder[sizeof versions / sizeof versions[0]][1024];
    struct level level[LEVELS_MOST];
    unsigned levels;
    _Atomic bool opening;
} state;

/* ---- finding them ---- */

/* The rest of the line of /proc/self/cgroup in which `key` ends what comes before the path; false: there is none. */
static bool find_path(const char *key, struct pt_text *out)
{
    char buf[256];
    int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
    ssize_t n;
    size_t matched = 0, len = strlen(key);
    enum { BEFORE, IN_PATH, IN_ANOTHER, DONE } at = BEFORE;
    while (fd >= 0 && at != DONE && (n = read(fd, buf, sizeof buf)) > 0) {
        for (ssize_t i = 0; i < n && at != DONE; i++) {
            char one[2] = {buf[i], '\0'};
            if (one[0] == '\n') {
                at = at == IN_PATH ? DONE : BEFORE;
                matched = 0;
            } else if (at == IN_PATH) {
                pt_text_add(out, "%s", one);
            } else if (at == BEFORE && one[0] == '/') {
                at = IN_ANOTHER;
            } else if (at == BEFORE) {
                matched = one[0] == key[matched] ? matched + 1 : one[0] == key[0];
                at = matched == len ? IN_PATH : BEFORE;
            }
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return (at == IN_PATH || at == DONE) && out->len < out->cap - FILE_NAME_MOST;
}

static void keep(struct pt_kept *f, const struct level *l, const char *file)
{
    static char path[sizeof state.folder[0]]; /* small stacks; one thread at a time comes here */
    memcpy(path, state.folder[l->names - versions], l->len);
    path[l->len] = '/';
    strcpy(path + l->len + 1, file);
    pt_kept_file_open(f, path);
}

/* In version 1 no limit is a number beyond all memory. */
static bool read_limit(const struct pt_kept *f, uint64_t *bytes)
{
    return pt_kept_file_number(f, "", bytes) && *bytes >> 60 == 0;
}

bool pt_cgroup_limit(unsigned level, uint64_t *bytes)
{
    return read_limit(&state.level[level].most, bytes);
}

bool pt_cgroup_throttle(unsigned level, uint64_t *bytes)
{
    return read_limit(&state.level[level].high, bytes);
}

static void open_rest(struct level *l)
{
    if (!atomic_load(&l->whole)) {
        keep(&l->used, l, l->names->used);
        keep(&l->stat, l, "memory.stat");
        keep(&l->swap_most, l, l->names->swap_most);
        keep(&l->swap_used, l, l->names->swap_used);
        atomic_store(&l->whole, true);
    }
}

/* Whether all that is asked of a level with a limit is open. For its file cache its process's own is asked too. */
static bool is_whole(unsigned level)
{
    struct level *l = &state.level[level], *own = &state.level[0];
    uint64_t bytes;
    if (atomic_load(&l->whole)) {
        return true;
    }
    if (!pt_cgroup_limit(level, &bytes) && !pt_cgroup_throttle(level, &bytes)) {
        return false;
    }
    while (own->names != l->names) {
        own++;
    }
    if (pt_sandbox_may_open() && !atomic_exchange(&state.opening, true)) {
        open_rest(own);
        open_rest(l);
        atomic_store(&state.opening, false);
    }
    return atomic_load(&l->whole);
}

/* The root of a machine's cgroups has no such files. */
static void keep_level(const struct names *names, size_t len)
{
    struct level *l = &state.level[state.levels];
    *l = (struct level){.names = names, .len = len};
    keep(&l->most, l, names->most);
    keep(&l->high, l, names->high);
    state.levels += l->most.fd > 0 || l->high.fd > 0;
}

/* A limit may lie on any level, up to the root of what is mounted, which in a container is a cgroup like others. */
static void keep_levels(const struct names *names)
{
    char *folder = state.folder[names - versions];
    size_t mount = strlen(names->mount);
    struct pt_text t;
    pt_text_init(&t, folder, sizeof state.folder[0], -1);
    pt_text_add(&t, "%s", names->mount);
    if (!find_path(names->line, &t)) {
        return;
    }
    size_t len = strlen(folder);
    len -= folder[len - 1] == '/'; /* its path is "/" */
    while (len >= mount && state.levels < LEVELS_MOST) {
        keep_level(names, len);
        while (folder[--len] != '/') {
        }
    }
}

void pt_cgroup_init(void)
{
    keep_levels(&versions[0]);
    keep_levels(&versions[1]);
    for (unsigned i = 0; i < state.levels; i++) {
        (void)is_whole(i);
    }
}

void pt_cgroup_init_child(void)
{
    atomic_store(&state.opening, false); /* by a thread of the parent's */
}

/* ---- asking them ---- */

unsigned pt_cgroup_levels(void)
{
    return state.levels;
}

/* The kernel is behind with the sums over a level and those below it, by up to 2 s and any amount: it takes changes
 * below for counted that it has not passed on (memcg_rstat_updated). So what a level below has stands for it too. */
static uint64_t file_cache(unsigned level)
{
    uint64_t cache = 0;
    for (unsigned i = 0; i <= level; i++) {
        const struct level *l = &state.level[i];
        if (l->names == state.level[level].names && atomic_load(&l->whole)) {
            uint64_t its = pt_kept_file_number_or_0(&l->stat, l->names->active_file) +
                           pt_kept_file_number_or_0(&l->stat, l->names->inactive_file) +
                           pt_kept_file_number_or_0(
                               &l->stat, "slab_reclaimable"); /* names and sizes of files; version 1 does not tell */
            cache = its > cache ? its : cache;
        }
    }
    return cache;
}

bool pt_cgroup_used(unsigned level, uint64_t *bytes)
{
    if (!is_whole(level) || !pt_kept_file_number(&state.level[level].used, "", bytes)) {
        return false;
    }
    uint64_t cache = file_cache(level);
    *bytes = *bytes > cache ? *bytes - cache : 0;
    return true;
}

uint64_t pt_cgroup_anonymous(unsigned level)
{
    const struct level *l = &state.level[level];
    return pt_kept_file_number_or_0(&l->stat, l->names->active) +
           pt_kept_file_number_or_0(&l->stat, l->names->inactive);
}

bool pt_cgroup_swap(unsigned level, uint64_t *bytes)
{
    const struct level *l = &state.level[level];
    if (!pt_kept_file_number(&l->swap_most, "", bytes)) {
        return false;
    }
    uint64_t used = pt_kept_file_number_or_0(&l->swap_used, "");
    *bytes = *bytes > used ? *bytes - used : 0;
    return true;
}
