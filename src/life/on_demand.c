#include "life/on_demand.h"

#include "base/alone.h"
#include "base/options.h"
#include "base/sandbox.h"
#include "base/thread.h"
#include "base/wait.h"
#include "life/held.h"
#include "memory/owner.h"
#include "report/destination.h"
#include "report/report.h"

#include <stdatomic.h>

#define PATIENCE 200000000 /* ns: the program stands still meanwhile */

static _Atomic bool busy;

static void write_report(void)
{
    struct pt_text out;
    struct pt_held_look look;
    int fd = pt_destination_open();
    pt_held_look(&look);
    pt_text_init(&out, look.text, look.text_size, fd);
    (void)pt_report_send(&look.report, &out, PATIENCE / 2, PATIENCE);
    pt_held_look_end(&look);
    pt_destination_close(fd);
}

void pt_on_demand_report(void)
{
    if (!pt_held_begun() && !atomic_exchange(&busy, true)) {
        write_report();
        atomic_store(&busy, false);
    }
}

/* False: nobody is left to report to. */
static bool wait_for_next(void)
{
    int64_t left = (int64_t)pt_option(PT_OPTION_EVERY) * 1000000000;
    for (; left > 0 && !pt_alone(); left -= PT_ALONE_LOOK_NS) {
        pt_wait_pause(left < PT_ALONE_LOOK_NS ? left : PT_ALONE_LOOK_NS); /* by no clock: a faked one may fly */
    }
    return left <= 0 && !pt_sandbox_entered();
}

/* It goes on when Python has ended, since the program may do so too. */
static void *report_now_and_then(void *unused)
{
    (void)pthread_setname_np(pthread_self(), "pintensor");
    pt_alone_begin();
    while (wait_for_next()) {
        pt_on_demand_report();
    }
    pt_alone_end();
    return unused;
}

void pt_on_demand_begin(void)
{
    atomic_store(&busy, false); /* in a forked child its parent may have been at it */
    if (pt_option(PT_OPTION_EVERY) > 0 && !pt_sandbox_entered()) {
        (void)pt_thread_start(NULL, report_now_and_then, NULL);
    }
}
