#include "ledger/table.h"

#include "base/path.h"
#include "base/process.h"
#include "base/program_name.h"
#include "base/sandbox.h"
#include "base/started.h"
#include "base/thread.h"
#include "ledger/address_map.h"
#include "ledger/starts.h"
#include "ledger/table_file.h"
#include "memory/book.h"
#include "memory/owner.h"
#include "memory/pages.h"

#include <errno.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* Granules of the small region's index: blocks of a page or more start on a page, the rest on 64 bytes; so no granule
 * ever holds parts of two blocks. */
#define FINE_GRANULE ((size_t)64)

#define RECORDS_MOST   ((uint32_t)8 << 20)
#define SITES_MOST     ((uint32_t)1 << PT_SITE_BITS)
#define STRINGS_MOST   ((uint64_t)16 << 20) /* of each half: one is filled */
#define ANCESTORS_MOST 8

/* What is_managed() has to know of a part of a chunk, by record number. Index and extents are private, so a forked
 * child keeps the state of its birth. */
struct extent {
    _Atomic uint64_t where; /* base, with 16 bits of the generation above it; 0 unless alive and not released */
    _Atomic uint64_t asked;
};

struct map {
    struct pt_table *table;
    struct extent *extents;
    struct pt_range range;
    struct pt_starts exact;
    struct pt_address_map page, fine;
};

static struct map current;
struct pt_record *pt_table_records; /* the current map's */
struct pt_growth *pt_table_growths; /* likewise */
static struct map ancestors[ANCESTORS_MOST];
static size_t ancestor_count;
static uint32_t free_records;

/* What of the current map is mapped. In a forked child the table reads as zero; extents are its own copy. */
static struct {
    struct pt_book header, sites, growths, natives, strings, records, extents;
} books;

enum { SPREAD = 64, CHUNK = SPREAD * SPREAD };

/* Neighbouring numbers lie a KiB apart, since threads reuse such blocks at the same time and write their extents;
 * sixteen bytes each, and not a line, since is_managed() reads them all over the place. */
static struct extent *extent_of(const struct map *m, uint32_t number)
{
    return &m->extents[number / CHUNK * CHUNK + number % SPREAD * SPREAD + number % CHUNK / SPREAD];
}

static struct pt_record *record_of(const struct map *m, uint32_t number)
{
    return (struct pt_record *)((char *)m->table + m->table->records_at) + number;
}

/* Makes a record usable, and its extent. */
static int open_record(uint32_t number)
{
    int error = pt_book_open(&books.records, (number + 1) * sizeof(struct pt_record));
    return error != 0 ? error : pt_book_open(&books.extents, (number / CHUNK + 1) * CHUNK * sizeof(struct extent));
}

static char *table_base;

/* Of the table, in its file if there is one. */
static int open_part(void *p, size_t len)
{
    bool was_whole = pt_table_file_whole();
    if (pt_table_file_map(p, len, (char *)p - table_base)) {
        return 0;
    }
    if (was_whole && (char *)p != table_base) {
        ((struct pt_table *)table_base)->cut_short = 1;
    }
    return pt_pages_open_wiped_book(p, len);
}

/* In a forked child: what lies in its parent's file reads as zero, as the rest does by itself. A child that was made
 * past libc goes on seeing its parent's, which nobody writes who is not the owner (memory/owner). */
static void leave_file(void)
{
    struct pt_book *const all[] = {&books.header,  &books.sites,   &books.growths,
                                   &books.natives, &books.strings, &books.records};
    if (pt_table_file_whole() || (current.table != NULL && current.table->cut_short != 0)) {
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
            pt_pages_renew(all[i]->base, atomic_load(&all[i]->opened));
        }
    }
    pt_table_file_forget();
}

/* Not where a handler of the program's has pinned before this one: what there is by now is the child's own. */
static void leave_file_in_child(void)
{
    if (!pt_owner_owns()) {
        leave_file();
    }
}

/* Who this is, for the report. */
static void sign(struct pt_table *t)
{
    static char text[512]; /* not on a stack that may be small */
    struct pt_text name;
    pt_text_init(&name, text, sizeof text, -1);
    bool may_ask = pt_sandbox_may_open();
    if (may_ask) { /* uname() may be forbidden as well */
        pt_path_add_host(&name);
    }
    t->host = pt_table_intern(text);
    pt_text_init(&name, text, sizeof text, -1);
    pt_program_name_add(&name, may_ask);
    t->program = pt_table_intern(text);
}

