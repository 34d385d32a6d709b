#include "manager.h"

#include "account.h"
#include "arena.h"
#include "cache.h"
#include "device.h"
#include "growth.h"
#include "idle.h"
#include "lock.h"
#include "log.h"
#include "misuse.h"
#include "options.h"
#include "pages.h"
#include "pressure.h"
#include "process.h"
#include "python.h"
#include "site.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Up to 8 MiB a block gets its own locked pages only while few do, since each may cost two mappings of the 65,530
 * that the kernel allows; past that many, such blocks share segments. Larger ones are always exact. */
#define EXACT_ALWAYS ((size_t)8 << 20)
#define EXACT_FEW 12000

/* Free bytes that the small region may hold before it is worth purging. */
#define SMALL_SLACK ((size_t)1 << 20)

#define MANAGERS_MOST 1024

static struct {
    pthread_mutex_t mutex;
    struct {
        const void *key;
        uint32_t number;
    } managers[MANAGERS_MOST];
    uint32_t managers_used, manager_last;
    uint64_t serial;
    uint32_t epoch;                        /* how often this was reset: in forked children */
    _Atomic size_t exact_few;              /* live or cached exact blocks below EXACT_ALWAYS */
    size_t exact_live, small_live;         /* locked bytes of live blocks in either region */
    size_t pending;                        /* exact bytes that threads are locking at this moment */
    size_t small_unused;                   /* at the latest tick, and */
    unsigned small_unchanged;              /* how many ticks it has been that */
    size_t small_purged_at;                /* the small region's locked bytes when it was last purged */
    _Atomic bool exiting;
} state = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static __thread int last_failure; /* errno of this thread's last failed allocation */

static void lock(void)
{
    pthread_mutex_lock(&state.mutex);
}

static void unlock(void)
{
    pthread_mutex_unlock(&state.mutex);
}

/* gettid() costs as much as all the rest of a reuse, so each thread remembers it; a forked child starts anew. */
static uint32_t thread_id(void)
{
    static __thread struct {
        uint32_t epoch, id;
    } mine;
    if (mine.epoch != state.epoch) {
        mine.epoch = state.epoch;
        mine.id = (uint32_t)syscall(SYS_gettid);
    }
    return mine.id;
}

void pt_manager_reset(void)
{
    state.epoch++;
    pthread_mutex_init(&state.mutex, NULL);
    memset(state.managers, 0, sizeof state.managers);
    state.managers_used = 0;
    state.exact_few = state.exact_live = state.small_live = state.small_purged_at = state.pending = 0;
    state.small_unused = state.small_unchanged = 0;
    state.exiting = false;
    pt_cache_init();
}

uint32_t pt_manager_new(void)
{
    lock();
    uint32_t number = ++state.manager_last;
    unlock();
    return number;
}

/* Where the key is, or a free place, or MANAGERS_MOST. With the lock held. */
static uint32_t place_of(const void *key)
{
    uint32_t free_place = MANAGERS_MOST;
    for (uint32_t i = 0; i < state.managers_used; i++) {
        if (state.managers[i].key == key) {
            return i;
        }
        if (state.managers[i].key == NULL) {
            free_place = i;
        }
    }
    return free_place < MANAGERS_MOST ? free_place : state.managers_used;
}

uint32_t pt_manager_of(const void *key, bool make)
{
    uint32_t number = 0;
    if (!pt_process_owns()) {
        return 0; /* a forked child: the lock may be a lost thread's, the keys are its parent's */
    }
    lock();
    uint32_t place = place_of(key);
    if (place < MANAGERS_MOST) { /* late comers past that are still served, but not told apart */
        bool known = place < state.managers_used && state.managers[place].key == key;
        if (!known && make) {
            state.managers_used += place == state.managers_used;
            state.managers[place].key = key;
            state.managers[place].number = ++state.manager_last;
        }
        number = known || make ? state.managers[place].number : 0;
    }
    unlock();
    return number;
}

/* ---- room: the cache lives in the room under the peak ---- */

static bool room_exceeded(void)
{
    const struct pt_counters *c = &pt_table()->counters;
    size_t live = state.exact_live + state.small_live + state.pending;
    size_t peak = live > c->peak_locked ? live : c->peak_locked;
    size_t locked = state.exact_live + state.pending + pt_cache_bytes() + pt_segment_small_locked() -
                    pt_segment_small_spare();
    return locked > peak + peak / 20;
}

