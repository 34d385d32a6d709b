#include "memory/segments.h"

#include "base/options.h"
#include "device/driver.h"
#include "memory/book.h"
#include "memory/pages.h"
#include "memory/pin.h"
#include "memory/small_chunk.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* Segments are locked ahead of need by a sixteenth of what is locked already, within these bounds: few
 * system calls for big heaps, little waste for small ones. */
#define AHEAD_LEAST ((size_t)64 << 10)
#define AHEAD_MOST  PT_HUGE

/* Each hole in the locked segments costs two of the 65,530 mappings that the kernel allows. */
#define HOLES_MOST 8192

static struct {
    pthread_mutex_t mutex; /* guards all that is not atomic; taken under jemalloc's locks */
    char *base;
    /* The SMALL region is locked up to here, holes excepted. Written with the mutex; the end of the process reads it
     * without, since whoever has the mutex may never let go. */
    _Atomic(char *) locked;
    uint8_t *page; /* what each page of the SMALL region is: the book's */
    struct pt_book book;
    size_t holes;   /* separate runs of HOLE pages */
    bool registers; /* what was locked last is a chunk */
    _Atomic size_t small_locked;
    _Atomic size_t small_spare; /* written with the mutex, read without: the budget must not wait for a lock */
} state = {.mutex = PTHREAD_MUTEX_INITIALIZER};

enum { USED = PT_PAGE_USED, FREE = PT_PAGE_FREE, HOLE = PT_PAGE_HOLE };

int pt_segments_init(void)
{
    int error = pt_windows_init(pt_driver_in_use() && !pt_driver_refuses());
    if (error != 0) {
        return error;
    }
    const struct pt_range *range = pt_windows_range();
    static struct pt_book chunks; /* small, and looked at without a lock: opened at once */
    if (pt_book_init(&state.book, range->small / PT_PAGE + 1) != 0 ||
        pt_book_init(&chunks, pt_small_chunk_book(range->small)) != 0 || pt_book_open(&state.book, 1) != 0 ||
        pt_book_open(&chunks, pt_small_chunk_book(range->small)) != 0) {
        return -ENOMEM;
    }
    pthread_mutex_init(&state.mutex, NULL); /* in a forked child another thread may have held it */
    state.base = range->base;
    state.locked = range->base;
    state.page = state.book.base;
    pt_small_chunk_init(range->base, state.page, chunks.base);
    state.holes = 0;
    state.registers = false;
    atomic_store(&state.small_locked, 0);
    atomic_store(&state.small_spare, 0);
    return 0;
}

const struct pt_range *pt_segments_range(void)
{
    return pt_windows_range();
}

static int lock_up_to(char *need)
{
    size_t ahead = atomic_load(&state.small_locked) / 16 & ~(PT_PAGE - 1);
    ahead = ahead < AHEAD_LEAST ? AHEAD_LEAST : ahead > AHEAD_MOST ? AHEAD_MOST : ahead;
    char *opened = pt_windows_end(), *want = need + ahead < opened ? need + ahead : opened;
    /* Near a limit the part that is needed may still fit when the part ahead does not. */
    for (char *end = want;; end = need) {
        size_t len = (size_t)(end - state.locked);
        int error = pt_pin_acquire(state.locked, len);
        if (error == 0) {
            state.locked = end;
            atomic_fetch_add(&state.small_locked, len);
            return 0;
        }
        if (end == need) {
            return error;
        }
    }
}

/* What was locked ahead and not handed out, which is all from `next` on; a chunk stays as it is. */
static void unlock_ahead(char *next)
{
    if (!state.registers && state.locked > next) {
        size_t len = (size_t)(state.locked - next);
        if (!pt_pin_release(next, len)) {
            return;
        }
        state.locked = next;
        atomic_fetch_sub(&state.small_locked, len);
    }
}

static size_t number_of(const void *p)
{
    return (size_t)((const char *)p - state.base) / PT_PAGE;
}

static char *address_of(size_t page)
{
    return state.base + page * PT_PAGE;
}

/* The chunk around `p` is locked again, if it went back. */
static int restore_chunk(const char *p)
{
    long more = pt_small_chunk_restore(p);
    if (more > 0) {
        atomic_fetch_add(&state.small_locked, (size_t)more);
    }
    return more < 0 ? (int)more : 0;
}

/* Addresses in the SMALL region, with the book of their pages. Where windows do not follow one another, what was locked
 * ahead in the last one is unlocked again. */
static char *find(size_t size, size_t align)
{
    char *next = pt_windows_next(), *p = pt_windows_find(size, align);
    if (state.locked < pt_windows_stretch()) {
        unlock_ahead(next);
        state.registers = false;
        state.locked = pt_windows_stretch();
    }
    return p != NULL && pt_book_open(&state.book, number_of(pt_windows_end()) + 1) == 0 ? p : NULL;
}