/* And for who reads the file. */
static void watch(struct pt_table *t)
{
    static bool watched; /* children inherit it */
    t->start_ticks = pt_process_start_ticks((int)getpid());
    if (!watched) {
        watched = pt_thread_at_fork(NULL, NULL, leave_file_in_child) == 0;
    }
}

int pt_table_init(int rank)
{
    struct map m = {.range = *pt_segments_range()};
    size_t exact = m.range.size - m.range.small;
    size_t foreign_at = pt_pages_up(sizeof(struct pt_table), 64);
    size_t sites_at = pt_pages_up(foreign_at + PT_FOREIGN_MOST * sizeof(struct pt_foreign), PT_PAGE);
    size_t growth_at = sites_at + pt_pages_up(SITES_MOST * sizeof(struct pt_site), PT_PAGE);
    size_t natives_at = growth_at + pt_pages_up(SITES_MOST * sizeof(struct pt_growth), PT_PAGE);
    size_t strings_at = natives_at + pt_pages_up(SITES_MOST * sizeof(struct pt_natives), PT_PAGE);
    size_t records_at = strings_at + 2 * STRINGS_MOST;
    /* One for each page of the range is more than enough for a small one. */
    uint32_t records = m.range.size / PT_PAGE < RECORDS_MOST ? (uint32_t)(m.range.size / PT_PAGE) : RECORDS_MOST;
    char *base = pt_pages_reserve(records_at + records * sizeof(struct pt_record));
    if (base == NULL || pt_starts_init(&m.exact, exact) != 0 ||
        pt_address_map_init(&m.page, m.range.small, PT_PAGE) != 0 ||
        pt_address_map_init(&m.fine, m.range.small, FINE_GRANULE) != 0 ||
        pt_book_init(&books.extents, records * sizeof(struct extent)) != 0) {
        return -ENOMEM;
    }
    m.table = (struct pt_table *)base;
    m.extents = books.extents.base;
    table_base = base;
    pt_table_file_begin((int)getpid(), rank);
    bool begun = pt_table_file_whole();
    pt_book_over(&books.header, base, sites_at, open_part);
    pt_book_over(&books.sites, base + sites_at, growth_at - sites_at, open_part);
    pt_book_over(&books.growths, base + growth_at, natives_at - growth_at, open_part);
    pt_book_over(&books.natives, base + natives_at, strings_at - natives_at, open_part);
    pt_book_over(&books.strings, base + strings_at, 2 * STRINGS_MOST, open_part);
    pt_book_over(&books.records, base + records_at, records * sizeof(struct pt_record), open_part);
    if (pt_book_open(&books.header, sites_at) != 0 || !pt_table_open_site(0) || pt_book_open(&books.strings, 1) != 0 ||
        open_record(0) != 0) {
        return -ENOMEM;
    }
    *m.table = (struct pt_table){
        .magic = PT_TABLE_MAGIC,
        .version = PT_TABLE_VERSION,
        .header_size = sizeof(struct pt_table),
        .record_size = sizeof(struct pt_record),
        .site_size = sizeof(struct pt_site),
        .pid = (int32_t)getpid(),
        .rank = rank,
        .born_ns = (uint64_t)pt_started_ns(),
        .history = {.width_ns = PT_MOMENT_NS, .used = 1},
        .foreign_at = foreign_at,
        .records_at = records_at,
        .sites_at = sites_at,
        .growth_at = growth_at,
        .natives_at = natives_at,
        .strings_at = strings_at,
        .records_most = records,
        .sites_most = SITES_MOST,
        .records = 1,
        .sites = 1,
        .strings = 1, /* offset 0 is the empty string */
        .strings_most = STRINGS_MOST,
        .foreign = {.rows = PT_FOREIGN_OTHER + 1},
        .cut_short = begun && !pt_table_file_whole(),
    };
    free_records = 0;
    current = m;
    pt_table_records = record_of(&current, 0);
    pt_table_growths = (struct pt_growth *)((char *)current.table + growth_at);
    sign(current.table);
    if (begun) {
        watch(current.table);
    }
    if (current.table->cut_short != 0) { /* parts of it lie in the file all the same */
        pt_table_file_remove();
    }
    return 0;
}

void pt_table_attach(struct pt_table *t)
{
    current = (struct map){.table = t};
    pt_table_records = record_of(&current, 0);
    pt_table_growths = (struct pt_growth *)((char *)t + t->growth_at);
}

struct pt_table *pt_table(void)
{
    return current.table;
}

