#include "memory/windows.h"

#include "base/options.h"
#include "memory/book.h"
#include "memory/pages.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>

/* Address space is free; MemTotal is no guide to it, since virtual machines grow. */
#define RANGE_LARGEST  ((size_t)4 << 40)
#define RANGE_SMALLEST ((size_t)256 << 20)
#define MAPPED_LARGEST ((size_t)64 << 30) /* where it has to be mapped, it shows */

/* Windows are opened ahead of need by a 32nd of what is open: a few hundred however much it becomes. */
#define AHEAD 32

enum { SMALL, EXACT };

/* What each huge page of the range is: not mapped by us, the first of a window, or a later one; and in the EXACT region
 * whether somebody has it: TAKEN begins what he has, CONTINUED goes on with it. */
enum { CLOSED, FIRST, LATER, WINDOW = 3, TAKEN = 4, CONTINUED = 8 };

struct region {
    char *next;    /* what lies before is taken */
    char *stretch; /* from here to `opened` everything is ours */
    char *opened, *end;
};

static struct {
    struct pt_range range;
    bool shared;
    struct region region[2];
    struct pt_book book;
    _Atomic uint8_t *page; /* the book's */
    _Atomic size_t opened; /* written with the mutex of `segments`, read without */
    size_t lowest;         /* no huge page of the EXACT region below is free */
} state;

static char *reserve_range(size_t largest, size_t *size)
{
    char *base = NULL;
    for (*size = largest; base == NULL && *size >= RANGE_SMALLEST; *size /= base == NULL ? 2 : 1) {
        base = pt_pages_reserve(*size);
    }
    return base;
}

int pt_windows_init(bool shared)
{
    size_t size;
    char *base = reserve_range(RANGE_LARGEST, &size);
    if (base == NULL) {
        pt_pages_reserve_by_mapping();
        base = reserve_range(MAPPED_LARGEST, &size);
    }
    if (base == NULL || pt_book_init(&state.book, size / PT_HUGE) != 0) {
        return -ENOMEM;
    }
    if (shared) {
        pt_pages_share(base, size);
    }
    char *exact = base + size / 16;
    state.range = (struct pt_range){.base = base, .small = size / 16, .size = size};
    state.shared = shared;
    state.region[SMALL] = (struct region){.next = base, .stretch = base, .opened = base, .end = exact};
    state.region[EXACT] = (struct region){.next = exact, .stretch = exact, .opened = exact, .end = base + size};
    state.page = state.book.base;
    state.opened = 0;
    state.lowest = state.range.small / PT_HUGE;
    return 0;
}

const struct pt_range *pt_windows_range(void)
{
    return &state.range;
}

static size_t huge_of(const void *p)
{
    return (size_t)((const char *)p - state.range.base) / PT_HUGE;
}

static unsigned page_at(size_t i)
{
    return atomic_load_explicit(&state.page[i], memory_order_acquire);
}

static void change_page(size_t i, unsigned clear, unsigned set)
{
    atomic_store_explicit(&state.page[i], (uint8_t)((page_at(i) & ~clear) | set), memory_order_release);
}

/* Whole huge pages. */
static int open_window(char *p, size_t len)
{
    size_t first = huge_of(p), count = len / PT_HUGE;
    int error = pt_book_open(&state.book, first + count);
    if (error == 0) {
        error = pt_pages_open(p, len, pt_option(PT_OPTION_DUMP) == PT_DUMP_ON);
    }
    if (error == 0) {
        pt_pages_want_huge(p, len);
        for (size_t i = 0; i < count; i++) {
            change_page(first + i, WINDOW, i == 0 ? FIRST : LATER);
        }
        state.opened += len;
    }
    return error;
}

static char *next_of(const struct region *r)
{
    return r->next > r->stretch ? r->next : r->stretch;
}

/* Opens more of the region, for `size` bytes at p or wherever shared windows allow. */
static int extend(struct region *r, char *p, size_t size, size_t align)
{
    char *from = r->opened;
    if (state.shared) { /* a window of its own */
        from += -(size_t)from & ((align > PT_HUGE ? align : PT_HUGE) - 1);
        p = from;
    }
    size_t left = from <= r->end ? (size_t)(r->end - from) : 0, ahead = pt_pages_up(state.opened / AHEAD, PT_HUGE);
    size_t need = pt_pages_up((size_t)(p + size - from), PT_HUGE);
    if (need > left) {
        return -ENOMEM;
    }
    size_t len = ahead > left ? left : ahead;
    int error = len > need ? open_window(from, len) : -EAGAIN;
    if (error != 0) {
        error = open_window(from, len = need);
    }
    if (error == 0) {
        r->opened = from + len;
        r->stretch = state.shared ? from : r->stretch;
    }
    return error;
}

