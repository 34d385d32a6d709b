"""How `pintensor run` passes signals on, and ends: run_signals.py COMMAND NAME. Each NAME prints what was seen, from outside."""

import os
import pty
import signal
import subprocess
import sys
import time

command = sys.argv[1]
# Tells of each signal it gets, and ends on SIGUSR2.
LISTENER = """
import os, signal, sys, time
names = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGALRM, signal.SIGWINCH, signal.SIGRTMIN]
def tell(number, frame):
    os.write(1, (signal.Signals(number).name + "\\n").encode())
for name in names:
    signal.signal(name, tell)
signal.signal(signal.SIGUSR2, lambda *_: os._exit(7))
os.write(1, b"ready\\n")
if sys.argv[1:] == ["group"]:
    os.kill(0, signal.SIGTERM)
while True:
    time.sleep(1)
"""


def start(*arguments, code=LISTENER, **how):
    process = subprocess.Popen([command, "run", "--", sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, **how)
    assert process.stdout.readline() == b"ready\n"
    return process


def child_of(process):
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as f:
        return int(f.read().split()[0])


def state(pid):
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rpartition(")")[2].split()[0]


def until(condition):
    for _ in range(1000):
        if condition():
            return True
        time.sleep(0.01)
    return False


def finish(process):
    time.sleep(0.1)  # a second copy of a signal would be on its way now
    process.send_signal(signal.SIGUSR2)
    said = process.stdout.read().decode().split()
    print(*said, process.wait())


def passed_on():
    process = start()
    for name in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGALRM, signal.SIGWINCH, signal.SIGRTMIN):
        process.send_signal(name)
        print(process.stdout.readline().decode().strip())
    finish(process)


def default_action():
    for name in (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL):
        process = start(code="import os, time\nos.write(1, b'ready\\n')\ntime.sleep(100)")
        child = child_of(process)
        process.send_signal(name)
        print(name.name, process.wait() == -name, until(lambda: not os.path.exists(f"/proc/{child}")))


def same_group():
    process = start("group", start_new_session=True)
    print(process.stdout.readline().decode().strip())
    finish(process)


def stopped():
    process = start()
    child = child_of(process)
    process.send_signal(signal.SIGTSTP)
    pid, status = os.waitpid(process.pid, os.WUNTRACED)
    print("stopped", os.WIFSTOPPED(status) and os.WSTOPSIG(status) == signal.SIGTSTP, state(child))
    process.send_signal(signal.SIGCONT)
    print("goes on", until(lambda: state(child) != "T" and state(process.pid) != "T"))
    os.kill(child, signal.SIGSTOP)  # somebody stops the program alone, and lets it go on alone
    until(lambda: state(child) == "T")
    time.sleep(0.1)
    print("not stopped with it", state(process.pid) != "T")
    os.kill(child, signal.SIGCONT)
    finish(process)


def terminal():
    """As a shell with job control would: a terminal's keys go to the program once, and to us."""
    pid, master = pty.fork()
    if pid == 0:
        os.execv(command, [command, "run", "--", sys.executable, "-c", LISTENER])
    said = b""

    def read_until(what):
        nonlocal said
        while what not in said:
            said += os.read(master, 4096)

    read_until(b"ready")
    os.write(master, b"\x03")
    read_until(b"SIGINT")
    os.write(master, b"\x1c")
    read_until(b"SIGQUIT")
    time.sleep(0.1)
    os.kill(pid, signal.SIGUSR2)
    while True:
        try:
            more = os.read(master, 4096)
        except OSError:
            break
        if not more:
            break
        said += more
    print(said.count(b"SIGINT"), said.count(b"SIGQUIT"), os.WEXITSTATUS(os.waitpid(pid, 0)[1]))


def files():
    read_end, write_end = os.pipe()
    process = start(pass_fds=(write_end,), stdin=subprocess.PIPE)
    open_files = f"/proc/{process.pid}/fd"
    until(lambda: sorted(os.listdir(open_files)) == ["0", "1", "2"])
    print(*(os.readlink(f"{open_files}/{number}") for number in (0, 1)), len(os.listdir(open_files)))
    print(os.path.exists(f"/proc/{child_of(process)}/fd/{write_end}"))
    finish(process)


def as_it_was():
    """What a program inherits: ignored and blocked signals."""
    for prefix in ([], [command, "run", "--"]):

        def before():
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])

        said = subprocess.run([*prefix, "/bin/grep", "^Sig[BI]", "/proc/self/status"], capture_output=True, preexec_fn=before)
        print(said.returncode, *said.stdout.decode().split())


{f.__name__: f for f in (passed_on, default_action, same_group, stopped, terminal, files, as_it_was)}[sys.argv[2]]()