/* From the chunk that is being handed out, or from a new one. */
static char *take_registered(size_t size, size_t align)
{
    char *next = pt_windows_next(), *p = (char *)pt_pages_up((uintptr_t)next, align);
    int error = state.registers && p + size <= state.locked ? restore_chunk(p) : -EAGAIN;
    if (error == -EAGAIN) {
        size_t len = pt_pages_up(size, PT_HUGE);
        pt_windows_take(state.registers ? state.locked : next); /* past a chunk that is on its way out */
        p = find(len, align > PT_HUGE ? align : PT_HUGE);
        unlock_ahead(pt_windows_next());
        if (p == NULL || (error = pt_small_chunk_add(p, len)) != 0) {
            pt_windows_take(next);
            return NULL;
        }
        state.registers = true;
        state.locked = p + len;
        atomic_fetch_add(&state.small_locked, len);
    }
    if (error != 0) {
        return NULL;
    }
    memset(&state.page[number_of(p)], USED, size / PT_PAGE);
    return p;
}

static char *take_mlocked(size_t size, size_t align)
{
    if (state.registers) { /* the rest of the chunk stays unused: no block may lie across its end */
        pt_windows_take(state.locked);
        state.registers = false;
    }
    char *p = find(size, align);
    return p == NULL || (p + size > state.locked && lock_up_to(p + size) != 0) ? NULL : p;
}

void *pt_segments_take_small(size_t size, size_t align)
{
    pthread_mutex_lock(&state.mutex);
    char *p = pt_driver_registers() ? take_registered(size, align) : NULL;
    if (p == NULL) {
        p = take_mlocked(size, align);
    }
    if (p != NULL) {
        pt_windows_take(p + size);
    }
    atomic_store(&state.small_spare, state.registers ? (size_t)(state.locked - pt_windows_next()) : 0);
    pthread_mutex_unlock(&state.mutex);
    return p;
}

void *pt_segments_take_exact(size_t size)
{
    pthread_mutex_lock(&state.mutex);
    char *p = pt_windows_take_exact(pt_pages_up(size, PT_HUGE));
    pthread_mutex_unlock(&state.mutex);
    return p;
}

void pt_segments_give_exact(void *p)
{
    pthread_mutex_lock(&state.mutex);
    pt_windows_give_exact(p);
    pthread_mutex_unlock(&state.mutex);
}

int pt_segments_open(void *p, size_t len)
{
    pthread_mutex_lock(&state.mutex);
    int error = pt_windows_open(p, len);
    pthread_mutex_unlock(&state.mutex);
    return error;
}

int pt_segments_plain(void *p, size_t len)
{
    return pt_pages_plain(p, len, pt_option(PT_OPTION_DUMP) == PT_DUMP_ON);
}

bool pt_segments_is_open(const void *p)
{
    return pt_windows_is_open(p);
}

size_t pt_segments_stride(void)
{
    enum { LEAST = 16 << 20, MOST = 1 << 30 };
    const struct pt_range *r = pt_windows_range();
    size_t some = (r->size - r->small) / 16 & ~(PT_HUGE - 1);
    if (pt_pages_is_shared(r->base)) { /* which are opened whole */
        some = pt_pages_up(pt_windows_opened() / 16, PT_HUGE);
        some = some < LEAST ? LEAST : some;
    }
    return some < MOST ? some : MOST;
}

/* How many of a run's two neighbours are holes: making the run one joins them, taking it out of one parts them. */
static size_t holes_beside(size_t first, size_t end)
{
    return (size_t)(first > 0 && state.page[first - 1] == HOLE) + (state.page[end] == HOLE);
}

static size_t end_of_run(size_t first, size_t most, uint8_t what)
{
    while (first < most && state.page[first] == what) {
        first++;
    }
    return first;
}

static int fill_holes(size_t first, size_t end)
{
    int error = 0;
    for (size_t at = first; at < end && error == 0;) {
        size_t run = end_of_run(at, end, HOLE), n = (run - at) * PT_PAGE;
        if (n > 0 && (error = pt_pin_acquire(address_of(at), n)) == 0) {
            state.holes += holes_beside(at, run);
            state.holes--;
            memset(&state.page[at], FREE, run - at);
            atomic_fetch_add(&state.small_locked, n);
        }
        at = end_of_run(end_of_run(run, end, FREE), end, USED);
    }
    return error;
}

/* Chunks need no lock but their registration. */
static void lock_run_again(size_t first, size_t end)
{
    for (size_t at = first, next; at < end; at = next) {
        next = (at / (PT_HUGE / PT_PAGE) + 1) * (PT_HUGE / PT_PAGE);
        next = next < end ? next : end;
        if (!pt_small_chunk_holds(address_of(at))) {
            (void)pt_pages_lock_again(address_of(at), (next - at) * PT_PAGE);
        }
    }
}

