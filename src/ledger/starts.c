#include "ledger/starts.h"

#include "memory/pages.h"

#include <errno.h>
#include <string.h>

static size_t words_of(size_t pages, unsigned level)
{
    for (unsigned i = 0; i <= level; i++) {
        pages = (pages + 63) / 64;
    }
    return pages;
}

/* Everything in one stretch: the numbers, then the words of each level. Levels above the first are small and opened at
 * once. */
int pt_starts_init(struct pt_starts *s, size_t span)
{
    size_t at[PT_STARTS_LEVELS + 1];
    *s = (struct pt_starts){.pages = span / PT_PAGE};
    at[0] = pt_pages_up(s->pages * sizeof s->numbers[0], PT_PAGE);
    for (unsigned i = 0; i < PT_STARTS_LEVELS; i++) {
        at[i + 1] = at[i] + pt_pages_up(words_of(s->pages, i) * sizeof s->words[i][0], PT_PAGE);
    }
    char *base = pt_pages_reserve(at[PT_STARTS_LEVELS]);
    if (base == NULL || pt_pages_open(base + at[1], at[PT_STARTS_LEVELS] - at[1]) != 0) {
        return -ENOMEM;
    }
    s->numbers = (void *)base;
    for (unsigned i = 0; i < PT_STARTS_LEVELS; i++) {
        s->words[i] = (void *)(base + at[i]);
    }
    return 0;
}

/* Opens one of the arrays from the entry that stands for page `from` to that for page `to`. */
static int open_array(void *array, size_t from, size_t to, size_t pages_an_entry, size_t entry)
{
    size_t begin = from / pages_an_entry * entry & ~(PT_PAGE - 1);
    size_t end = pt_pages_up((to + pages_an_entry - 1) / pages_an_entry * entry, PT_PAGE);
    return pt_pages_open((char *)array + begin, end - begin);
}

int pt_starts_open(struct pt_starts *s, size_t offset_end)
{
    enum { AT_ONCE = 1 << 17 }; /* pages: half a GiB of blocks for half a MiB of numbers */
    size_t opened = atomic_load_explicit(&s->opened, memory_order_relaxed);
    size_t need = pt_pages_up((offset_end + PT_PAGE - 1) / PT_PAGE, AT_ONCE);
    need = need < s->pages ? need : s->pages;
    if (need <= opened) {
        return 0;
    }
    int error = open_array(s->numbers, opened, need, 1, sizeof s->numbers[0]);
    if (error == 0) {
        error = open_array(s->words[0], opened, need, 64, sizeof s->words[0][0]);
    }
    if (error == 0) {
        atomic_store_explicit(&s->opened, need, memory_order_release);
    }
    return error;
}

/* There is one writer at a time: no locked instruction is needed. */
static uint64_t change(_Atomic uint64_t *word, uint64_t bit, int on)
{
    uint64_t value = atomic_load_explicit(word, memory_order_relaxed);
    value = on ? value | bit : value & ~bit;
    atomic_store_explicit(word, value, memory_order_release);
    return value;
}

void pt_starts_set(struct pt_starts *s, size_t offset, uint32_t number)
{
    size_t at = offset / PT_PAGE;
    atomic_store_explicit(&s->numbers[at], number, memory_order_release);
    for (unsigned i = 0; i < PT_STARTS_LEVELS; i++, at /= 64) {
        change(&s->words[i][at / 64], (uint64_t)1 << at % 64, 1);
    }
}

void pt_starts_clear(struct pt_starts *s, size_t offset)
{
    size_t at = offset / PT_PAGE;
    for (unsigned i = 0; i < PT_STARTS_LEVELS; i++, at /= 64) {
        if (change(&s->words[i][at / 64], (uint64_t)1 << at % 64, 0) != 0) {
            break;
        }
    }
}

/* The bits of a word up to the given one. */
static uint64_t up_to(uint64_t word, size_t bit)
{
    return word & UINT64_MAX >> (63 - bit);
}

uint32_t pt_starts_find(const struct pt_starts *s, size_t offset)
{
    size_t at = offset / PT_PAGE;
    unsigned level = 0;
    if (at >= atomic_load_explicit(&s->opened, memory_order_acquire)) {
        return 0;
    }
    for (;;) {
        uint64_t word = up_to(atomic_load_explicit(&s->words[level][at / 64], memory_order_acquire), at % 64);
        if (word != 0) { /* down to the last one that it stands for */
            at = (at | 63) - (size_t)__builtin_clzl(word);
            if (level == 0) {
                return atomic_load_explicit(&s->numbers[at], memory_order_acquire);
            }
            level--;
            at = at << 6 | 63;
        } else { /* up, to what lies before this word */
            at /= 64;
            level++;
            if (at == 0 || level == PT_STARTS_LEVELS) {
                return 0;
            }
            at--;
        }
    }
}