/* The next addresses in open windows. */
static char *find(struct region *r, size_t size, size_t align)
{
    for (size_t skip = PT_HUGE;; skip *= 2) {
        char *p = next_of(r);
        p += -(size_t)p & (align - 1);
        if (p > r->end || size > (size_t)(r->end - p)) {
            return NULL;
        }
        if (p <= r->opened && size <= (size_t)(r->opened - p)) {
            return p;
        }
        int error = extend(r, p, size, align);
        if (error == -EEXIST && skip < (size_t)(r->end - r->opened)) {
            r->opened = r->stretch = r->opened + skip; /* past what is another's */
        } else if (error != 0) {
            return NULL;
        }
    }
}

/* ---- the SMALL region ---- */

char *pt_windows_find(size_t size, size_t align)
{
    return find(&state.region[SMALL], size, align);
}

void pt_windows_take(char *end)
{
    state.region[SMALL].next = end;
}

char *pt_windows_next(void)
{
    return next_of(&state.region[SMALL]);
}

char *pt_windows_stretch(void)
{
    return state.region[SMALL].stretch;
}

char *pt_windows_end(void)
{
    return state.region[SMALL].opened;
}

/* ---- the EXACT region ---- */

static bool is_free(unsigned page)
{
    return (page & (TAKEN | CONTINUED)) == 0 && !(state.shared && (page & WINDOW) == CLOSED);
}

/* The first of `count` free huge pages that were given back or passed over; 0: there are none. */
static size_t find_free(size_t count)
{
    size_t most = huge_of(state.region[EXACT].next), run = 0;
    while (state.lowest < most && !is_free(page_at(state.lowest))) {
        state.lowest++;
    }
    for (size_t i = state.lowest; i < most; i++) {
        unsigned page = page_at(i);
        if (!is_free(page)) {
            run = 0;
        } else if (state.shared && (page & WINDOW) == FIRST) {
            run = 1;
        } else {
            run++;
        }
        if (run == count) {
            return i + 1 - count;
        }
    }
    return 0;
}

/* Addresses that nobody had yet. */
static char *find_fresh(size_t size)
{
    struct region *r = &state.region[EXACT];
    char *p = state.shared ? find(r, size, PT_HUGE) : size <= (size_t)(r->end - r->next) ? r->next : NULL;
    if (p == NULL || pt_book_open(&state.book, huge_of(p) + size / PT_HUGE) != 0) {
        return NULL;
    }
    r->next = p + size;
    return p;
}

char *pt_windows_take_exact(size_t size)
{
    size_t count = size / PT_HUGE, first = find_free(count);
    char *p = first != 0 ? state.range.base + first * PT_HUGE : find_fresh(size);
    if (p != NULL) {
        first = huge_of(p);
        for (size_t i = 0; i < count; i++) {
            change_page(first + i, 0, i == 0 ? TAKEN : CONTINUED);
        }
    }
    return p;
}

void pt_windows_give_exact(char *p)
{
    size_t at = huge_of(p), most = huge_of(state.region[EXACT].next);
    state.lowest = at < state.lowest ? at : state.lowest;
    do {
        change_page(at, TAKEN | CONTINUED, 0);
    } while (++at < most && (page_at(at) & CONTINUED) != 0);
}

int pt_windows_open(void *p, size_t len)
{
    char *end = (char *)p + len, *at = (char *)((uintptr_t)p & ~(PT_HUGE - 1));
    int error = 0;
    while (at < end && error == 0) {
        char *closed = at;
        while (at < end && !pt_windows_is_open(at)) {
            at += PT_HUGE;
        }
        error = at > closed ? open_window(closed, (size_t)(at - closed)) : 0;
        while (at < end && pt_windows_is_open(at)) {
            at += PT_HUGE;
        }
    }
    return error;
}

/* ---- both ---- */

bool pt_windows_is_open(const void *p)
{
    size_t at = huge_of(p);
    return pt_book_has(&state.book, at + 1) && (page_at(at) & WINDOW) != CLOSED;
}

size_t pt_windows_opened(void)
{
    return state.opened;
}
