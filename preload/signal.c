/* Doors to the actions of signals. In a process that has pinned something, the default action of a signal that ends it
 * begins with the report (life/signals). The program sees SIG_DFL where ours is, and when it goes back to SIG_DFL it
 * goes back to ours: Python does so before it ends itself by SIGINT. */
#include "life/signals.h"
#include "stock.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define DOOR __attribute__((visibility("default")))

typedef int sigaction_function(int sig, const struct sigaction *action, struct sigaction *before);
typedef sighandler_t signal_function(int sig, sighandler_t handler);

enum { SIGACTION, SIGNAL, COUNT };
static const char *const names[COUNT] = {"sigaction", "signal"};
static void *next[COUNT];

/* libc's own, under the name that no door has: for a call that comes before anything could be looked up. */
extern sigaction_function __sigaction __attribute__((weak));

__attribute__((constructor)) static void look_up(void)
{
    static _Atomic bool known;
    if (!known) {
        known = stock_next(names, next, COUNT);
    }
}

static void hide(struct sigaction *action)
{
    if (pt_signals_is_ours(action)) {
        *action = (struct sigaction){.sa_handler = SIG_DFL};
    }
}

DOOR int sigaction(int sig, const struct sigaction *action, struct sigaction *before)
{
    struct sigaction ours;
    look_up();
    sigaction_function *real = next[SIGACTION] != NULL ? (sigaction_function *)next[SIGACTION] : __sigaction;
    if (real == NULL) {
        errno = ENOSYS;
        return -1;
    }
    if (action != NULL && action->sa_handler == SIG_DFL && pt_signals_default(sig, &ours)) {
        action = &ours;
    }
    int error = real(sig, action, before);
    if (error == 0 && before != NULL) {
        hide(before);
    }
    return error;
}

DOOR sighandler_t signal(int sig, sighandler_t handler)
{
    struct sigaction before, ours;
    look_up();
    if (handler == SIG_DFL && pt_signals_default(sig, &ours)) {
        return sigaction(sig, &ours, &before) == 0 ? before.sa_handler : SIG_ERR;
    }
    if (next[SIGNAL] == NULL) {
        struct sigaction wanted = {.sa_handler = handler, .sa_flags = SA_RESTART};
        return sigaction(sig, &wanted, &before) == 0 ? before.sa_handler : SIG_ERR;
    }
    sighandler_t told = ((signal_function *)next[SIGNAL])(sig, handler);
    before = (struct sigaction){.sa_handler = told};
    hide(&before);
    return before.sa_handler;
}
