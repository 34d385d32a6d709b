#include "ledger/starts.h"

#include "memory/pages.h"

#include <errno.h>
#include <string.h>

/* Bytes of a level's words that stand for so many pages. */
static size_t bytes_of(size_t pages, unsigned level)
{
    for (unsigned i = 0; i <= level; i++) {
        pages = (pages + 63) / 64;
    }
    return pages * sizeof(uint64_t);
}

/* One stretch of addresses: the numbers, then the words of each level. */
int pt_starts_init(struct pt_starts *s, size_t span)
{
    *s = (struct pt_starts){.pages = span / PT_PAGE};
    size_t bytes[PT_STARTS_LEVELS + 1] = {pt_pages_up(s->pages * sizeof s->numbers[0], PT_HUGE)}, sum = bytes[0];
    for (unsigned i = 0; i < PT_STARTS_LEVELS; i++) {
        bytes[i + 1] = pt_pages_up(bytes_of(s->pages, i), PT_HUGE);
        sum += bytes[i + 1];
    }
    char *base = pt_pages_reserve(sum);
    if (base == NULL) {
        return -ENOMEM;
    }
    pt_book_over(&s->number_book, base, bytes[0], pt_pages_open_book);
    s->numbers = (void *)base;
    for (unsigned i = 0; i < PT_STARTS_LEVELS; i++) {
        base += bytes[i];
        pt_book_over(&s->word_book[i], base, bytes[i + 1], pt_pages_open_book);
        s->words[i] = (void *)base;
    }
    return 0;
}

int pt_starts_open(struct pt_starts *s, size_t offset_end)
{
    size_t need = (offset_end + PT_PAGE - 1) / PT_PAGE;
    need = need < s->pages ? need : s->pages;
    if (need <= atomic_load_explicit(&s->opened, memory_order_relaxed)) {
        return 0;
    }
    int error = pt_book_open(&s->number_book, need * sizeof s->numbers[0]);
    for (unsigned i = 0; i < PT_STARTS_LEVELS && error == 0; i++) {
        error = pt_book_open(&s->word_book[i], bytes_of(need, i));
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