/* Takes blocks out of the cache until the rest fits, chained by `next`. With the lock held. */
static uint32_t choose_victims(void)
{
    uint32_t victims = 0, number;
    while (room_exceeded() && (number = pt_cache_take_oldest(UINT64_MAX)) != 0) {
        pt_table_record(number)->next = victims;
        victims = number;
    }
    pt_table()->counters.cached_locked = pt_cache_bytes();
    return victims;
}

/* Gives blocks of the exact region back for good; returns their bytes. Without the lock: nobody else knows them. */
static size_t destroy(uint32_t number)
{
    size_t bytes = 0;
    while (number != 0) {
        struct pt_record *r = pt_table_record(number);
        uint32_t next = r->next;
        bytes += r->locked;
        pt_table_unindex(number);
        if ((r->flags & PT_PAGEABLE) != 0) {
            pt_pages_unlock((void *)r->base, pt_pages_up(r->asked, PT_PAGE));
        } else {
            pt_lock_drop((void *)r->base, r->locked, (r->flags & PT_REGISTERED) != 0);
        }
        pt_arena_exact_free((void *)r->base);
        lock();
        state.exact_few -= r->capacity < EXACT_ALWAYS;
        pt_table_give_record(number);
        unlock();
        number = next;
    }
    return bytes;
}

static bool small_wants_purge(void)
{
    size_t locked = pt_segment_small_locked();
    size_t unused = locked > state.small_live ? locked - state.small_live : 0;
    /* A purge that found little to give back is not tried again before things have changed. */
    bool changed = locked > state.small_purged_at + SMALL_SLACK || unused > 2 * SMALL_SLACK + locked / 2;
    bool wants = unused > SMALL_SLACK && changed && room_exceeded();
    if (wants) {
        state.small_purged_at = locked;
    }
    return wants;
}

/* ---- making blocks ---- */

/* Stock is page aligned and O_DIRECT needs 512 bytes; below a page the size itself says what its user may expect. */
static size_t small_alignment(size_t bytes)
{
    size_t natural = bytes & -bytes;
    return bytes >= PT_PAGE ? PT_PAGE : bytes % 512 == 0 ? natural : 64;
}

/* A record for exact pages, from the cache or fresh; 0 with the errno in *error. */
static uint32_t make_exact(size_t bytes, bool locked, bool *reused, int *error)
{
    size_t need = pt_pages_up(bytes, PT_PAGE);
    uint32_t number = 0, victims = 0;
    if (locked) {
        lock();
        number = pt_cache_take(need);
        state.pending += need; /* until it is live, or failed */
        victims = choose_victims();
        unlock();
        destroy(victims);
    }

    struct pt_record *r = pt_table_record(number);
    *reused = number != 0 && r->locked >= need;
    if (number != 0 && r->locked != need) {
        bool registered = (r->flags & PT_REGISTERED) != 0;
        int refused = pt_lock_resize((void *)r->base, r->locked, need, &registered);
        pt_table_write_begin(r);
        r->locked = refused == 0 ? need : 0;
        r->flags = (uint8_t)(registered ? r->flags | PT_REGISTERED : r->flags & ~PT_REGISTERED);
        pt_table_write_end(r);
        if (refused != 0) {
            r->next = 0;
            destroy(number);
            number = 0;
        }
    }
    if (number != 0) {
        return number;
    }

    (void)pt_device_look(); /* a block made from here on may be registered */
    size_t capacity;
    void *base = pt_arena_exact(bytes, &capacity);
    if (base == NULL) {
        *error = ENOBUFS;
        return 0;
    }
    bool registered = false;
    if (locked && pt_lock_hold(base, need, &registered) != 0) {
        *error = pt_lock_error();
        pt_arena_exact_free(base);
        return 0;
    }
    lock();
    number = pt_table_take_record();
    if (number != 0) {
        r = pt_table_record(number);
        pt_table_write_begin(r);
        r->state = PT_CACHED;
        r->flags = (uint8_t)(PT_EXACT | (locked ? 0 : PT_PAGEABLE) | (registered ? PT_REGISTERED : 0));
        r->base = (uintptr_t)base;
        r->asked = bytes;
        r->locked = locked ? need : 0;
        r->capacity = capacity;
        pt_table_write_end(r);
        if (pt_table_index(number) != 0) {
            pt_table_give_record(number);
            number = 0;
        } else {
            state.exact_few += capacity < EXACT_ALWAYS;
        }
    }
    unlock();
    if (number == 0) {
        if (locked) {
            pt_lock_drop(base, need, registered);
        }
        pt_arena_exact_free(base);
        *error = ENOMEM;
    }
    return number;
}