bool pt_table_open_site(uint32_t row)
{
    return row < SITES_MOST && pt_book_open(&books.sites, (row + 1) * sizeof(struct pt_site)) == 0 &&
           pt_book_open(&books.growths, (row + 1) * sizeof(struct pt_growth)) == 0 &&
           pt_book_open(&books.natives, (row + 1) * sizeof(struct pt_natives)) == 0;
}

struct pt_site *pt_table_site(uint32_t site)
{
    return (struct pt_site *)((char *)current.table + current.table->sites_at) + pt_site_row(site);
}

struct pt_natives *pt_table_natives(uint32_t site)
{
    return (struct pt_natives *)((char *)current.table + current.table->natives_at) + pt_site_row(site);
}

void pt_table_copy(const void *from, void *to, size_t bytes)
{
    typedef uint64_t __attribute__((may_alias)) word;
    for (size_t i = 0; i < bytes / sizeof(word); i++) {
        ((word *)to)[i] = PT_GET(((const word *)from)[i]);
    }
}

void pt_table_copy_site(const struct pt_site *from, struct pt_site *to)
{
    pt_table_copy(from, to, sizeof *to);
}

bool pt_table_site_is(uint32_t site)
{
    return site >> PT_SITE_BITS == atomic_load_explicit(&pt_table_site(site)->generation, memory_order_relaxed);
}

uint32_t pt_table_site_now(uint32_t site)
{
    return pt_table_site_is(site) ? site : current.table->other_site;
}

const char *pt_table_string(uint32_t offset)
{
    return (const char *)current.table + current.table->strings_at + offset;
}

/* The strings in a hash table of their offsets; a string that finds no place near its own puts another out. */
#define INTERNED 16384
#define NEAR     8
static struct {
    struct pt_table *table;
    uint32_t at[INTERNED];
} interned;

static uint32_t *place_of(const char *s, size_t len)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ (unsigned char)s[i]) * 1099511628211u;
    }
    uint32_t *first = &interned.at[hash >> 50];
    for (size_t i = 0; i < NEAR; i++) {
        uint32_t *place = &interned.at[((hash >> 50) + i) % INTERNED];
        if (*place == 0 || strcmp(pt_table_string(*place), s) == 0) {
            return place;
        }
    }
    return first;
}

uint32_t pt_table_intern(const char *s)
{
    if (interned.table != current.table) {
        memset(&interned, 0, interned.table != NULL ? sizeof interned : 0);
        interned.table = current.table;
    }
    size_t len = strlen(s);
    uint32_t *place = len > 0 ? place_of(s, len) : NULL;
    if (len == 0 || (*place != 0 && strcmp(pt_table_string(*place), s) == 0)) {
        return len == 0 ? 0 : *place;
    }
    if (!pt_table_strings_fit(len + 1)) {
        return 0;
    }
    uint64_t at = atomic_load(&current.table->strings);
    if (pt_book_open(&books.strings, at + len + 1) != 0) {
        return 0;
    }
    memcpy((char *)current.table + current.table->strings_at + at, s, len + 1);
    atomic_store(&current.table->strings, at + len + 1);
    return *place = (uint32_t)at;
}

bool pt_table_strings_fit(size_t bytes)
{
    return atomic_load(&current.table->strings) + bytes <= current.table->strings_most;
}

void pt_table_strings_renew(void)
{
    struct pt_table *t = current.table;
    uint64_t begin = t->strings_most == STRINGS_MOST ? STRINGS_MOST : 1;
    t->strings_most = begin == 1 ? STRINGS_MOST : 2 * STRINGS_MOST;
    atomic_store(&t->strings, begin);
    memset(interned.at, 0, sizeof interned.at);
    t->host = pt_table_intern(pt_table_string(t->host));
    t->program = pt_table_intern(pt_table_string(t->program));
}

uint32_t pt_table_take_record(void)
{
    uint32_t number = free_records;
    if (number != 0) {
        free_records = pt_table_record(number)->next;
        return number;
    }
    number = atomic_load(&current.table->records);
    if (number == current.table->records_most || open_record(number) != 0) {
        return 0;
    }
    atomic_store(&current.table->records, number + 1);
    return number;
}

void pt_table_give_record(uint32_t number)
{
    struct pt_record *r = pt_table_record(number);
    pt_table_write_begin(r);
    PT_PUT(r->state, PT_FREE);
    PT_PUT(r->flags, 0);
    pt_table_write_end(r);
    r->next = free_records;
    free_records = number;
}

