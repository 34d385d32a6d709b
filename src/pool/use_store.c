#include "pool/use_store.h"

#include "memory/book.h"

#include <stddef.h>
#include <string.h>

#define USES_MOST ((uint32_t)1 << 20)

struct pt_use *pt_use_store; /* where it is does not change once there is one */

/* The pool's lock guards it; but a place that is there stays as it is. */
static struct {
    struct pt_place places[PT_PLACES_MOST];
    uint32_t place_count, spare[PT_PLACES_MOST];
    uint32_t used; /* numbers given out so far */
} state;

static struct pt_book book; /* the store's */

void pt_use_store_reset(void)
{
    memset(&state, 0, sizeof state); /* in a forked child, the uses are its own copy */
}

uint32_t pt_use_store_place(const struct pt_place *at)
{
    uint32_t i = 0;
    while (i < state.place_count && (state.places[i].context != at->context || state.places[i].number != at->number)) {
        i++;
    }
    if (i == state.place_count && i < PT_PLACES_MOST) {
        state.places[state.place_count++] = *at;
    }
    return i;
}

const struct pt_place *pt_use_store_place_of(const struct pt_use *u)
{
    return &state.places[u->place];
}

/* The next number that was never given out; 0: there is no room. */
static uint32_t new_number(void)
{
    if (pt_use_store == NULL && pt_book_init(&book, USES_MOST * sizeof(struct pt_use)) == 0) {
        pt_use_store = book.base;
    }
    uint32_t number = state.used + 1;
    if (pt_use_store == NULL || number == USES_MOST || pt_book_open(&book, (number + 1) * sizeof(struct pt_use)) != 0) {
        return 0;
    }
    return state.used = number;
}

uint32_t pt_use_store_take(uint32_t place)
{
    uint32_t number = state.spare[place];
    void *event = NULL;
    if (number != 0) {
        state.spare[place] = pt_use(number)->next;
        event = pt_use(number)->event;
    } else {
        number = new_number();
    }
    if (number != 0) {
        *pt_use(number) = (struct pt_use){.event = event, .place = (uint16_t)place};
    }
    return number;
}

void pt_use_store_give(uint32_t number)
{
    struct pt_use *u = pt_use(number);
    u->next = state.spare[u->place];
    state.spare[u->place] = number;
}

void pt_use_store_give_event(const struct pt_place *at, void *event)
{
    uint32_t number = new_number();
    if (number != 0) { /* else it is lost, as the place of a million others */
        *pt_use(number) = (struct pt_use){.event = event, .place = (uint16_t)pt_use_store_place(at)};
        pt_use_store_give(number);
    }
}
