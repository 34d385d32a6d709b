#include "pool/use_store.h"

#include "memory/pages.h"

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

static bool open_store(void)
{
    size_t len = pt_pages_up(USES_MOST * sizeof(struct pt_use), PT_PAGE);
    struct pt_use *uses = pt_pages_reserve(len);
    if (uses != NULL && pt_pages_open(uses, len) == 0) {
        pt_use_store = uses;
    }
    return pt_use_store != NULL;
}

uint32_t pt_use_store_take(uint32_t place)
{
    uint32_t number = state.spare[place];
    void *event = NULL;
    if (number != 0) {
        state.spare[place] = pt_use(number)->next;
        event = pt_use(number)->event;
    } else if ((pt_use_store != NULL || open_store()) && state.used + 1 < USES_MOST) {
        number = ++state.used;
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
    if (state.used + 1 < USES_MOST) { /* else it is lost, as the place of a million others */
        uint32_t number = ++state.used;
        *pt_use(number) = (struct pt_use){.event = event, .place = (uint16_t)pt_use_store_place(at)};
        pt_use_store_give(number);
    }
}