static bool is_exact(const struct pt_record *r)
{
    return r->base - (uintptr_t)current.range.base >= current.range.small;
}

static size_t exact_offset(const struct map *m, uintptr_t p)
{
    return p - (uintptr_t)m->range.base - m->range.small;
}

/* The index that a block of the small region belongs to, and its offset in it. */
static struct pt_address_map *map_of(const struct pt_record *r, size_t *offset)
{
    *offset = r->base - (uintptr_t)current.range.base;
    return r->asked >= PT_PAGE ? &current.page : &current.fine;
}

int pt_table_index(uint32_t number)
{
    const struct pt_record *r = pt_table_record(number);
    size_t offset;
    int error;
    if (is_exact(r)) {
        offset = exact_offset(&current, r->base);
        error = pt_starts_open(&current.exact, offset + r->capacity);
        if (error == 0) {
            pt_starts_set(&current.exact, offset, number);
        }
    } else {
        struct pt_address_map *l = map_of(r, &offset);
        error = pt_address_map_open(l, offset + r->asked);
        if (error == 0) {
            pt_address_map_set(l, offset, r->asked, number, true);
        }
    }
    return error;
}

uint32_t pt_table_enter(void *base, size_t asked, size_t locked)
{
    uint32_t number = pt_table_take_record();
    if (number == 0) {
        return 0;
    }
    struct pt_record *r = pt_table_record(number);
    pt_table_write_begin(r);
    PT_PUT(r->state, PT_CACHED);
    PT_PUT(r->flags, 0);
    PT_PUT(r->base, (uintptr_t)base);
    PT_PUT(r->asked, asked);
    PT_PUT(r->locked, locked);
    PT_PUT(r->capacity, locked);
    pt_table_write_end(r);
    if (pt_table_index(number) != 0) {
        pt_table_give_record(number);
        return 0;
    }
    return number;
}

void pt_table_unindex(uint32_t number)
{
    const struct pt_record *r = pt_table_record(number);
    if (is_exact(r)) {
        pt_starts_clear(&current.exact, exact_offset(&current, r->base));
    } else {
        size_t offset;
        struct pt_address_map *l = map_of(r, &offset);
        pt_address_map_set(l, offset, r->asked, 0, false);
    }
}

void pt_table_mark_released(uint32_t number)
{
    struct pt_record *r = pt_table_record(number);
    pt_table_write_begin(r);
    PT_PUT(r->flags, r->flags | PT_RELEASED);
    pt_table_write_end(r);
    if (!is_exact(r)) {
        size_t offset;
        struct pt_address_map *l = map_of(r, &offset);
        pt_address_map_set(l, offset, r->asked, number, false);
    }
}

