#include "memory/small_chunk.h"

#include "device/driver.h"
#include "memory/pages.h"
#include "memory/pin.h"

#include <errno.h>
#include <string.h>

/* What each huge page of the region is: mlocked or nothing, the first of a chunk, or a later one. */
enum { PLAIN, FIRST, LATER };

/* The mutex of segments guards these. */
static char *base;
static uint8_t *page, *kind;

enum { PAGES = PT_HUGE / PT_PAGE };

size_t pt_small_chunk_book(size_t len)
{
    return len / PT_HUGE + 2;
}

void pt_small_chunk_init(char *region, uint8_t *pages, uint8_t *book)
{
    base = region;
    page = pages;
    kind = book;
}

static size_t huge_of(const void *p)
{
    return (size_t)((const char *)p - base) / PT_HUGE;
}

/* The chunk around a huge page: its first one, and the one after its last. */
static size_t bounds(size_t at, size_t *end)
{
    size_t first = at;
    while (kind[first] == LATER) {
        first--;
    }
    for (*end = at + 1; kind[*end] == LATER; (*end)++) {
    }
    return first;
}

int pt_small_chunk_add(char *p, size_t len)
{
    int error = pt_pin_register(p, len);
    if (error == 0) {
        size_t first = huge_of(p), count = len / PT_HUGE;
        memset(&kind[first], LATER, count);
        kind[first] = FIRST;
        memset(&page[first * PAGES], PT_PAGE_FREE, count * PAGES);
    }
    return error;
}

bool pt_small_chunk_holds(const void *p)
{
    return kind[huge_of(p)] != PLAIN;
}

long pt_small_chunk_restore(const void *p)
{
    size_t end, first = bounds(huge_of(p), &end), len = (end - first) * PT_HUGE;
    if (page[first * PAGES] != PT_PAGE_GONE) {
        return page[first * PAGES] == PT_PAGE_LEAVING ? -EAGAIN : 0;
    }
    int error = pt_pin_register(base + first * PT_HUGE, len);
    if (error != 0) {
        return error;
    }
    memset(&page[first * PAGES], PT_PAGE_FREE, len / PT_PAGE);
    return (long)len;
}

void pt_small_chunk_register_again(const char *end)
{
    for (size_t at = 0, next; base + at * PT_HUGE < end; at = next) {
        (void)bounds(at, &next);
        if (kind[at] == FIRST && page[at * PAGES] != PT_PAGE_LEAVING && page[at * PAGES] != PT_PAGE_GONE) {
            (void)pt_driver_register(base + at * PT_HUGE, (next - at) * PT_HUGE);
        }
    }
}

size_t pt_small_chunk_leave(const void *p, char **start)
{
    size_t end, first = bounds(huge_of(p), &end);
    for (size_t at = first * PAGES; at < end * PAGES; at++) {
        if (page[at] != PT_PAGE_FREE) {
            return 0;
        }
    }
    memset(&page[first * PAGES], PT_PAGE_LEAVING, (end - first) * PAGES);
    *start = base + first * PT_HUGE;
    return (end - first) * PT_HUGE;
}

void pt_small_chunk_gone(char *start, size_t len)
{
    memset(&page[huge_of(start) * PAGES], PT_PAGE_GONE, len / PT_PAGE);
}

bool pt_small_chunk_joined(const void *border)
{
    size_t after = huge_of(border), before = huge_of((const char *)border - 1);
    return before == after || kind[after] == LATER || (kind[before] == PLAIN && kind[after] == PLAIN);
}