int pt_segments_relock(void *p, size_t len)
{
    size_t first = number_of(p), end = first + len / PT_PAGE;
    pthread_mutex_lock(&state.mutex);
    int error = pt_small_chunk_holds(p) ? restore_chunk(p) : fill_holes(first, end);
    if (error == 0) {
        memset(&state.page[first], USED, end - first);
    }
    pthread_mutex_unlock(&state.mutex);
    return error;
}

/* Makes a run of FREE pages a hole, if the number of holes allows. */
static void make_hole(size_t first, size_t end)
{
    size_t beside = holes_beside(first, end), n = (end - first) * PT_PAGE;
    if (state.holes + 1 - beside > HOLES_MOST || !pt_pin_release(address_of(first), n)) {
        return; /* a later sweep tries again */
    }
    memset(&state.page[first], HOLE, end - first);
    state.holes += 1 - beside;
    atomic_fetch_sub(&state.small_locked, n);
}

/* Where the lock of a run's first page ends, or the run. */
static size_t end_of_lock(size_t first, size_t end)
{
    for (size_t at = pt_pages_up(first + 1, PT_HUGE / PT_PAGE); at < end; at += PT_HUGE / PT_PAGE) {
        if (!pt_small_chunk_joined(address_of(at))) {
            return at;
        }
    }
    return end;
}

/* Gives a run of FREE pages back, as far as their lock allows. The mutex is let go meanwhile for a chunk: taking it back
 * may have to wait for the device, and nobody is to wait along. */
static void give_back(size_t first, size_t end)
{
    char *start;
    if (!pt_small_chunk_holds(address_of(first))) {
        make_hole(first, end);
        return;
    }
    size_t len = pt_small_chunk_leave(address_of(first), &start);
    if (len > 0) {
        pthread_mutex_unlock(&state.mutex);
        pt_pin_unregister(start, len);
        pthread_mutex_lock(&state.mutex);
        pt_small_chunk_gone(start, len);
        atomic_fetch_sub(&state.small_locked, len);
    }
}

void pt_segments_unlock(void *p, size_t len)
{
    size_t first = number_of(p), end = first + len / PT_PAGE;
    pthread_mutex_lock(&state.mutex);
    memset(&state.page[first], FREE, end - first);
    if (!pt_small_chunk_holds(
            p)) { /* a chunk is a sweep's: taking it back waits for the device, and jemalloc's locks are held here */
        make_hole(first, end);
    }
    pthread_mutex_unlock(&state.mutex);
}

void pt_segments_sweep(bool registered_too)
{
    pthread_mutex_lock(&state.mutex);
    size_t most = number_of(pt_windows_next());
    most = pt_book_has(&state.book, most) ? most : atomic_load(&state.book.opened);
    for (size_t at = 0; at < most;) {
        uint8_t what = state.page[at];
        size_t end = end_of_lock(at, end_of_run(at, most, what));
        if (what == FREE && (registered_too || !pt_small_chunk_holds(address_of(at)))) {
            give_back(at, end);
        }
        at = end;
    }
    pthread_mutex_unlock(&state.mutex);
}

void pt_segments_unlock_ahead(void)
{
    pthread_mutex_lock(&state.mutex);
    unlock_ahead(pt_windows_next());
    pthread_mutex_unlock(&state.mutex);
}

void pt_segments_register_again(void)
{
    pthread_mutex_lock(&state.mutex);
    pt_small_chunk_register_again(state.locked);
    pthread_mutex_unlock(&state.mutex);
}

/* No lock: whoever asks holds a block there, and its chunk is what it is as long as that lives. */
bool pt_segments_registered(const void *p)
{
    return (size_t)((const char *)p - state.base) < pt_windows_range()->small && pt_small_chunk_holds(p);
}

bool pt_segments_joined(const void *border)
{
    return pt_small_chunk_joined(border); /* no lock: what lies on either side was handed out long since */
}

size_t pt_segments_small_spare(void)
{
    return atomic_load(&state.small_spare);
}

size_t pt_segments_small_locked(void)
{
    return atomic_load(&state.small_locked);
}

void pt_segments_lock_again(void)
{
    pthread_mutex_lock(&state.mutex);
    size_t most = number_of(state.locked);
    most = pt_book_has(&state.book, most) ? most : atomic_load(&state.book.opened);
    for (size_t at = 0; at < most;) {
        size_t end = end_of_run(at, most, state.page[at]);
        if (state.page[at] <= FREE) {
            lock_run_again(at, end);
        }
        at = end;
    }
    pthread_mutex_unlock(&state.mutex);
}

void pt_segments_unlock_all(void)
{
    pt_pages_unlock_keep(state.base, (size_t)(state.locked - state.base));
}
