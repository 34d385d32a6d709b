#include "life/init.h"

#include "base/alone.h"
#include "base/log.h"
#include "base/options.h"
#include "base/sandbox.h"
#include "device/driver.h"
#include "ledger/foreign.h"
#include "life/held.h"
#include "life/held_by.h"
#include "life/job.h"
#include "life/managers.h"
#include "life/on_demand.h"
#include "life/shutdown.h"
#include "life/signals.h"
#include "memory/arena.h"
#include "memory/limit.h"
#include "memory/owner.h"
#include "memory/pin.h"
#include "memory/pressure.h"
#include "memory/segments.h"
#include "pool/background.h"
#include "pool/pool.h"
#include "pool/upkeep.h"
#include "report/destination.h"
#include "trace/gil_helper.h"
#include "trace/python.h"
#include "trace/site.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

/* Whether Python will tell us that it begins to exit: before it takes modules apart, which frees what sits in globals.
 */
static _Atomic bool python_tells, python_asked;

static int set_up_alone(void)
{
    /* In a child the parent's table and range stay what they were, read-only by agreement. */
    pt_table_disown();
    python_tells = python_asked = false;
    pt_pin_reset();
    pt_sandbox_init();
    pt_alone_init();
    pt_pressure_init();
    pt_limit_init();
    pt_background_init(pt_upkeep_tick, pt_upkeep_work, pt_option(PT_OPTION_IDLE));
    (void)pt_driver_look();
    int error = pt_segments_init();
    if (error == 0) {
        error = pt_arena_init();
    }
    if (error == 0) {
        error = pt_table_init(pt_log_rank());
    }
    if (error == 0) {
        pt_foreign_reset();
        pt_pool_reset();
        pt_managers_reset();
        pt_held_reset();
        pt_arena_small_idle(pt_option(PT_OPTION_IDLE));
        pt_site_init();
        pt_destination_keep();
    }
    return error;
}

static int set_up(void)
{
    int error = pt_old_libc_complete() ? pt_arena_shut_out_forks() : -ENOSYS;
    if (error == 0) {
        error = set_up_alone();
        pt_arena_let_forks_in();
    }
    return error;
}

static void python_ended(void)
{
    pt_held_python_ended();
    python_tells = false; /* whoever makes a block now finds out that the program goes on */
}

static uint32_t register_with_python(void *thread_state, void *unused)
{
    (void)thread_state;
    (void)unused;
    python_tells = python_tells || pt_python_at_exit(pt_held_python_ends, pt_held_by_at_exit, python_ended);
    return 0;
}

/* Tried until it works: the first block may come from a thread that knows no Python. Without the GIL somebody else is
 * asked, but once: who gets no answer now, since others have the GIL or the processors, has it done later. */
static void have_python_tell(void)
{
    uint32_t unused;
    enum pt_python_gil gil = pt_python_gil();
    if (gil == PT_PYTHON_HELD && pt_python_quiet()) {
        (void)register_with_python(NULL, NULL);
    } else if (gil == PT_PYTHON_RELEASED && !atomic_exchange(&python_asked, true) &&
               !pt_gil_helper_ask(register_with_python, NULL, &unused)) {
        pt_gil_helper_leave(register_with_python);
    }
}

static _Atomic bool options_read; /* ahead of setting up */

bool pt_init_wanted(void)
{
    if (!pt_owner_owns() && !options_read) {
        pt_options_load_own();
        options_read = true;
    }
    return pt_option_enabled();
}

int pt_init(void)
{
    if (pt_owner_owns()) {
        if (!python_tells) {
            pt_held_goes_on();
            have_python_tell();
        }
        return 0;
    }
    switch (pt_owner_begin()) {
    case PT_OWNER_READY: return 0;
    case PT_OWNER_REFUSED: return -ENODEV;
    case PT_OWNER_YOURS: break;
    }
    if (!atomic_exchange(&options_read, false)) {
        pt_options_load_own();
    }
    int error = pt_option_enabled() ? set_up() : -ENODEV;
    if (error == -ENOSYS) {
        pt_log(
            "this libc lacks what is needed (glibc 2.17; before 2.34 libpthread and libdl, too): this process goes on "
            "without pintensor");
    } else if (error == -EDEADLK) {
        pt_log("this process was forked in the middle of an allocation, by a signal handler or past libc: it goes on "
               "without pintensor");
    } else if (error != 0 && pt_option_enabled()) {
        pt_log("cannot start (errno %d): this process goes on without pintensor", -error);
    }
    pt_owner_done(error == 0);
    if (error == 0) {
        have_python_tell();
        pt_job_begin();
        pt_on_demand_begin();
        pt_signals_begin();
        /* Handlers run newest first: this one before the destructors of whatever was there before the first block. */
        (void)on_exit(pt_shutdown_status, NULL);
    }
    return error == 0 ? 0 : -ENODEV;
}
