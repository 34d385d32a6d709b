#include "life/shutdown.h"

#include "base/options.h"
#include "base/wait.h"
#include "life/held.h"
#include "life/job.h"
#include "memory/owner.h"
#include "report/destination.h"
#include "report/report.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

/* Nanoseconds that the way out waits: for other processes that report to the same place, for readers, and for those of
 * stderr where the file took nothing. Together less than two seconds. */
#define TURN_PATIENCE    800000000
#define REPORT_PATIENCE  800000000
#define INSTEAD_PATIENCE 200000000
#define WRITING_MOST     1950 /* ms that another thread's report is waited for */

static _Atomic bool reported, written;
static _Atomic int exit_status;

void pt_shutdown_status(int status, void *unused)
{
    (void)unused;
    exit_status = status;
    pt_held_begin();
}

static int write_report(const struct pt_report *r, int fd, int64_t turn_ns, int64_t most_ns)
{
    static char buf[65536]; /* a file takes it in one write */
    struct pt_text out;
    pt_text_init(&out, buf, sizeof buf, fd);
    return pt_report_send(r, &out, turn_ns, most_ns);
}

/* Nobody is told that all is well, but who asked for it. */
static bool is_wanted(const struct pt_report *r, unsigned sections)
{
    return sections != 0 || r->counters->pageable > 0 || pt_destination_is_file() ||
           pt_option(PT_OPTION_VERBOSE) == PT_VERBOSE_ON;
}

static void tell(const struct pt_report *r)
{
    int instead, error = write_report(r, pt_destination_open(), TURN_PATIENCE, REPORT_PATIENCE);
    if (error != 0 && error != ETIMEDOUT &&
        (instead = pt_destination_open_instead(error)) >= 0) { /* a full disk, say */
        (void)write_report(r, instead, 0, INSTEAD_PATIENCE);
    }
}

/* Signals that may end the process: while this thread writes, another one takes them and waits. */
static void hold_signals(sigset_t *before)
{
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGHUP);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGQUIT);
    sigaddset(&ending, SIGTERM);
    sigprocmask(SIG_BLOCK, &ending, before);
}

/* The same, once. */
static unsigned report(void)
{
    sigset_t before;
    struct pt_report r;
    pt_held_begin();
    hold_signals(&before);
    if (atomic_exchange(&reported, true)) {
        sigprocmask(SIG_SETMASK, &before, NULL);
        return 0;
    }
    pt_report_of_table(&r);
    unsigned sections = pt_report_sections(&r);
    if (is_wanted(&r, sections)) {
        tell(&r);
    }
    pt_job_end();
    atomic_store(&written, true);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return sections;
}

/* A program that failed already keeps its own status. */
static int status_after(int status, unsigned sections)
{
    int wanted = (int)pt_option(PT_OPTION_EXITCODE);
    return status == 0 && wanted != 0 && (sections & pt_option(PT_OPTION_FAIL_ON)) != 0 ? wanted : status;
}

int pt_shutdown_now(int status)
{
    return pt_owner_owns_strictly() ? status_after(status, report()) : status;
}

/* Who is interrupted while it reports is not waited for: it holds the signals, so only a fault of its own comes here. */
void pt_shutdown_by_signal(void)
{
    if (!pt_owner_owns_strictly()) {
        return;
    }
    (void)report();
    for (unsigned ms = 0; ms < WRITING_MOST && !atomic_load(&written); ms++) {
        pt_wait_pause(1000000);
    }
}

/* PINTENSOR_EXITCODE, for the last handler of all. */
static _Atomic int last_status;
static enum { ABSENT, WAITS, RAN } last;

static void change_status(int status, void *unused)
{
    (void)unused;
    last = RAN;
    if (last_status != 0 && last_status != status) {
        exit(last_status); /* glibc goes on where it was: flushes without waiting for a stream that another thread holds */
    }
}

/* Handlers run newest first. The one that runs every library's destructors is there before main, but not before this, unless
 * this library is loaded late. */
__attribute__((constructor)) static void have_last_handler(void)
{
    last = PT_OLD_LIBC_HAS(on_exit) && on_exit(change_status, NULL) == 0 ? WAITS : ABSENT;
}

/* The destructor hook. What Python and libtorch had to free, they have freed by now. */
__attribute__((destructor)) static void process_ends(void)
{
    if (!pt_owner_owns_strictly()) {
        return;
    }
    unsigned sections = report();
    pt_held_finish();
    int status = status_after(exit_status, sections);
    if (status != exit_status && last == WAITS) {
        last_status = status;
    } else if (status != exit_status) {
        exit(status); /* loaded late: destructors that were to follow do not run */
    }
}