/* A record for a block in a shared, locked segment. The index is set when the block goes live. */
static uint32_t make_small(size_t bytes, bool *reused, int *error)
{
    size_t capacity, before = pt_segment_small_locked();
    void *base = pt_arena_small(bytes, small_alignment(bytes), &capacity);
    if (base == NULL) {
        *error = pt_lock_error() != 0 ? pt_lock_error() : ENOBUFS;
        return 0;
    }
    lock();
    uint32_t number = pt_table_take_record();
    if (number != 0) {
        struct pt_record *r = pt_table_record(number);
        pt_table_write_begin(r);
        r->state = PT_CACHED;
        r->flags = 0;
        r->base = (uintptr_t)base;
        r->asked = bytes;
        r->locked = r->capacity = capacity;
        pt_table_write_end(r);
        if (pt_table_index(number) != 0) {
            pt_table_give_record(number);
            number = 0;
        }
    }
    unlock();
    if (number == 0) {
        pt_arena_small_free(base);
        *error = ENOMEM;
    }
    *reused = pt_segment_small_locked() <= before;
    return number;
}

static uint32_t make(size_t bytes, bool *reused, int *error)
{
    bool exact = bytes > PT_ARENA_SLAB_MOST && (bytes >= EXACT_ALWAYS || state.exact_few < EXACT_FEW);
    uint32_t number = exact ? make_exact(bytes, true, reused, error) : make_small(bytes, reused, error);
    if (exact && number == 0) {
        lock();
        state.pending -= pt_pages_up(bytes, PT_PAGE);
        unlock();
    }
    return number;
}

/* PINTENSOR_ON_LIMIT=pageable: says once why, and goes on without a lock. */
static uint32_t make_pageable(size_t bytes)
{
    static _Atomic bool said;
    char why[768];
    struct pt_text t;
    pt_text_init(&t, why, sizeof why, -1);
    pt_manager_explain(bytes, &t);
    bool reused;
    uint32_t number = make_exact(bytes, false, &reused, &last_failure);
    if (number != 0 && !atomic_exchange(&said, true)) {
        pt_log("warning: going on with memory that is not locked: %s", why);
    }
    return number;
}

int pt_manager_alloc(const struct pt_request *q, struct pt_block *out)
{
    if (pt_manager_start() != 0) {
        return -ENODEV;
    }
    uint32_t site = pt_site_here(q->caller, q->bytes);
    uint64_t asked = pt_table_now();
    bool reused = false;
    uint32_t number = 0;
    last_failure = ENOMEM;
    if (q->bytes <= (size_t)1 << 46) {
        number = make(q->bytes, &reused, &last_failure);
        /* Where mlock is refused a device that came into use since may not be. */
        bool came = number == 0 && pt_device_look(), freed = number == 0 && pt_manager_trim() > 0;
        if (came || freed) {
            number = make(q->bytes, &reused, &last_failure);
        }
        if (number == 0 && pt_option(PT_OPTION_ON_LIMIT) == PT_LIMIT_PAGEABLE) {
            number = make_pageable(q->bytes);
        }
    }
    if (number == 0) {
        return -ENOMEM;
    }

    lock();
    struct pt_record *r = pt_table_record(number);
    pt_table_write_begin(r);
    r->state = PT_LIVE;
    r->flags = (uint8_t)((r->flags & (PT_EXACT | PT_PAGEABLE | PT_REGISTERED)) | (q->tensor ? PT_TENSOR : 0));
    r->generation++;
    r->asked = q->bytes;
    r->dtype = (int8_t)q->dtype;
    r->door = (uint8_t)q->door;
    r->manager = q->manager;
    r->site = site;
    r->release_site = 0;
    r->thread = thread_id();
    r->born_ns = pt_table_now();
    r->id = ++state.serial;
    pt_table_write_end(r);
    *((r->flags & PT_EXACT) != 0 ? &state.exact_live : &state.small_live) += r->locked;
    state.pending -= (r->flags & PT_EXACT) != 0 ? r->locked : 0; /* a pageable one has none */
    pt_account_alloc(r, reused, asked);
    pt_table()->counters.cached_locked = pt_cache_bytes();
    *out = (struct pt_block){(void *)r->base, number, r->generation};
    unlock();
    return 0;
}

