/* The table: every block, every allocation site and every counter, as plain values in one mapping that
 * another process can read; strings are offsets into it, never pointers. Beside it, private to this process, an
 * index from addresses to records.
 *
 * Writers hold the pool's lock, or for a record the lock of its owner (magazine.h). Readers (pt_table_find) take none.
 */
#ifndef PT_TABLE_H
#define PT_TABLE_H

#include "memory/segments.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PT_TABLE_MAGIC   0x31534e4554544e50u /* "PNTTENS1" */
#define PT_TABLE_VERSION 6

/* Who reads takes no lock, so what is written must be whole at every instant: these say so, and are plain instructions.
 * Writers may read what is theirs plainly. */
#define PT_PUT(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELAXED)
#define PT_GET(field)        __atomic_load_n(&(field), __ATOMIC_RELAXED)

enum pt_door { PT_DOOR_C, PT_DOOR_DEEPSPEED, PT_DOOR_TORCH, PT_DOOR_CUDA, PT_DOOR_COUNT };
/* FLYING: dropped, and a device still uses it. HOLE: addresses of a chunk that are not locked. BUSY: somebody locks or
 * unlocks it just now, and it is his alone. */
enum pt_state { PT_FREE, PT_LIVE, PT_CACHED, PT_FLYING, PT_HOLE, PT_BUSY };
enum {
    PT_RELEASED = 1,    /* free() was called, a tensor still holds the block */
    PT_TENSOR = 2,      /* goes back when its last tensor is dropped; else at free() */
    PT_PAGEABLE = 4,    /* not locked: PINTENSOR_ON_LIMIT=pageable */
    PT_EXACT = 8,       /* a part of a chunk: lies in the exact region; else in the small one */
    PT_DROPPED = 16,    /* its last tensor is gone, kept by PINTENSOR_RECLAIM */
    PT_REGISTERED = 32, /* a part of a chunk whose lock is a device's registration, not mlock */
    PT_CAPTURED = 64,   /* a graph that may be replayed at any time uses it */
    PT_ALTERED = 128    /* the program changed how its memory is treated: pool/attributes.h */
};

/* One stretch of memory. The record stays with it while it waits in the cache; `generation` tells the blocks
 * that lived in it apart. Links are record numbers; 0 is no record. Whole pairs of cache lines, so that threads that
 * write neighbouring records do not meet. */
struct pt_record {
    _Atomic uint32_t sequence; /* odd while the writer is in between */
    uint8_t state, flags, door;
    int8_t dtype;
    uint32_t generation;
    uint32_t site, release_site; /* who asked, who last called free() */
    uint32_t manager, thread;
    uint64_t base, asked;      /* address, bytes of the tensor */
    uint64_t locked, capacity; /* bytes locked for it, bytes that are its own */
    uint64_t born_ns;          /* CLOCK_MONOTONIC; for a cached block, since when it waits */
    uint32_t prev, next;       /* the free cache's list of like sizes; the list of free records; of blocks in flight */
    uint32_t older, newer;     /* the free cache's list by age */
    uint32_t before, after;    /* the parts of its chunk on either side; 0: none */
    uint32_t chunk;            /* of the exact region: pool/chunks.h */
    uint64_t id;               /* serial number of the block in this process; each thread may draw from a range */
    uint32_t uses;             /* streams that use it: pool/stream_use.h */
    _Atomic uint16_t owner;    /* whose lock guards it besides: magazine.h */
} __attribute__((aligned(128)));

#define PT_SITE_FRAMES 20

struct pt_frame {
    uint32_t file, function; /* offsets of strings */
    uint32_t line;           /* 0: native, `function` is symbol+offset and `file` the object */
};

/* A site is told by its number, which is a row of the table, and above it the row's generation: a row whose site has
 * nothing left to tell is given to another one when the table is full (trace/site_store.h). */
#define PT_SITE_BITS 14

#define PT_GROWTH_WINDOWS 16

/* How the number of a site's live blocks went, visit by visit: growth.h. Beside the sites, not in them: a site lies on
 * small stacks. */
struct pt_growth {
    uint64_t visits, order;         /* the process-wide count of allocations at the last one */
    uint64_t idle_ns;               /* that the program spent between the allocations of this visit */
    uint64_t pause_ns, pause_visit; /* the longest between two visits, after how many */
    uint64_t high, rise_visit;      /* the most alive since none was; the last visit that raised it */
    uint32_t windows, width;        /* used ones, all full but the last; visits that fill one */
    struct pt_growth_window {
        uint32_t low, high; /* the fewest alive before an allocation, the most after one */
        uint64_t since_ns;
    } window[PT_GROWTH_WINDOWS];
};

/* The native calls of a site, for who reads debug information: their addresses in their objects' files, and "BUILD-ID
 * PATH" of these; 0: unknown. Beside the sites as well. */
