#include "memory/segments.h"

#include "device/driver.h"
#include "memory/pages.h"
#include "memory/pin.h"
#include "memory/small_chunk.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>

/* Address space is free; MemTotal is no guide to it, since virtual machines grow. */
#define RANGE_LARGEST  ((size_t)4 << 40)
#define RANGE_SMALLEST ((size_t)256 << 20)

/* Segments are locked ahead of need by a sixteenth of what is locked already, within these bounds: few
 * system calls for big heaps, little waste for small ones. */
#define AHEAD_LEAST ((size_t)64 << 10)
#define AHEAD_MOST  PT_HUGE

#define OPEN_STEP ((size_t)4 << 20)

/* Each hole in the locked segments costs two of the 65,530 mappings that the kernel allows. */
#define HOLES_MOST 8192

static struct {
    pthread_mutex_t mutex; /* guards all that is not atomic; taken under jemalloc's locks */
    struct pt_range range;
    char *next[2], *opened[2], *end[2];
    char *locked;   /* the SMALL region is locked up to here, holes excepted */
    uint8_t *page;  /* what each page of the SMALL region is */
    size_t holes;   /* separate runs of HOLE pages */
    bool registers; /* what was locked last is a chunk */
    _Atomic size_t small_locked;
} state = {.mutex = PTHREAD_MUTEX_INITIALIZER};

enum { SMALL, EXACT };

enum { USED = PT_PAGE_USED, FREE = PT_PAGE_FREE, HOLE = PT_PAGE_HOLE };

/* Under an address-space limit the program needs its share too: half of what is left is ours at most. */
static size_t largest_range(void)
{
    struct rlimit limit;
    uint64_t used_kib = 0;
    size_t size = RANGE_LARGEST;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        return size;
    }
    (void)pt_text_proc_number("/proc/self/status", "VmSize", &used_kib);
    size_t used = (size_t)used_kib << 10, left = limit.rlim_cur > used ? limit.rlim_cur - used : 0;
    while (size > RANGE_SMALLEST && size > left / 2) {
        size /= 2;
    }
    return size;
}

/* Under strict accounting shared memory is charged when it is mapped, and the range would take what others need. */
static bool charged_ahead(void)
{
    uint64_t how = 0;
    (void)pt_text_proc_number("/proc/sys/vm/overcommit_memory", "", &how);
    return how == 2;
}

int pt_segments_init(void)
{
    size_t size = largest_range();
    char *base = NULL;
    bool shared = pt_driver_in_use() && !pt_driver_refuses() && !charged_ahead();
    while (size >= RANGE_SMALLEST && (base = shared ? pt_pages_reserve_shared(size) : pt_pages_reserve(size)) == NULL) {
        size /= 2;
    }
    if (base == NULL) {
        return -ENOMEM;
    }
    size_t pages = pt_pages_up(size / 16 / PT_PAGE + 1, PT_PAGE);
    size_t book = pt_pages_up(pt_small_chunk_book(size / 16), PT_PAGE);
    uint8_t *page = pt_pages_reserve(pages + book);
    if (page == NULL || pt_pages_open(page, pages + book) != 0) {
        return -ENOMEM;
    }
    pt_small_chunk_init(base, page, page + pages);
    pthread_mutex_init(&state.mutex, NULL); /* in a forked child another thread may have held it */
    state.range = (struct pt_range){.base = base, .small = size / 16, .size = size};
    state.next[SMALL] = state.opened[SMALL] = state.locked = base;
    state.next[EXACT] = state.opened[EXACT] = state.end[SMALL] = base + size / 16;
    state.end[EXACT] = base + size;
    state.page = page;
    state.holes = 0;
    state.registers = false;
    atomic_store(&state.small_locked, 0);
    return 0;
}

const struct pt_range *pt_segments_range(void)
{
    return &state.range;
}

