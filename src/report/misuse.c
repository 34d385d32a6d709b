#include "report/misuse.h"

#include "base/log.h"
#include "ledger/place.h"

static const char *const names[] = {
    [PT_MISUSE_TWICE] = "was freed already",
    [PT_MISUSE_INTERIOR] = "points into a block, not to its start",
    [PT_MISUSE_FOREIGN] = "was never ours",
    [PT_MISUSE_STALE] = "belongs to a newer block by now",
    [PT_MISUSE_MANAGER] = "belongs to another manager",
};

const char *pt_misuse_name(uint32_t kind)
{
    return names[kind];
}

bool pt_misuse_count(const struct pt_misuse *m)
{
    struct pt_table *t = pt_table();
    uint32_t used = atomic_load(&t->misuses);
    for (uint32_t i = 0; i < used; i++) {
        if (t->misuse[i].kind == m->kind && t->misuse[i].site == m->site && t->misuse[i].alloc_site == m->alloc_site) {
            PT_PUT(t->misuse[i].count, t->misuse[i].count + 1);
            return false;
        }
    }
    if (used == PT_MISUSE_MOST) {
        PT_PUT(t->misuse[used - 1].count,
               t->misuse[used - 1].count + 1); /* the last entry stands for all that found no place */
        return false;
    }
    t->misuse[used] = *m;
    t->misuse[used].count = 1;
    atomic_store(&t->misuses, used + 1);
    return true;
}

void pt_misuse_say(const struct pt_misuse *m, const void *address)
{
    char line[1024];
    struct pt_text t;
    pt_log_begin(&t, line, sizeof line);
    pt_text_add(&t, "warning: free(%p) %s; nothing was changed. Called from ", address, names[m->kind]);
    pt_place_of(m->site, &t);
    if (m->alloc_site != 0) {
        pt_text_add(&t, "; the block came from ");
        pt_place_of(m->alloc_site, &t);
    }
    if (m->release_site != 0) {
        pt_text_add(&t, "; last freed from ");
        pt_place_of(m->release_site, &t);
    }
    pt_log_end(&t);
}