void pt_manager_explain(size_t bytes, struct pt_text *out)
{
    pt_lock_explain(bytes, last_failure, out);
}

/* ---- giving back ---- */

/* What is left to do for a block that is gone, once the lock is no longer held. */
struct leftover {
    uint32_t victims;
    void *small;
    bool purge;
};

/* Ends a live block. With the lock held; the caller does the leftover afterwards. */
static struct leftover end_block(uint32_t number, bool reclaimed)
{
    struct pt_record *r = pt_table_record(number);
    struct leftover left = {0};
    pt_account_drop(r, reclaimed);
    if ((r->flags & PT_EXACT) != 0) {
        state.exact_live -= r->locked;
        pt_table_write_begin(r);
        r->state = PT_CACHED;
        pt_table_write_end(r);
        if ((r->flags & PT_PAGEABLE) != 0) {
            r->next = 0;
            left.victims = number;
        } else {
            pt_cache_put(number, pt_table_now());
            left.victims = choose_victims();
        }
    } else {
        state.small_live -= r->locked;
        left.small = (void *)r->base;
        left.purge = small_wants_purge();
        pt_table_unindex(number);
        pt_table_give_record(number);
    }
    return left;
}

static void do_leftover(const struct leftover *left)
{
    if (left->small != NULL) {
        pt_arena_small_free(left->small);
    }
    destroy(left->victims);
    if (left->purge) {
        pt_arena_small_purge();
    }
    if (!state.exiting) {
        pt_idle_watch();
    }
}

void pt_manager_drop(const struct pt_block *block)
{
    if (!pt_process_owns()) {
        return; /* a child's copy of its parent's tensor */
    }
    struct leftover left = {0};
    if (block->number >= atomic_load(&pt_table()->records)) {
        return; /* inherited from a parent with more of them */
    }
    lock();
    struct pt_record *r = pt_table_record(block->number);
    /* The base tells an inherited tensor's block from one of this process with the same number. */
    bool ours = r->state == PT_LIVE && r->generation == block->generation && r->base == (uintptr_t)block->base;
    bool released = (r->flags & PT_RELEASED) != 0;
    uint64_t reclaim = pt_option(PT_OPTION_RECLAIM);
    if (ours && (reclaim == PT_RECLAIM_EXIT || (reclaim == PT_RECLAIM_FREE && !released))) {
        r->flags |= PT_DROPPED;
    } else if (ours) {
        left = end_block(block->number, !released && !state.exiting);
    }
    unlock();
    do_leftover(&left);
}

/* What is wrong with freeing this address, or FINE. With the lock held. */
enum { FINE = -1 };
static int judge_release(uint32_t manager, const void *address, const struct pt_found *f)
{
    if (f->number == 0) {
        return pt_table_ours(address) ? PT_MISUSE_TWICE : PT_MISUSE_FOREIGN;
    }
    bool starts = f->base == (uintptr_t)address;
    if (f->state != PT_LIVE || (starts && (f->flags & PT_RELEASED) != 0)) {
        return PT_MISUSE_TWICE;
    }
    if (!starts) {
        return PT_MISUSE_INTERIOR;
    }
    return f->manager == manager ? FINE : PT_MISUSE_MANAGER;
}

