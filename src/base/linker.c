#include "base/linker.h"

#include "base/elf.h"
#include "base/wait.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { YIELDS = 50, PATIENCE_MS = 100, CANDIDATES = 4 };

/* NULL: this linker's locks were not found. Then its calls are made as anybody makes them. */
static pthread_mutex_t *loading, *list;

/* ---- finding them ---- */

/* glibc does not tell where they are. They lie in ld.so's _rtld_global: recursive mutexes, first the one for loading,
 * right behind it the one for the list (so from 2.17 to 2.42). The second is the one that dl_iterate_phdr() holds, but
 * for its callback only. */
struct search {
    char *from;
    size_t len;
    pthread_mutex_t *held[CANDIDATES];
    unsigned count;
};

static bool is_recursive(const pthread_mutex_t *m)
{
    return m->__data.__kind == PTHREAD_MUTEX_RECURSIVE_NP;
}

/* Without libpthread, before 2.34, only the count is kept. */
static bool is_held(const pthread_mutex_t *m)
{
    return m->__data.__count != 0 && (m->__data.__owner == 0 || m->__data.__owner == (int)syscall(SYS_gettid));
}

static int look_inside(struct dl_phdr_info *info, size_t size, void *out)
{
    (void)info;
    (void)size;
    struct search *s = out;
    for (size_t at = sizeof *list; s->count < CANDIDATES && at + sizeof *list <= s->len; at += sizeof(void *)) {
        pthread_mutex_t *m = (pthread_mutex_t *)(s->from + at);
        if (is_recursive(m) && is_recursive(m - 1) && is_held(m)) {
            s->held[s->count++] = m;
        }
    }
    return 1;
}

static int find_globals(struct dl_phdr_info *info, size_t size, void *out)
{
    (void)size;
    struct search *s = out;
    struct pt_elf elf;
    const Elf64_Sym *globals = NULL;
    if (!pt_elf_of_headers(info->dlpi_addr, info->dlpi_phdr, info->dlpi_phnum, &elf) ||
        (globals = pt_elf_find(&elf, "_rtld_global")) == NULL) {
        return 0;
    }
    s->from = (char *)elf.base + globals->st_value;
    s->len = globals->st_size;
    return 1;
}

/* In a constructor: as a rule no other thread is in the middle of anything then. */
__attribute__((constructor(101))) static void find_locks(void)
{
    static _Atomic bool done;
    struct search s = {0};
    if (atomic_exchange(&done, true) || dl_iterate_phdr(find_globals, &s) == 0) {
        return;
    }
    (void)dl_iterate_phdr(look_inside, &s);
    for (unsigned i = 0; i < s.count; i++) {
        if (!is_held(s.held[i])) {
            loading = s.held[i] - 1;
            list = s.held[i];
        }
    }
}

/* ---- trying them ---- */

/* Before 2.34 a program without threads has no such function; nobody else holds a lock there. */
static bool no_locks(void)
{
    return list == NULL || !PT_OLD_LIBC_HAS(pthread_mutex_trylock);
}

/* `nested`: also if this thread holds it already. */
static bool try(pthread_mutex_t *m, bool nested)
{
    for (int i = 0; i < YIELDS; i++) {
        if (pthread_mutex_trylock(m) == 0) {
            if (nested || m->__data.__count == 1) {
                return true;
            }
            pthread_mutex_unlock(m);
            return false;
        }
        sched_yield();
    }
    return false;
}

/* This thread may hold it if a signal came while the list was in the making. */
bool pt_linker_list_begin(void)
{
    return no_locks() || try(list, false);
}

void pt_linker_list_end(void)
{
    if (!no_locks()) {
        pthread_mutex_unlock(list);
    }
}

/* This thread may hold it if it runs a constructor. */
bool pt_linker_begin(void)
{
    static _Atomic int patience = PATIENCE_MS;
    bool have = no_locks() || try(loading, true);
    while (!have && atomic_load(&patience) > 0 && atomic_fetch_sub(&patience, 1) > 0) {
        pt_wait_pause(1000000);
        have = try(loading, true);
    }
    return have;
}

void pt_linker_end(void)
{
    if (!no_locks()) {
        pthread_mutex_unlock(loading);
    }
}
