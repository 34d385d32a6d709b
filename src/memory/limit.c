#include "memory/limit.h"

#include "base/limit_text.h"
#include "base/log.h"
#include "base/options.h"
#include "memory/node_share.h"
#include "memory/pressure.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

_Atomic bool pt_limit_passed;

/* Written once a process, but for the atomic ones. */
static struct {
    size_t most[PT_LIMIT_WHOSE][PT_LIMIT_HOW]; /* SIZE_MAX: no limit */
    bool any, node;                            /* whether there are some; one for the node */
    _Atomic size_t taken;
    _Atomic bool passed[PT_LIMIT_WHOSE], told[PT_LIMIT_WHOSE]; /* soft ones */
} state;

/* ---- reading the option ---- */

static size_t bytes_of(const struct pt_limit_amount *a)
{
    uint64_t all;
    if (!a->given) {
        return SIZE_MAX;
    }
    if (!a->percent) {
        return a->amount;
    }
    all = pt_pressure_total();
    if (all == 0) {
        pt_log("PINTENSOR_LIMIT=%s is a part of nobody knows how much memory; there is no such limit",
               pt_option_text(PT_OPTION_LIMIT));
        return SIZE_MAX;
    }
    return all / 100 * a->amount + all % 100 * a->amount / 100;
}

static void join_node(void)
{
    int error = pt_node_share_join();
    if (error != 0) {
        state.most[PT_LIMIT_NODE][PT_LIMIT_HARD] = state.most[PT_LIMIT_NODE][PT_LIMIT_SOFT] = SIZE_MAX;
        state.node = false;
        pt_log("this process keeps no limit for the node (errno %d): it cannot use %s, which has to be a file of this "
               "user's "
               "that nobody else may write",
               -error, pt_node_share_file());
    }
}

void pt_limit_init(void)
{
    struct pt_limit_text text;
    const char *value = pt_option_text(PT_OPTION_LIMIT);
    memset(&state, 0, sizeof state);
    pt_limit_passed = false;
    if (pt_limit_text_parse(value, &text) != 0) {
        pt_log("PINTENSOR_LIMIT=%s is not %s; there is no limit", value, PT_LIMIT_TEXT_FORMS);
        text = (struct pt_limit_text){0};
    }
    for (unsigned whose = 0; whose < PT_LIMIT_WHOSE; whose++) {
        for (unsigned how = 0; how < PT_LIMIT_HOW; how++) {
            state.most[whose][how] = bytes_of(&text.of[whose][how]);
            state.any = state.any || state.most[whose][how] != SIZE_MAX;
            state.node = state.node || (whose == PT_LIMIT_NODE && state.most[whose][how] != SIZE_MAX);
        }
    }
    if (state.node) {
        join_node();
    }
}

/* ---- taking ---- */

static void look_at_soft(enum pt_limit_whose whose, size_t all)
{
    if (all > state.most[whose][PT_LIMIT_SOFT] && !atomic_load(&state.told[whose])) {
        atomic_store(&state.passed[whose], true);
        atomic_store(&pt_limit_passed, true);
    }
}

static bool take_of_process(size_t len)
{
    size_t hard = state.most[PT_LIMIT_PROCESS][PT_LIMIT_HARD], taken = atomic_load(&state.taken);
    do {
        if (len > hard || taken > hard - len) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&state.taken, &taken, taken + len));
    return true;
}

/* Bytes of the user's processes. What ended ones have left is looked for where it would make a difference. */
static size_t all_of_node(size_t len, size_t most)
{
    size_t all = pt_node_share_all();
    return all + len > most && pt_node_share_sweep() ? pt_node_share_all() : all;
}

/* Entered first, and looked at then: of two processes that do so at once, one at least sees the other. */
static bool take_of_node(size_t len)
{
    size_t hard = state.most[PT_LIMIT_NODE][PT_LIMIT_HARD];
    size_t soft = atomic_load(&state.told[PT_LIMIT_NODE]) ? hard : state.most[PT_LIMIT_NODE][PT_LIMIT_SOFT];
    pt_node_share_add(len);
    size_t all = all_of_node(0, soft < hard ? soft : hard);
    if (all > hard) {
        pt_node_share_sub(len);
        return false;
    }
    look_at_soft(PT_LIMIT_NODE, all);
    return true;
}

int pt_limit_take(size_t len)
{
    if (!state.any) {
        return 0;
    }
    if (!take_of_process(len)) {
        return -EDQUOT;
    }
    if (state.node && !take_of_node(len)) {
        atomic_fetch_sub(&state.taken, len);
        return -EDQUOT;
    }
    look_at_soft(PT_LIMIT_PROCESS, atomic_load(&state.taken));
    return 0;
}

void pt_limit_give(size_t len)
{
    if (!state.any) {
        return;
    }
    atomic_fetch_sub(&state.taken, len);
    if (state.node) {
        pt_node_share_sub(len);
    }
}

static bool has_room(enum pt_limit_whose whose, size_t len, size_t all)
{
    size_t hard = state.most[whose][PT_LIMIT_HARD];
    return len <= hard && all <= hard - len;
}

static bool node_has_room(size_t len)
{
    size_t hard = state.most[PT_LIMIT_NODE][PT_LIMIT_HARD];
    return !state.node || hard == SIZE_MAX || has_room(PT_LIMIT_NODE, len, all_of_node(len, hard));
}

bool pt_limit_room(size_t len)
{
    return !state.any || (has_room(PT_LIMIT_PROCESS, len, atomic_load(&state.taken)) && node_has_room(len));
}

size_t pt_limit_most(void)
{
    size_t most = state.any ? state.most[PT_LIMIT_PROCESS][PT_LIMIT_HARD] : SIZE_MAX;
    size_t node = state.any ? state.most[PT_LIMIT_NODE][PT_LIMIT_HARD] : SIZE_MAX;
    if (node != SIZE_MAX) {
        size_t all = pt_node_share_all(), own = atomic_load(&state.taken), others = all > own ? all - own : 0;
        node = node > others ? node - others : 0;
    }
    return most < node ? most : node;
}

/* ---- words ---- */

static void say_which(enum pt_limit_whose whose, enum pt_limit_how how, struct pt_text *out)
{
    size_t taken = atomic_load(&state.taken);
    if (whose == PT_LIMIT_PROCESS) {
        pt_text_add(out, "this process may have %B and has %B", state.most[whose][how], taken);
    } else {
        pt_text_add(out, "this user's processes on this machine may have %B and have %B, of which %B are this one's",
                    state.most[whose][how], pt_node_share_all(), taken);
    }
    pt_text_add(out, " (PINTENSOR_LIMIT=%s)", pt_option_text(PT_OPTION_LIMIT));
}

void pt_limit_explain(size_t len, struct pt_text *out)
{
    bool own = !has_room(PT_LIMIT_PROCESS, len, atomic_load(&state.taken));
    say_which(own || !state.node ? PT_LIMIT_PROCESS : PT_LIMIT_NODE, PT_LIMIT_HARD, out);
}

bool pt_limit_warn(struct pt_text *out)
{
    atomic_store(&pt_limit_passed, false);
    for (unsigned whose = 0; whose < PT_LIMIT_WHOSE; whose++) {
        if (atomic_exchange(&state.passed[whose], false) && !atomic_exchange(&state.told[whose], true)) {
            say_which(whose, PT_LIMIT_SOFT, out);
            return true;
        }
    }
    return false;
}