/* Addresses for `size` bytes in the region, readable and writable, not yet taken. */
static char *find(int region, size_t size, size_t align)
{
    char *p = state.next[region] + (-(size_t)state.next[region] & (align - 1));
    if (p > state.end[region] || size > (size_t)(state.end[region] - p)) {
        return NULL;
    }
    if (p + size > state.opened[region]) {
        size_t more = pt_pages_up((size_t)(p + size - state.opened[region]), OPEN_STEP);
        size_t left = (size_t)(state.end[region] - state.opened[region]);
        more = more < left ? more : left;
        if (pt_pages_open(state.opened[region], more) != 0) {
            return NULL;
        }
        pt_pages_want_huge(state.opened[region], more);
        state.opened[region] += more;
    }
    return p;
}

static int lock_up_to(char *need)
{
    size_t ahead = atomic_load(&state.small_locked) / 16 & ~(PT_PAGE - 1);
    ahead = ahead < AHEAD_LEAST ? AHEAD_LEAST : ahead > AHEAD_MOST ? AHEAD_MOST : ahead;
    char *want = need + ahead < state.opened[SMALL] ? need + ahead : state.opened[SMALL];
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

/* What was locked ahead and not handed out; a chunk stays as it is. */
static void unlock_ahead(void)
{
    if (!state.registers && state.locked > state.next[SMALL]) {
        size_t len = (size_t)(state.locked - state.next[SMALL]);
        pt_pin_release(state.next[SMALL], len);
        state.locked -= len;
        atomic_fetch_sub(&state.small_locked, len);
    }
}

static size_t number_of(const void *p)
{
    return (size_t)((const char *)p - state.range.base) / PT_PAGE;
}

static char *address_of(size_t page)
{
    return state.range.base + page * PT_PAGE;
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

/* From the chunk that is being handed out, or from a new one. */
static char *take_registered(size_t size, size_t align)
{
    char *p = (char *)pt_pages_up((uintptr_t)state.next[SMALL], align);
    int error = state.registers && p + size <= state.locked ? restore_chunk(p) : -EAGAIN;
    if (error == -EAGAIN) {
        size_t len = pt_pages_up(size, PT_HUGE);
        char *next = state.next[SMALL];
        state.next[SMALL] = state.registers ? state.locked : next; /* past a chunk that is on its way out */
        p = find(SMALL, len, align > PT_HUGE ? align : PT_HUGE);
        unlock_ahead();
        if (p == NULL || (error = pt_small_chunk_add(p, len)) != 0) {
            state.next[SMALL] = next;
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
        state.next[SMALL] = state.locked;
        state.registers = false;
    }
    char *p = find(SMALL, size, align);
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
        state.next[SMALL] = p + size;
    }
    pthread_mutex_unlock(&state.mutex);
    return p;
}

void *pt_segments_take_exact(size_t size, size_t align)
{
    pthread_mutex_lock(&state.mutex);
    char *p = find(EXACT, size, align);
    if (p != NULL) {
        state.next[EXACT] = p + size;
    }
    pthread_mutex_unlock(&state.mutex);
    return p;
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
    if (state.holes + 1 - beside > HOLES_MOST) {
        return;
    }
    pt_pin_release(address_of(first), n);
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
    size_t most = number_of(state.next[SMALL]);
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
    unlock_ahead();
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
    return (size_t)((const char *)p - state.range.base) < state.range.small && pt_small_chunk_holds(p);
}

bool pt_segments_joined(const void *border)
{
    return pt_small_chunk_joined(border); /* no lock: what lies on either side was handed out long since */
}

size_t pt_segments_small_spare(void)
{
    return state.registers ? (size_t)(state.locked - state.next[SMALL]) : 0;
}

size_t pt_segments_small_locked(void)
{
    return atomic_load(&state.small_locked);
}

void pt_segments_unlock_all(void)
{
    size_t len = (size_t)(state.locked - state.range.base);
    pt_pages_unlock_keep(state.range.base, len);
}