static int release(uint32_t manager, const struct pt_block *block, bool exactly, const void *caller)
{
    void *address = block->base;
    if (address == NULL) {
        return -ENOENT;
    }
    bool owner = pt_process_owns();
    if (pt_table_forget_inherited(address, owner)) {
        return 0; /* as stock: struck out of the child's copy of the book, while the parent's block stays */
    }
    if (!owner) {
        return -ENOENT;
    }
    uint32_t site = pt_site_freeing(caller);
    struct leftover left = {0};
    struct pt_misuse misuse = {0};
    lock();
    struct pt_found f = pt_table_find(address);
    int wrong = judge_release(manager, address, &f);
    if (exactly && f.number != 0 && (f.number != block->number || f.generation != block->generation)) {
        wrong = PT_MISUSE_STALE;
    }
    struct pt_record *r = pt_table_record(f.number);
    if (wrong != FINE) {
        misuse.kind = (uint32_t)wrong;
        misuse.alloc_site = f.number != 0 ? r->site : 0;
        misuse.release_site = f.number != 0 ? r->release_site : 0;
    } else {
        r->release_site = site;
        pt_account_release(r);
        if ((r->flags & PT_TENSOR) == 0 ||
            ((r->flags & PT_DROPPED) != 0 && pt_option(PT_OPTION_RECLAIM) == PT_RECLAIM_FREE)) {
            left = end_block(f.number, false);
        } else {
            pt_table_mark_released(f.number);
        }
    }
    unlock();
    do_leftover(&left);
    if (wrong != FINE) {
        misuse.site = pt_site_here(caller, PT_SITE_FULL); /* worth a closer look */
        lock();
        bool say = pt_misuse_count(&misuse);
        unlock();
        if (say) {
            pt_misuse_say(&misuse, address);
        }
    }
    return wrong == FINE ? 0 : wrong == PT_MISUSE_STALE ? -ESTALE : -ENOENT;
}

int pt_manager_release(uint32_t manager, void *address, const void *caller)
{
    struct pt_block block = {.base = address};
    return release(manager, &block, false, caller);
}

int pt_manager_release_block(uint32_t manager, const struct pt_block *block, const void *caller)
{
    return release(manager, block, true, caller);
}

bool pt_manager_registered(const void *p)
{
    if (!pt_table_ours(p) || !pt_process_owns()) {
        return false;
    }
    struct pt_found f = pt_table_find(p);
    return f.number != 0 && (f.flags & PT_EXACT) != 0 ? (f.flags & PT_REGISTERED) != 0 : pt_segment_registered(p);
}

bool pt_manager_register(const void *p, size_t len)
{
    if (!pt_table_ours(p) || !pt_process_owns() || !pt_table_covers(p, len)) {
        return false;
    }
    struct pt_found f = pt_table_find(p);
    if (pt_manager_registered(p) || f.number == 0 || (f.flags & PT_EXACT) == 0 || (f.flags & PT_PAGEABLE) != 0) {
        return pt_manager_registered(p);
    }
    /* Made before the program had a context. Whoever asks holds the block, so it stays meanwhile. */
    struct pt_record *r = pt_table_record(f.number);
    if (pt_lock_convert((void *)r->base, r->locked) != 0) {
        return false;
    }
    lock();
    pt_table_write_begin(r);
    r->flags |= PT_REGISTERED;
    pt_table_write_end(r);
    unlock();
    return true;
}

void pt_manager_close(uint32_t manager)
{
    if (!pt_process_owns() || manager == 0) {
        return;
    }
    lock();
    for (uint32_t i = 0; i < state.managers_used; i++) {
        if (state.managers[i].number == manager) {
            state.managers[i].key = NULL;
            state.managers[i].number = 0;
        }
    }
    uint32_t count = atomic_load(&pt_table()->records);
    for (uint32_t number = 1; number < count; number++) {
        struct pt_record *r = pt_table_record(number);
        if (r->state != PT_LIVE || r->manager != manager || (r->flags & PT_RELEASED) != 0) {
            continue;
        }
        pt_account_release(r);
        if ((r->flags & PT_TENSOR) == 0 || (r->flags & PT_DROPPED) != 0) {
            struct leftover left = end_block(number, false);
            unlock();
            do_leftover(&left);
            lock();
        } else {
            pt_table_mark_released(number);
        }
    }
    unlock();
}

size_t pt_manager_cached(void)
{
    lock();
    size_t small = pt_segment_small_locked();
    size_t bytes = pt_cache_bytes() + (small > state.small_live ? small - state.small_live : 0);
    unlock();
    return bytes;
}

