/* A page for each thread that asks for one: what is too large for thread-local storage, of which a library that is
 * loaded late gets little. It comes from the kernel, not from malloc, and goes when the thread ends. */
#ifndef PT_THREAD_PAGE_H
#define PT_THREAD_PAGE_H

/* Who asked for how much of it. */
#define PT_THREAD_PAGE_TEXT     1024 /* what pintensor_last_error() answers */
#define PT_THREAD_PAGE_JEMALLOC 3008 /* memory/jemalloc_thread */

struct pt_thread_page {
    _Alignas(64) char jemalloc[PT_THREAD_PAGE_JEMALLOC];
    void (*jemalloc_ends)(void *); /* called with the above when the thread ends, unless NULL */
    char text[PT_THREAD_PAGE_TEXT];
};

/* This thread's page, its last two members zero at first; NULL if there is no memory for one. In destructors of
 * thread-specific data it may be another, newer one. */
struct pt_thread_page *pt_thread_page(void);

/* The same, but NULL if there is none yet. */
struct pt_thread_page *pt_thread_page_there(void);

#endif
