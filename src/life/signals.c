#include "life/signals.h"

#include "base/log.h"
#include "base/options.h"
#include "base/sandbox.h"
#include "base/thread.h"
#include "life/on_demand.h"
#include "life/shutdown.h"
#include "memory/owner.h"

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

static const int ending[] = {SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGTERM};

/* The kernel's own structure and size of a set of signals. Past libc, where the door would bring our handler back. */
struct kernel_action {
    uint64_t handler, flags, restorer, mask;
};

static void leave_to_kernel(int sig)
{
    static const struct kernel_action nothing; /* SIG_DFL is 0 */
    (void)syscall(SYS_rt_sigaction, sig, &nothing, NULL, sizeof nothing.mask);
}

/* The signal once more, as it came: who sent it, or where the fault was, is in the core file. It waits until the
 * handler has returned, so that the registers are those of the interrupted code too, and goes first then, being sent to
 * this thread. */
static void send_again(int sig, siginfo_t *info)
{
    int pid = (int)getpid(), thread = (int)syscall(SYS_gettid);
    bool sent = !pt_sandbox_entered() && syscall(SYS_rt_tgsigqueueinfo, pid, thread, sig, info) == 0;
    if (!sent && syscall(SYS_tgkill, pid, thread, sig) != 0) {
        (void)syscall(SYS_exit_group, 128 + sig); /* a filter forbids both */
    }
}

/* The kernel spares the first process of a container the default action, other than of its own faults. */
static bool is_spared(int sig, const siginfo_t *info)
{
    bool fault = info->si_code > 0 && (sig == SIGILL || sig == SIGBUS || sig == SIGFPE || sig == SIGSEGV);
    return getpid() == 1 && !fault;
}

/* A thread that was cancelled must not end in the middle of this: the process would go on. */
static void end(int sig, siginfo_t *info, void *interrupted)
{
    (void)interrupted;
    int error = errno;
    if (is_spared(sig, info)) {
        return;
    }
    (void)pt_thread_forbid_cancel();
    pt_shutdown_by_signal();
    leave_to_kernel(sig);
    send_again(sig, info);
    errno = error;
}

/* Also in a child that has pinned nothing: who asks all processes of a job means to end none. */
static void dump(int sig, siginfo_t *info, void *interrupted)
{
    (void)sig;
    (void)info;
    (void)interrupted;
    int error = errno, cancel = pt_thread_forbid_cancel();
    if (pt_owner_owns_strictly()) {
        pt_on_demand_report();
    }
    errno = error;
    pt_thread_allow_cancel(cancel);
}

static int asked_for(void)
{
    static const int signals[] = {[PT_SIGNAL_OFF] = 0, [PT_SIGNAL_USR1] = SIGUSR1, [PT_SIGNAL_USR2] = SIGUSR2};
    return signals[pt_option(PT_OPTION_SIGNAL)];
}

static bool ends_with_report(int sig)
{
    bool among = false;
    for (unsigned i = 0; i < sizeof ending / sizeof ending[0]; i++) {
        among = among || ending[i] == sig;
    }
    return among && pt_option(PT_OPTION_AT_SIGNAL) == PT_AT_SIGNAL_REPORT;
}

/* On the alternate stack if the thread has one: it may have overrun its own. No other handler runs meanwhile. */
static bool action_for(int sig, struct sigaction *ours)
{
    bool dumps = sig != 0 && sig == asked_for();
    if (!dumps && !ends_with_report(sig)) {
        return false;
    }
    *ours = (struct sigaction){.sa_sigaction = dumps ? dump : end,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | (dumps ? SA_RESTART : 0)};
    sigfillset(&ours->sa_mask);
    return true;
}

/* Its frame would take 3.6 KiB of a stack that may have 8, where a CPU has AVX-512. */
void pt_signals_leave(int sig)
{
    struct kernel_action now;
    if (!pt_sandbox_entered() && syscall(SYS_rt_sigaction, sig, NULL, &now, sizeof now.mask) == 0 &&
        now.handler == (uintptr_t)end) {
        leave_to_kernel(sig);
    }
}

bool pt_signals_default(int sig, struct sigaction *ours)
{
    int error = errno;
    bool is = pt_owner_owns() && action_for(sig, ours) && pt_owner_owns_strictly();
    errno = error;
    return is;
}

bool pt_signals_is_ours(const struct sigaction *action)
{
    return action->sa_sigaction == end || action->sa_sigaction == dump; /* whatever the flags are by now */
}

static bool is_default(const struct sigaction *action)
{
    return action->sa_handler == SIG_DFL || pt_signals_is_ours(action);
}

/* False: the program does something with it. Another thread may come to that at this very moment: then its action is
 * put back. */
static bool take(int sig)
{
    struct sigaction ours, before;
    if (!action_for(sig, &ours) || sigaction(sig, NULL, &before) != 0 || !is_default(&before)) {
        return false;
    }
    if (sigaction(sig, &ours, &before) == 0 && !is_default(&before)) {
        (void)sigaction(sig, &before, NULL);
        return false;
    }
    return true;
}

void pt_signals_begin(void)
{
    if (pt_sandbox_entered()) {
        return;
    }
    for (unsigned i = 0; i < sizeof ending / sizeof ending[0]; i++) {
        (void)take(ending[i]);
    }
    if (asked_for() != 0 && !take(asked_for())) {
        pt_log("no report by PINTENSOR_SIGNAL=%s: the program uses that signal itself",
               asked_for() == SIGUSR1 ? "USR1" : "USR2");
    }
}
