/* In place of jemalloc 5.3.0's header of this name: what it keeps for each thread lies where pt_jemalloc_thread() says
 * (src/memory/jemalloc_thread.c), and not in thread-local storage of the initial-exec kind, with which a library cannot
 * be loaded late. When a thread ends, tsd_cleanup() is called from there too. */
#ifdef JEMALLOC_INTERNAL_TSD_TLS_H
#error This file should be included only once, by tsd.h.
#endif
#define JEMALLOC_INTERNAL_TSD_TLS_H

/* tsd.c has one definition by this macro: what a thread's data begin as. */
#define tsd_tls tsd_begin
#define JEMALLOC_TSD_TYPE_ATTR(type)                                                                                   \
    const size_t tsd_bytes = sizeof(type);                                                                             \
    const type
extern const size_t tsd_bytes;
extern const tsd_t tsd_begin;
extern pthread_key_t tsd_tsd;
extern bool tsd_booted;

/* The same for all of a call of jemalloc's. */
void *pt_jemalloc_thread(void) __attribute__((const));

JEMALLOC_ALWAYS_INLINE bool tsd_boot0(void)
{
    tsd_booted = true;
    return false;
}

JEMALLOC_ALWAYS_INLINE void tsd_boot1(void)
{
}

JEMALLOC_ALWAYS_INLINE bool tsd_boot(void)
{
    return tsd_boot0();
}

JEMALLOC_ALWAYS_INLINE bool tsd_booted_get(void)
{
    return tsd_booted;
}

JEMALLOC_ALWAYS_INLINE bool tsd_get_allocates(void)
{
    return false;
}

JEMALLOC_ALWAYS_INLINE tsd_t *tsd_get(bool init)
{
    return (tsd_t *)pt_jemalloc_thread();
}

/* jemalloc only ever sets what it got, to be called when the thread ends. */
JEMALLOC_ALWAYS_INLINE void tsd_set(tsd_t *tsd)
{
}
