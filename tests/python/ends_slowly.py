"""Sends a program signals while the first one's report finds no room: ends_slowly.py "NUMBER…" THREADS COMMAND…
Prints what ended it and the last words of the report."""
import os
import signal
import subprocess
import sys
import time


def wait_until(pid, name, true):
    """What /proc/PID/status says by that name is so."""
    for _ in range(1000):
        with open(f"/proc/{pid}/status") as f:
            if true(next(line.split()[1] for line in f if line.startswith(name))):
                return
        time.sleep(0.005)
    sys.exit(f"it does not come to be so: {name}")


def has(number):
    return lambda bits: int(bits, 16) >> (number - 1) & 1


numbers = [int(number) for number in sys.argv[1].split()]
out, into = os.pipe()
os.set_blocking(into, False)
try:
    while os.write(into, b"x"):
        pass
except BlockingIOError:
    os.set_blocking(into, True)
program = subprocess.Popen(sys.argv[3:], stderr=into)
os.close(into)
wait_until(program.pid, "SigCgt", has(signal.SIGTERM))
wait_until(program.pid, "Threads", lambda number: number == sys.argv[2])
wait_until(program.pid, "State", lambda state: state == "S")
os.kill(program.pid, numbers[0])
wait_until(program.pid, "SigBlk", has(signal.SIGINT))
for number in numbers[1:]:
    os.kill(program.pid, number)
time.sleep(0.05)  # in which nothing should happen
words = b""
while piece := os.read(out, 1 << 16):
    words += piece
print(program.wait(), words.decode().strip().rpartition(" ")[2])