size_t pt_manager_trim(void)
{
    if (!pt_process_owns()) {
        return 0;
    }
    lock();
    uint32_t victims = 0, number;
    while ((number = pt_cache_take_oldest(UINT64_MAX)) != 0) {
        pt_table_record(number)->next = victims;
        victims = number;
    }
    pt_table()->counters.cached_locked = 0;
    unlock();
    size_t bytes = destroy(victims), small = pt_segment_small_locked();
    pt_arena_small_purge();
    pt_segment_unlock_ahead();
    size_t left = pt_segment_small_locked();
    return bytes + (small > left ? small - left : 0);
}

bool pt_manager_tick(void)
{
    uint64_t now = pt_table_now();
    /* When memory is short the program needs it more than the cache does. */
    uint64_t idle = pt_pressure_high() ? 0 : pt_option(PT_OPTION_IDLE) * 1000000000u;
    uint32_t victims = 0, number;
    lock();
    while ((number = pt_cache_take_oldest(now > idle ? now - idle : 0)) != 0) {
        pt_table_record(number)->next = victims;
        victims = number;
    }
    pt_table()->counters.cached_locked = pt_cache_bytes();
    /* jemalloc spreads its giving back over the idle time; what has not changed for two of those is fragmentation. */
    size_t small_unused = pt_segment_small_locked() - state.small_live;
    state.small_unchanged = small_unused == state.small_unused ? state.small_unchanged + 1 : 0;
    state.small_unused = small_unused;
    bool quiet = state.small_unchanged > 4;
    bool busy = pt_cache_bytes() > 0 || (small_unused > 0 && state.small_unchanged <= 8);
    unlock();
    destroy(victims);
    pt_arena_small_decay();
    if (quiet) {
        pt_segment_unlock_ahead();
    }
    return busy;
}

bool pt_manager_active(void)
{
    return pt_process_owns_strictly() && pt_table() != NULL;
}

/* ---- the end ---- */

/* In abort(), or in exit() called by a signal handler, this very thread may hold the lock: it is waited for a while, and
 * not for ever. */
static bool lock_at_the_end(void)
{
    for (unsigned i = 0; i < 100; i++) {
        if (pthread_mutex_trylock(&state.mutex) == 0) {
            return true;
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return false;
}

void pt_manager_count_held(void)
{
    bool locked = true;
    if (state.exiting) {
        locked = lock_at_the_end();
    } else {
        lock();
    }
    struct pt_table *t = pt_table();
    uint32_t sites = atomic_load(&t->sites), records = atomic_load(&t->records);
    for (uint32_t number = 0; number < sites; number++) {
        struct pt_site *s = pt_table_site(number);
        s->held = s->held_bytes = s->held_locked = 0;
    }
    for (uint32_t number = 1; number < records; number++) {
        struct pt_record *r = pt_table_record(number);
        if (r->state == PT_LIVE && (r->flags & PT_RELEASED) == 0) {
            pt_account_held(r);
        }
    }
    if (locked) {
        unlock();
    }
}

void pt_manager_exit_begins(void)
{
    if (!pt_manager_active() || atomic_exchange(&state.exiting, true)) {
        return;
    }
    pt_table()->exit_ns = pt_table_now();
    pt_manager_count_held();
    pt_growth_judge_all();
    pt_python_gone();
}

void pt_manager_finish(void)
{
    if (!pt_manager_active()) {
        return;
    }
    pt_idle_stop();
    if (!lock_at_the_end()) {
        return; /* the kernel unlocks what is left */
    }
    uint32_t count = atomic_load(&pt_table()->records);
    for (uint32_t number = 1; number < count; number++) {
        struct pt_record *r = pt_table_record(number);
        if (r->state == PT_LIVE) {
            /* Other threads and transfers still run: the memory stays readable until the process is gone. */
            pt_account_drop(r, false);
            if ((r->flags & PT_EXACT) != 0) {
                pt_pages_unlock_keep((void *)r->base, r->locked);
            }
            pt_table_write_begin(r);
            r->state = PT_CACHED;
            pt_table_write_end(r);
        }
    }
    pt_segment_unlock_all();
    unlock();
}