void pt_table_write_begin(struct pt_record *r)
{
    uint32_t before = atomic_load_explicit(&r->sequence, memory_order_relaxed); /* one writer at a time */
    atomic_store_explicit(&r->sequence, before + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}

void pt_table_write_end(struct pt_record *r)
{
    struct extent *e = extent_of(&current, (uint32_t)(r - pt_table_record(0)));
    bool counts = r->state == PT_LIVE && (r->flags & PT_RELEASED) == 0;
    if (atomic_load_explicit(&e->where, memory_order_relaxed) != 0) {
        atomic_store_explicit(&e->where, 0, memory_order_relaxed);
        atomic_thread_fence(memory_order_release);
    }
    if (counts) {
        atomic_store_explicit(&e->asked, r->asked, memory_order_relaxed);
        atomic_store_explicit(&e->where, r->base | (uint64_t)r->generation << 48, memory_order_release);
    }
    uint32_t before = atomic_load_explicit(&r->sequence, memory_order_relaxed);
    atomic_store_explicit(&r->sequence, before + 1, memory_order_release);
}

static bool covers(const struct map *m, const void *p, size_t n)
{
    size_t offset = (uintptr_t)p - (uintptr_t)m->range.base;
    if (offset >= m->range.size) {
        return false;
    }
    if (offset < m->range.small) {
        uint64_t entry = pt_address_map_get(&m->page, offset);
        size_t granule = entry != 0 ? PT_PAGE : FINE_GRANULE;
        size_t left = pt_address_map_left(entry != 0 ? entry : pt_address_map_get(&m->fine, offset)),
               at = offset % granule;
        return at <= left && n <= left - at && left > 0;
    }
    const struct extent *e = extent_of(m, pt_starts_find(&m->exact, offset - m->range.small));
    uint64_t where = atomic_load_explicit(&e->where, memory_order_acquire);
    uint64_t asked = atomic_load_explicit(&e->asked, memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    if (where == 0 || where != atomic_load_explicit(&e->where, memory_order_relaxed)) {
        return false; /* none, or it came or went this very moment: both answers are true */
    }
    uint64_t at = (uintptr_t)p - (where & 0xffffffffffffu);
    return at <= asked && n <= asked - at;
}

bool pt_table_covers(const void *p, size_t n)
{
    bool yes = covers(&current, p, n);
    for (size_t i = 0; !yes && i < ancestor_count; i++) {
        yes = covers(&ancestors[i], p, n);
    }
    return yes;
}

struct pt_found pt_table_find(const void *p)
{
    const struct map *m = &current;
    struct pt_found found = {0};
    size_t offset = (uintptr_t)p - (uintptr_t)m->range.base;
    if (offset >= m->range.size || m->table == NULL) {
        return found;
    }
    uint32_t number;
    if (offset >= m->range.small) {
        number = pt_starts_find(&m->exact, offset - m->range.small);
    } else {
        uint64_t entry = pt_address_map_get(&m->page, offset);
        number = pt_address_map_number(entry != 0 ? entry : pt_address_map_get(&m->fine, offset));
    }
    if (number == 0) {
        return found;
    }
    const struct pt_record *r = record_of(m, number);
    uint32_t before, after;
    uint64_t end;
    do {
        before = atomic_load_explicit(&r->sequence, memory_order_acquire);
        found = (struct pt_found){.number = number,
                                  .generation = PT_GET(r->generation),
                                  .manager = PT_GET(r->manager),
                                  .state = PT_GET(r->state),
                                  .flags = PT_GET(r->flags),
                                  .base = PT_GET(r->base),
                                  .asked = PT_GET(r->asked)};
        end = found.base + PT_GET(r->capacity);
        atomic_thread_fence(memory_order_acquire);
        after = atomic_load_explicit(&r->sequence, memory_order_relaxed);
    } while (before != after || (before & 1) != 0);
    /* The record may have moved on to other memory since the index was read. */
    bool holds = (uintptr_t)p >= found.base && (uintptr_t)p < end;
    if (found.state == PT_FREE || found.state == PT_HOLE || !holds) {
        found.number = 0;
    }
    return found;
}

bool pt_table_ours(const void *p)
{
    return (uintptr_t)p - (uintptr_t)current.range.base < current.range.size && pt_segments_is_open(p);
}

void pt_table_disown(void)
{
    if (current.table != NULL) {
        leave_file(); /* if no handler has yet */
        /* Past the last place the oldest ancestor is forgotten: its blocks look foreign, as stock's would. */
        if (ancestor_count == ANCESTORS_MOST) {
            memmove(ancestors, ancestors + 1, sizeof ancestors - sizeof ancestors[0]);
            ancestor_count--;
        }
        ancestors[ancestor_count++] = current;
        current.range.size = 0; /* and no more, since another thread may be looking something up */
        current.table = NULL;
    }
}

/* Strikes a block out of the index of this process, which is private, if it starts at p and is alive. */
static bool forget(struct map *m, const void *p)
{
    size_t offset = (uintptr_t)p - (uintptr_t)m->range.base;
    if (offset >= m->range.size) {
        return false;
    }
    if (offset >= m->range.small) {
        struct extent *e = extent_of(m, pt_starts_find(&m->exact, offset - m->range.small));
        bool starts = (atomic_load(&e->where) & 0xffffffffffffu) == (uintptr_t)p;
        if (starts) {
            atomic_store(&e->where, 0);
        }
        return starts;
    }
    struct pt_address_map *l = pt_address_map_get(&m->page, offset) != 0 ? &m->page : &m->fine;
    uint64_t entry = pt_address_map_get(l, offset);
    uint64_t before = offset >= l->granule ? pt_address_map_get(l, offset - l->granule) : 0;
    bool starts = pt_address_map_left(entry) > 0 && offset % l->granule == 0 &&
                  pt_address_map_number(before) != pt_address_map_number(entry);
    if (starts) {
        pt_address_map_set(l, offset, pt_address_map_left(entry), pt_address_map_number(entry), false);
    }
    return starts;
}

bool pt_table_forget_inherited(const void *p, bool current_is_own)
{
    bool found = !current_is_own && forget(&current, p);
    for (size_t i = 0; i < ancestor_count && !found; i++) {
        found = forget(&ancestors[i], p);
    }
    return found;
}

uint64_t pt_table_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