struct pt_natives {
    struct pt_native {
        uint32_t at, object;
    } frame[PT_SITE_FRAMES], caller; /* of a frame of Python's none; `caller`: `symbol` of the site */
};

/* Everything known of one allocation site. Bytes are those asked for unless said otherwise. */
struct pt_site {
    _Atomic uint32_t generation;
    uint32_t frames_count, symbol, object;  /* nearest native symbol and the object it lies in */
    uint32_t thread, library;               /* bit i: frame i is not the user's own code */
    struct pt_frame frames[PT_SITE_FRAMES]; /* innermost first */
    int8_t dtype;
    uint8_t door;
    uint64_t smallest, largest; /* bytes of a block */
    uint64_t allocated, live, live_bytes, live_locked;
    uint64_t first_ns, last_ns, oldest_ns; /* first and last allocation, oldest of the held */
    uint64_t rises, rise_ns;               /* visits that raised the most alive, since none was; the last of them */
    uint64_t first_bytes, rise_bytes;      /* alive after the first and the last of them */
    uint64_t reclaimed, reclaimed_bytes, reclaimed_locked;
    uint64_t held, held_bytes, held_locked;
    uint64_t freed; /* when the held were counted: all others, the reclaimed apart */
    uint64_t peaks_seen, peak_blocks, peak_bytes, peak_locked; /* at the process's peak: pt_counters_at_peak() */
    uint8_t growing;
};

enum pt_misuse_kind { PT_MISUSE_TWICE, PT_MISUSE_INTERIOR, PT_MISUSE_FOREIGN, PT_MISUSE_STALE, PT_MISUSE_MANAGER };

struct pt_misuse {
    uint32_t kind, count;
    uint32_t site, alloc_site, release_site; /* the wrong call, and what is known of the block */
};

/* Bytes asked for by tensors unless the name says locked. `at_peak_*`: when peak_bytes was reached. `stock_bytes` and
 * `pow2_bytes`: what the same requests would have locked under stock DeepSpeed, or rounded to powers of two. */
struct pt_counters {
    _Atomic uint64_t live, live_bytes, live_locked, peak_bytes, peak_locked;
    _Atomic uint64_t at_peak_locked, at_peak_stock, at_peak_pow2;
    _Atomic uint64_t allocated, reused, cached_locked, reclaimed, pageable;
    _Atomic uint64_t stock_bytes, pow2_bytes;
    _Atomic uint64_t peaks;           /* how often peak_bytes rose */
    _Atomic uint64_t mark_peak_bytes; /* the most of live_bytes since pt_counters_mark() */
};

#define PT_MISUSE_MOST 64

/* A way from a name of the program's to blocks of a site that were held: life/held_by.h. */
#define PT_HELD_BY_MOST 24
struct pt_held_by {
    uint32_t row, blocks;
    uint64_t bytes;
    char words[240];
};

/* What others pin, served without us: foreign.h. `pinned`: calls ever; `live`: their memory that is pinned now. */
enum pt_foreign_call { PT_FOREIGN_ALLOC, PT_FOREIGN_REGISTER };

/* Row 0 is none; that of all others is what found no row of its own. */
#define PT_FOREIGN_OTHER 1
#define PT_FOREIGN_MOST  128

/* One line's calls of one kind. */
struct pt_foreign {
    uint32_t site, call;
    uint64_t pinned, live, live_bytes;
    uint64_t peaks_seen, peak, peak_bytes; /* when most was pinned: pt_foreign_at_peak() */
};

/* All of them. `peak_*`: when most was pinned, by them and by us together, while they had something worth a word. */
struct pt_foreign_sum {
    _Atomic uint32_t rows; /* used ones, with row 0 */
    uint32_t unused;
    uint64_t pinned, missed; /* missed: more than there was room to tell apart, so they count for nothing else */
    uint64_t live, live_bytes;
    uint64_t peaks; /* how often the most rose */
    uint64_t peak, peak_bytes, peak_ours;
};

/* How the counters went over the run: history.h. A moment has the most of each in its time: bytes alive, locked for them
 * and by what waits, by that alone, and the counters of the same names. */
#define PT_MOMENTS   256
#define PT_MOMENT_NS 10000000u /* at first */
struct pt_history {
    uint64_t width_ns;
    _Atomic uint32_t used;
    uint32_t unused;
    struct pt_moment {
        uint64_t asked, locked, waiting, stock, pow2;
    } moment[PT_MOMENTS];
};

