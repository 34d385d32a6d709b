#include "report/advice.h"

#include "ledger/place.h"

/* What is known is who asked for the memory and that it stays. Who keeps it is not. */
static const char *const advice[][PT_DOOR_COUNT] = {
    [PT_LOSS_GROWING] = {[PT_DOOR_C] = "free each block with pintensor_free() when it is done with",
                         [PT_DOOR_DEEPSPEED] =
                             "free_cpu_locked_tensor(t) when a tensor is done with, and clear the list or "
                             "cache that keeps it",
                         [PT_DOOR_TORCH] = "clear the list, cache or closure that keeps these tensors",
                         [PT_DOOR_CUDA] = "cudaFreeHost() each block when it is done with"},
    [PT_LOSS_RECLAIMED] = {[PT_DOOR_C] = "pintensor_free() before the last tensor on the block goes",
                           [PT_DOOR_DEEPSPEED] =
                               "free_cpu_locked_tensor(t) before the last reference to the tensor goes",
                           [PT_DOOR_TORCH] = "keep the tensor until it is freed",
                           [PT_DOOR_CUDA] = "cudaFreeHost() when it is done with"},
    [PT_LOSS_HELD] = {[PT_DOOR_C] = "free it with pintensor_free() when it is done with",
                      [PT_DOOR_DEEPSPEED] = "free_cpu_locked_tensor(t) when it is done with",
                      [PT_DOOR_TORCH] = "drop the variable, list or cache that keeps it",
                      [PT_DOOR_CUDA] = "cudaFreeHost() when it is done with"},
};

void pt_advice_add(struct pt_text *out, enum pt_loss loss, enum pt_door door)
{
    pt_text_add(out, "%s", advice[loss][door]);
}

/* The largest of one kind. */
static __attribute__((noinline)) uint32_t worst(const struct pt_entries *e, pt_share_of *of, struct pt_share *share)
{
    struct pt_ranking c = pt_entries_rank(e, of);
    *share = c.share[0];
    return c.shown > 0 ? c.row[0] : UINT32_MAX;
}

/* Where, and from where if that is known: what makes tensors for others seldom keeps them. */
static __attribute__((noinline)) void write_place(const struct pt_entries *e, uint32_t entry, pt_share_of *of,
                                                  struct pt_site *s, struct pt_text *out)
{
    struct pt_ranking sites = pt_entries_rank_sites(e, entry, of);
    pt_table_copy_site(&e->of->site[sites.shown > 0 ? sites.row[0] : entry], s);
    pt_place_of_site(s, out);
    int caller = pt_place_caller(s, pt_place_top(s));
    if (sites.all > 1) {
        pt_text_add(out, ", called from %u places", sites.all);
    } else if (caller >= 0) {
        pt_text_add(out, ", called from ");
        pt_place_frame(&s->frames[caller], out);
    }
}

uint32_t pt_advice_write(const struct pt_entries *e, struct pt_text *out)
{
    struct pt_share grows, drops, holds;
    uint32_t growing = worst(e, pt_share_growing, &grows), reclaimed = worst(e, pt_share_reclaimed, &drops);
    uint32_t held = e->of->ended ? worst(e, pt_share_held, &holds) : UINT32_MAX;
    enum pt_loss loss = PT_LOSS_HELD;
    uint32_t entry = held;
    pt_share_of *of = pt_share_held;
    if (growing != UINT32_MAX && (reclaimed == UINT32_MAX || grows.locked >= drops.locked)) {
        loss = PT_LOSS_GROWING;
        entry = growing;
        of = pt_share_growing;
    } else if (reclaimed != UINT32_MAX) {
        loss = PT_LOSS_RECLAIMED;
        entry = reclaimed;
        of = pt_share_reclaimed;
    }
    if (entry == UINT32_MAX || !pt_place_is_known(&e->of->site[entry])) {
        return UINT32_MAX;
    }
    static const char *const what[] = {[PT_LOSS_GROWING] = "more stays alive each time; ",
                                       [PT_LOSS_RECLAIMED] = "dropped without free(); ",
                                       [PT_LOSS_HELD] = "alive until the end; if it need not be, "};
    struct pt_site s;
    pt_text_add(out, "  fix: ");
    write_place(e, entry, of, &s, out);
    pt_text_add(out, ": %s", what[loss]);
    pt_advice_add(out, loss, s.door);
    pt_text_add(out, "\n");
    return loss == PT_LOSS_HELD ? UINT32_MAX : entry;
}
