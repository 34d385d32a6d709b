#include "memory/jemalloc_thread.h"

#include "memory/thread_page.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>

/* Of scripts/jemalloc.d/tsd_tls.h, which calls pt_jemalloc_thread(); absent with an archive that has thread-local
 * storage. */
extern const size_t je_tsd_bytes __attribute__((weak, visibility("hidden")));
extern const char je_tsd_begin[] __attribute__((weak, visibility("hidden")));
extern void je_tsd_cleanup(void *) __attribute__((weak, visibility("hidden")));
void *pt_jemalloc_thread(void);

static __thread void *mine;

/* For whoever has none of his own: its users take turns. */
static char shared[PT_THREAD_PAGE_JEMALLOC] __attribute__((aligned(64)));
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static bool shared_begun;

static void *share(void)
{
    if (!shared_begun) {
        memcpy(shared, je_tsd_begin, je_tsd_bytes);
        shared_begun = true;
    }
    return shared;
}

/* jemalloc forgets the thread, so that nothing points to its page. */
static void end(void *data)
{
    mine = data;
    je_tsd_cleanup(data);
    mine = NULL;
}

static void *make(void)
{
    struct pt_thread_page *p = pt_thread_page();
    if (p == NULL) {
        return NULL;
    }
    memcpy(p->jemalloc, je_tsd_begin, je_tsd_bytes);
    p->jemalloc_ends = end;
    return p->jemalloc;
}

bool pt_jemalloc_thread_is_known(void)
{
    return &je_tsd_bytes == NULL || mine != NULL;
}

static void __attribute__((noinline, cold)) begin(void)
{
    mine = je_tsd_bytes <= PT_THREAD_PAGE_JEMALLOC ? make() : NULL;
    if (mine == NULL) {
        pthread_mutex_lock(&turn);
        mine = share();
    }
}

static void __attribute__((noinline, cold)) pass_on(void)
{
    mine = NULL;
    pthread_mutex_unlock(&turn);
}

void pt_jemalloc_thread_enter(void)
{
    if (!pt_jemalloc_thread_is_known()) {
        begin();
    }
}

void pt_jemalloc_thread_leave(void)
{
    if (mine == shared) {
        pass_on();
    }
}

/* Without enter(): a handler of fork(). */
void *pt_jemalloc_thread(void)
{
    return mine != NULL ? mine : share();
}