struct pt_table {
    uint64_t magic;
    uint32_t version, header_size, record_size, site_size;
    int32_t pid, rank;
    uint64_t born_ns, exit_ns; /* when the program was started; 0: exit has not begun */
    uint64_t now_ns;           /* of the latest report */
    uint64_t foreign_at, records_at, sites_at, growth_at, natives_at, strings_at;
    uint32_t records_most, sites_most;
    uint32_t other_site;    /* counts what came for rows that had been given to others meanwhile; 0: none so far */
    uint32_t doors_retired; /* bit i: a site of that door is no longer in the table */
    uint32_t host, program; /* strings; the second is base/program_name.h's */
    uint32_t cut_short;     /* the file had no room for all */
    uint64_t
        start_ticks; /* since the machine was started, as /proc/PID/stat has it: tells processes of a number apart */
    _Atomic uint32_t records, sites; /* used so far; number 0 is no record, site 0 is unknown */
    _Atomic uint64_t strings;
    uint64_t strings_most;
    struct pt_counters counters;
    _Atomic uint32_t misuses;
    struct pt_misuse misuse[PT_MISUSE_MOST];
    _Atomic uint32_t held_bys;
    struct pt_held_by held_by[PT_HELD_BY_MOST];
    struct pt_foreign_sum foreign;
    struct pt_history history;
};

/* Makes a table that somebody else wrote, and that was looked through, the one that is read here: table_load.h. */
void pt_table_attach(struct pt_table *t);

/* A fresh table and index for the current range. Returns 0 or -ENOMEM. */
int pt_table_init(int rank);
struct pt_table *pt_table(void); /* NULL before the first block */

/* Read in line: every step of an allocation needs some. */
extern struct pt_record *pt_table_records;
static inline struct pt_record *pt_table_record(uint32_t number)
{
    return pt_table_records + number;
}

static inline uint32_t pt_site_row(uint32_t site)
{
    return site & ((1u << PT_SITE_BITS) - 1);
}

/* A copy of what others may be writing, word by word; `bytes` is whole words. */
void pt_table_copy(const void *from, void *to, size_t bytes);

/* As it is at this moment, or nearly, for who does not hold the lock. */
void pt_table_copy_site(const struct pt_site *from, struct pt_site *to);

/* The row of a site, or the row of that number. */
struct pt_site *pt_table_site(uint32_t site);

/* Whether its row is still its own. */
bool pt_table_site_is(uint32_t site);

/* The site, or that of all others if its row is no longer its own: for what is counted. With the pool's lock or a
 * magazine's, since no row changes hands then. */
uint32_t pt_table_site_now(uint32_t site);

struct pt_natives *pt_table_natives(uint32_t site);

extern struct pt_growth *pt_table_growths;
static inline struct pt_growth *pt_table_growth(uint32_t site)
{
    return pt_table_growths + pt_site_row(site);
}

/* The row may be written from now on; false: there is no room. */
bool pt_table_open_site(uint32_t row);

const char *pt_table_string(uint32_t offset);

/* Stores a string, the same one once, nearly always; 0 when there is no room. One caller at a time. */
uint32_t pt_table_intern(const char *s);

/* Whether there is room for so many bytes of strings. */
bool pt_table_strings_fit(size_t bytes);

/* Begins with no strings; what offsets named so far stays readable until the next time, so that it can be stored again.
 */
void pt_table_strings_renew(void);

uint32_t pt_table_take_record(void); /* 0: the table is full */

/* A record for memory of the small region that is not alive yet, indexed; 0: there is no room. */
uint32_t pt_table_enter(void *base, size_t asked, size_t locked);

void pt_table_give_record(uint32_t number);

/* Makes the index point from every address of the record's memory to it, or to nothing. Returns 0 or -ENOMEM. */
int pt_table_index(uint32_t number);
void pt_table_unindex(uint32_t number);

/* free() was called: the block is no longer covered. */
void pt_table_mark_released(uint32_t number);

/* Brackets around a change of a record that readers may see. */
void pt_table_write_begin(struct pt_record *r);
void pt_table_write_end(struct pt_record *r);

/* What a reader learns of an address. */
struct pt_found {
    uint32_t number; /* 0: no block, live or cached, lies there */
    uint32_t generation, manager;
    uint8_t state, flags;
    uint64_t base, asked;
};
struct pt_found pt_table_find(const void *p);

/* Whether [p, p + n) lies in one live block that was not released, of this process or of one it was forked from. No
 * lock, and the same time however many blocks there are. */
bool pt_table_covers(const void *p, size_t n);

/* Whether the address lies in the current range at all, and is not one that somebody else has mapped there: a
 * comparison and a load. */
bool pt_table_ours(const void *p);

/* In a forked child: the parent's table becomes an ancestor's. Its index, which is private, goes on telling what the
 * child sees. Before the child has pinned anything the current one is still the parent's. */
void pt_table_disown(void);

/* free() in a child of a block that it inherited: true once, and only this process forgets it. */
bool pt_table_forget_inherited(const void *p, bool current_is_own);

uint64_t pt_table_now(void);

#endif
