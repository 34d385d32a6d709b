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

/* Of threads that ended: a new one from the kernel, and giving it back, take 7 us. Forked children have copies. */
enum { SPARES = 16 };
static struct pt_thread_page *_Atomic spares[SPARES];

static struct pt_thread_page *take(void)
{
    for (int i = 0; i < SPARES; i++) {
        struct pt_thread_page *p = atomic_load(&spares[i]) != NULL ? atomic_exchange(&spares[i], NULL) : NULL;
        if (p != NULL) {
            p->jemalloc_ends = NULL;
            p->text[0] = '\0';
            return p;
        }
    }
    return pt_pages_scratch(PT_PAGE);
}

static void give(struct pt_thread_page *p)
{
    for (int i = 0; i < SPARES; i++) {
        struct pt_thread_page *none = NULL;
        if (atomic_compare_exchange_strong(&spares[i], &none, p)) {
            return;
        }
    }
    pt_pages_scratch_end(p, PT_PAGE);
}

static void thread_ends(void *page)
{
    struct pt_thread_page *p = page;
    if (p->jemalloc_ends != NULL) {
        p->jemalloc_ends(p->jemalloc);
    }
    mine = NULL; /* other destructors may ask again: then this one is called again, up to libc's limit of rounds */
    give(p);
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
        struct pt_thread_page *p = take();
        if (p != NULL && !watch(p)) {
            give(p);
            p = NULL;
        }
        mine = p;
    }
    return mine;
}
