"""How `pintensor top` behaves on a terminal: top_terminal.py COMMAND DIRECTORY NAME. Each NAME prints what was seen, from outside."""

import fcntl
import os
import pty
import signal
import struct
import sys
import termios
import time

command, directory, name = sys.argv[1:]
ENTER, LEAVE = b"\033[?1049h", b"\033[?1049l"


class Top:
    def __init__(self, columns=100, rows=20):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            print(termios.tcgetattr(0)[3] & (termios.ICANON | termios.ECHO), end="|", flush=True)
            os.execv(command, [command, "top", "--interval=0.05", directory])
        os.set_blocking(self.terminal, False)
        self.text = b""

    def read(self):
        try:
            while more := os.read(self.terminal, 65536):
                self.text += more
        except (BlockingIOError, OSError):
            pass

    def until(self, condition):
        for _ in range(2000):
            self.read()
            if condition(self):
                return True
            time.sleep(0.01)
        return False

    def shown(self, text, times=1):
        return self.until(lambda t: t.text.count(text) >= times)

    def state(self):
        with open(f"/proc/{self.pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0]

    def raw(self):
        return termios.tcgetattr(self.terminal)[3] & (termios.ICANON | termios.ECHO) == 0

    def end(self):
        """How it ended, and whether the terminal is as it was."""
        status = []
        self.until(lambda t: status or status.append(os.waitpid(t.pid, os.WNOHANG)) or status[0][0] != 0 or status.clear())
        self.read()
        code = os.waitstatus_to_exitcode(status[0][1])
        before = int(self.text.split(b"|")[0])
        after = termios.tcgetattr(self.terminal)[3] & (termios.ICANON | termios.ECHO)
        return f"{code} {self.text.rstrip().endswith(LEAVE)} {self.text.count(ENTER) == self.text.count(LEAVE)} {before == after}"


top = Top(columns=30, rows=3) if name == "small" else Top()
print(top.shown(b"\033[J", 3), top.raw(), ENTER in top.text)
if name in ("q", "small"):
    os.write(top.terminal, b"xq")
elif name == "interrupt":
    os.write(top.terminal, b"\x03")
elif name == "terminate":
    os.kill(top.pid, signal.SIGTERM)
elif name == "stop":
    os.write(top.terminal, b"\x1a")
    print(top.until(lambda t: t.state() == "T"), top.shown(LEAVE), top.raw())
    os.kill(top.pid, signal.SIGCONT)
    print(top.shown(ENTER, 2), top.until(lambda t: t.raw()))
    os.write(top.terminal, b"q")
print(top.end())
if name == "small":
    screen = top.text.split(b"\033[J")[1].split(b"\033[H")[1]
    lines = [line.replace(b"\033[K", b"") for line in screen.replace(b"\r", b"").split(b"\n")]
    print(len(lines), max(len(line) for line in lines))
