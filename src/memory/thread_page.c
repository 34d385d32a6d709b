#include "memory/thread_page.h"

#include "memory/pages.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

_Static_assert(sizeof(struct pt_thread_page) <= PT_PAGE, "one page");

static __thread struct pt_thread_page *mine;

/* Forked children inherit the key, and what the forking thread has by it. */
static _Atomic unsigned key_plus_1;

static void thread_ends(void *page)
{
    struct pt_thread_page *p = page;
    if (p->jemalloc_ends != NULL) {
        p->jemalloc_ends(p->jemalloc);
    }
    mine = NULL; /* other destructors may ask again: then this one is called again, up to libc's limit of rounds */
    pt_pages_scratch_end(p, PT_PAGE);
}

/* Two threads at once may make two keys: one of them is never used. */
static bool watch(struct pt_thread_page *p)
{
    unsigned seen = atomic_load(&key_plus_1);
    pthread_key_t key;
    if (seen == 0) {
        if (pthread_key_create(&key, thread_ends) != 0) {
            return false;
        }
        seen = atomic_compare_exchange_strong(&key_plus_1, &seen, key + 1) ? key + 1 : seen;
    }
    return pthread_setspecific(seen - 1, p) == 0;
}

struct pt_thread_page *pt_thread_page_there(void)
{
    return mine;
}

struct pt_thread_page *pt_thread_page(void)
{
    if (mine == NULL) {
        struct pt_thread_page *p = pt_pages_scratch(PT_PAGE);
        if (p != NULL && !watch(p)) {
            pt_pages_scratch_end(p, PT_PAGE);
            p = NULL;
        }
        mine = p;
    }
    return mine;
}
