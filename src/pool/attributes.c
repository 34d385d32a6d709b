#include "pool/attributes.h"

#include "ledger/table.h"
#include "memory/owner.h"
#include "memory/pages.h"
#include "pool/lock.h"

/* Blocks of the small region begin at multiples of this. */
#define GRANULE ((size_t)64)

static uintptr_t down(uintptr_t at, size_t unit)
{
    return at & ~(unit - 1);
}

static bool is_small(uintptr_t at)
{
    const struct pt_range *r = pt_segments_range();
    return at - (uintptr_t)r->base < r->small;
}

/* The part of whole pages that lies in the range. */
struct span {
    uintptr_t at, end;
};
static struct span ours_of(void *p, size_t len)
{
    const struct pt_range *r = pt_segments_range();
    uintptr_t first = (uintptr_t)r->base, last = first + r->size;
    struct span s = {down((uintptr_t)p, PT_PAGE), pt_pages_up((uintptr_t)p + len, PT_PAGE)};
    s.at = s.at > first ? s.at : first;
    s.end = s.end < last && s.end >= (uintptr_t)p ? s.end : last;
    return s;
}

/* The next address worth looking at. */
static uintptr_t after(uintptr_t at, const struct pt_found *f)
{
    size_t step = is_small(at) ? GRANULE : PT_PAGE;
    uintptr_t end = f->number != 0 ? pt_pages_up(f->base + f->asked, step) : 0;
    return end > at ? end : at + step;
}

/* One bit, and the only one that is set without the record's lock: whoever asks holds the block. */
static void remember(uint32_t number)
{
    (void)__atomic_fetch_or(&pt_table_record(number)->flags, PT_ALTERED, __ATOMIC_RELAXED);
}

bool pt_attributes_begin(void *p, size_t len)
{
    bool rest = false;
    if (len == 0 || !pt_owner_owns()) {
        return false;
    }
    for (struct span s = ours_of(p, len); s.at < s.end;) {
        if (!pt_segments_is_open((void *)s.at)) {
            s.at = down(s.at, PT_HUGE) + PT_HUGE;
            continue;
        }
        struct pt_found f = pt_table_find((void *)s.at);
        bool live = f.number != 0 && f.state == PT_LIVE;
        if (live) {
            remember(f.number);
        }
        rest = rest || (!live && !is_small(s.at));
        s.at = after(s.at, &f);
    }
    return rest;
}

/* A signal handler may have interrupted this very thread while it holds the lock. */
static bool lock(void)
{
    return pt_lock_try() || pt_lock_enter_at_the_end();
}

/* Live blocks have it remembered; pages of the small region that nobody uses are undone with those beside them. */
void pt_attributes_end(void *p, size_t len)
{
    if (!pt_owner_owns() || !lock()) {
        return;
    }
    for (struct span s = ours_of(p, len); s.at < s.end;) {
        if (is_small(s.at) || !pt_segments_is_open((void *)s.at)) {
            s.at = down(s.at, PT_HUGE) + PT_HUGE;
            continue;
        }
        struct pt_found f = pt_table_find((void *)s.at);
        uintptr_t next = after(s.at, &f), end = next < s.end ? next : s.end;
        bool waits = f.number != 0 && (f.state == PT_CACHED || f.state == PT_FLYING);
        if (waits || f.number == 0) {
            (void)pt_segments_plain((void *)s.at, end - s.at);
        }
        if (waits && (f.flags & PT_REGISTERED) == 0) {
            (void)pt_pages_lock_again((void *)s.at, end - s.at);
        }
        s.at = next;
    }
    pt_lock_leave();
}

void pt_attributes_unlocked_all(void)
{
    if (!pt_owner_owns() || !lock()) {
        return;
    }
    uint32_t count = atomic_load(&pt_table()->records);
    for (uint32_t number = 1; number < count; number++) {
        const struct pt_record *r = pt_table_record(number);
        if ((r->flags & (PT_EXACT | PT_REGISTERED | PT_PAGEABLE)) == PT_EXACT && r->state == PT_LIVE) {
            remember(number);
        } else if ((r->flags & (PT_EXACT | PT_REGISTERED)) == PT_EXACT &&
                   (r->state == PT_CACHED || r->state == PT_FLYING)) {
            (void)pt_pages_lock_again((void *)r->base, r->capacity);
        }
    }
    pt_lock_leave();
    pt_segments_lock_again();
}

/* Whether a page of the small region has a live block in it still; these remember what was done to the page. */
static bool is_used(uintptr_t page)
{
    bool used = false;
    for (uintptr_t at = page; at < page + PT_PAGE; at += GRANULE) {
        struct pt_found f = pt_table_find((void *)at);
        if (f.number != 0 && f.state == PT_LIVE) {
            remember(f.number);
            used = true;
        }
    }
    return used;
}

bool pt_attributes_undo(void *base, size_t len, bool exact, bool registered)
{
    uintptr_t end = pt_pages_up((uintptr_t)base + len, PT_PAGE);
    bool all = true;
    if (exact) {
        all = pt_segments_plain(base, len) == 0;
        return (registered || pt_pages_lock_again(base, len) == 0) && all;
    }
    for (uintptr_t page = down((uintptr_t)base, PT_PAGE); page < end; page += PT_PAGE) {
        if (!is_used(page)) {
            all = pt_segments_plain((void *)page, PT_PAGE) == 0 && all;
            all = (registered || pt_pages_lock_again((void *)page, PT_PAGE) == 0) && all;
        }
    }
    return all;
}
