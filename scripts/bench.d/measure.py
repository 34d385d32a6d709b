"""What scripts/bench runs, once everything is built: measures each row, peer and ours turn about, and prints the table.
gpu.py has the rows that need a GPU, and uses this one's table.

Every figure is a median; nothing is chosen after the fact. `ratio` is the figure that the bar speaks of, which for some
rows is a difference or a plain time: the table says which.
"""

import argparse
import functools
import json
import mmap
import os
import statistics
import subprocess
import sys
import tempfile
import threading

from serve import proc_bytes

HERE = os.path.dirname(os.path.abspath(__file__))
KiB, MiB, GiB = 1 << 10, 1 << 20, 1 << 30
SECOND, BYTE, RATE, ONE, PASS = "s", "B", "B/s", "1", "pass"


class Failure(Exception):
    """A row could not be measured, and why."""


def environment(preload=None, **more):
    """Ours, where nothing that the caller set steers the library; with it preloaded, or not."""
    ours = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD" and not name.startswith("PINTENSOR_")}
    return ours | ({"LD_PRELOAD": preload} if preload else {}) | {"PINTENSOR_REPORT": "/dev/null"} | more


class Server:
    """A program that answers lines on stdin with lines of numbers."""

    def __init__(self, *command, preload=None, patience=120, **more):
        self.patience = patience
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, env=environment(preload, **more), text=True, bufsize=1,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)
        self.read()
        self.check_preload()

    def read(self):
        watchdog = threading.Timer(self.patience, self.process.kill)
        watchdog.start()
        line = self.process.stdout.readline()
        watchdog.cancel()
        if not line:
            status = self.process.wait()
            self.errors.seek(0)
            raise Failure(f"{self.process.args} ended with {status}"
                          f"{f', killed after {self.patience} s' if status == -9 else ''}:\n{self.errors.read()}")
        return line

    def ask(self, *words):
        try:
            self.process.stdin.write(" ".join(map(str, words)) + "\n")
        except BrokenPipeError:
            pass  # read() says what it died of
        return [float(word) for word in self.read().split()]

    def check_preload(self):
        """The loader only complains when it cannot preload something, and goes on: then nothing of ours was measured."""
        self.errors.seek(0)
        complaints = [line for line in self.errors if "cannot be preloaded" in line]
        if complaints:
            raise Failure(complaints[0])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.process.stdin.close()
            self.process.wait(self.patience)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        self.errors.close()


def built(name):
    return os.path.join(ARGUMENTS.programs, name)


def capi(program="cycle"):
    return Server(built(program))


def raw():
    return Server(built("raw"))


def handle(preload=None):
    return Server("python", os.path.join(HERE, "handle.py"), preload=preload)


def preloaded():
    return handle(ARGUMENTS.preload)


def trace_file(name):
    return os.path.join(HERE, "traces", name + ".trace")


def median(values):
    return statistics.median(values)


def alternate(rounds, *questions):
    """Asks each (server, words) in turn, again and again: the medians of their first answers. A round goes before, to warm up."""
    answers = [[server.ask(*words)[0] for server, *words in questions] for _ in range(rounds + 1)]
    return [median(column) for column in zip(*answers[1:])]


# --- the rows: each function returns what it measured as {name: (unit, ours, peer, ratio)} ------


def reuse():
    with capi() as ours, raw() as jemalloc, handle() as stock, preloaded() as python:
        for server in ours, jemalloc, python:
            server.ask("cycle", 64 * MiB, 10, 0)
        ours_s, raw_s, python_s, stock_s = alternate(
            15, (ours, "cycle", 64 * MiB, 20000, 0), (jemalloc, "cycle", 64 * MiB, 20000, 0),
            (python, "cycle", 64 * MiB, 2000, 0), (stock, "cycle", 64 * MiB, 2, 0))
    with capi() as ours, capi() as larger:
        base_s, larger_s = alternate(15, (ours, "cycle", 64 * MiB, 20000, 0), (larger, "cycle", GiB, 20000, 0))
    return {
        "reuse_64MiB": (SECOND, ours_s, stock_s, stock_s / ours_s),
        "reuse_64MiB_python": (SECOND, python_s, stock_s, stock_s / python_s),
        "reuse_vs_raw": (SECOND, ours_s, raw_s, ours_s / raw_s),
        "reuse_1GiB": (SECOND, larger_s, base_s, larger_s / base_s),
    }


def touched():
    with capi() as ours, handle() as stock:
        ours_s, stock_s = alternate(15, (ours, "cycle", 64 * MiB, 5, 1), (stock, "cycle", 64 * MiB, 3, 1))
    return {"cycle_touched_64MiB": (SECOND, ours_s, stock_s, stock_s / ours_s)}


def use_memory(size):
    """Has used so much memory, in huge pages, a moment ago. Virtual machines give free huge pages back to their host within
    seconds: without this the host's page faults would be measured, and not evenly, since small pages stay."""
    held = []
    while size > 0:
        part = min(size, 2 * GiB)  # where memory is plugged in as it is used, more at once would be refused
        held.append(mmap.mmap(-1, part, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        held[-1].madvise(mmap.MADV_HUGEPAGE)
        held[-1][::4096] = bytes(part // 4096)
        size -= part
    for memory in held:
        memory.close()


def first_touch():
    answers = {capi: [], handle: []}
    for _ in range(9):
        for start, list_ in answers.items():
            with start() as server:
                use_memory(GiB + GiB // 4)
                list_.append(server.ask("first", GiB))
    ours_s, stock_s = (median(answer[0] for answer in list_) for list_ in answers.values())
    huge, mapped = answers[capi][-1][1:]
    note(f"first_touch_1GiB: AnonHugePages {huge / MiB:.0f} MiB, ShmemPmdMapped {mapped / MiB:.0f} MiB of 1024 MiB; "
         f"stock {answers[handle][-1][1] / MiB:.0f} MiB")
    return {"first_touch_1GiB": (SECOND, ours_s, stock_s, stock_s / ours_s)}


def locked_zero():
    trace = trace_file("zero")
    with capi("questions") as ours, handle() as stock:
        locked, live = ours.ask("replay", trace)
        stock_locked, _ = stock.ask("replay", trace)
    note(f"locked_ratio_zero: {live / MiB:.1f} MiB alive at the peak; stock locks {stock_locked / live:.4f} of it")
    return {"locked_ratio_zero": (BYTE, locked, stock_locked, locked / live)}


def locked_small():
    with capi("questions") as ours, handle() as stock:
        locked, = ours.ask("small", 10000, 100)
        stock_locked, = stock.ask("small", 10000, 100)
    note(f"locked_ratio_small: stock locks {stock_locked / 1e6:.1f} times what is asked")
    return {"locked_ratio_small": (BYTE, locked, stock_locked, locked / 1e6)}


def is_managed():
    with capi("questions") as ours, handle() as stock:
        many, few = [], []
        for _ in range(7):
            many.append(ours.ask("is_managed", 100000))
            few.append(ours.ask("is_managed", 10))
        stock_s, = stock.ask("is_managed", 100000)
    inside, foreign = (median(column) for column in zip(*many))
    inside_few, _ = (median(column) for column in zip(*few))
    return {
        "is_managed_100k": (SECOND, inside, stock_s, inside),
        "is_managed_foreign": (SECOND, foreign, None, foreign),
        "is_managed_growth": (SECOND, inside, inside_few, inside / inside_few),
    }


def python_cycle():
    with preloaded() as ours, handle(built("nothing.so")) as nothing:
        ours_s, nothing_s = alternate(41, (ours, "drop", 5000), (nothing, "drop", 5000))
    return {"python_cycle_4KiB": (SECOND, ours_s, nothing_s, ours_s - nothing_s)}


def bounce_write():
    # On a disk: a tmpfs may refuse O_DIRECT, and is no place where anybody offloads to.
    with tempfile.TemporaryDirectory(dir=ARGUMENTS.files) as files, preloaded() as ours, handle() as stock:
        ours_s, stock_s = alternate(21, (ours, "write", os.path.join(files, "ours"), 64 * MiB),
                                    (stock, "write", os.path.join(files, "stock"), 64 * MiB))
    return {"bounce_write_64MiB": (SECOND, ours_s, stock_s, stock_s / ours_s)}


def who_holds():
    with preloaded() as ours:
        answers = [ours.ask("who_holds", 1000000) for _ in range(3)]
    if not all(right for _, right in answers):
        raise Failure("the report does not say who holds the blocks, or not within PINTENSOR_REFERRERS seconds")
    return {"who_holds_1M_objects": (SECOND, median([seconds for seconds, _ in answers]), None,
                                     median([seconds for seconds, _ in answers]))}


def child_start():
    with capi("spawn") as spawner:
        without, with_ = spawner.ask("start", 500, ARGUMENTS.preload)
        spawner.check_preload()
    return {"child_start": (SECOND, with_, without, with_ - without)}


def first_touch_bar():
    # The same choice that the kernel gives: huge pages on demand or always.
    try:
        with open("/sys/kernel/mm/transparent_hugepage/enabled") as file:
            return 1 if "[never]" in file.read() else 4
    except OSError:
        return 1


def torch_pins(trace, divisor):
    """What torch's own allocator makes of a trace, powers of two that are kept for ever: blocks pinned, their bytes, and the
    most alive at once."""
    free, sizes, blocks, pinned, live, peak = {}, [], 0, 0, 0, 0
    with open(trace) as lines:
        for line in lines:
            if line[0] == "+":
                size = max(int(line) // divisor, 1)
                sizes.append(size)
                rounded = 1 << (size - 1).bit_length()
                if free.get(rounded):
                    free[rounded] -= 1
                else:
                    blocks, pinned = blocks + 1, pinned + rounded
                live += size
                peak = max(peak, live)
            elif line[0] == "-":
                size = sizes[-int(line)]
                rounded = 1 << (size - 1).bit_length()
                free[rounded] = free.get(rounded, 0) + 1
                live -= size
    return blocks, pinned, peak


def traced(name):
    """Replays a trace of pinned memory on the tests' driver, so that memory is registered as on a GPU."""
    trace, divisor = trace_file(name), 1
    with open(trace) as lines:
        origin = next(lines).strip("# \n")
    # Registering takes the memory, as its pages have to be there.
    while torch_pins(trace, divisor)[2] * 5 // 4 > proc_bytes("/proc/meminfo", "MemAvailable:") - GiB:
        divisor *= 2
    blocks, pinned, _ = torch_pins(trace, divisor)
    with Server(built("replay"), patience=600, FAKE_DRIVER=built("libcuda.so.1")) as replay:
        made, gone, worst, then, live, locked, met, elapsed = replay.ask("replay", divisor, trace)
    divided = f", sizes divided by {divisor}" if divisor > 1 else ""
    note(f"{origin}{divided}: {made:.0f} registrations, {gone:.0f} taken back, {met:.0f} of these while the device was busy; "
         f"locked / alive so far {worst:.3f} at most, {then / live:.3f} when {live / MiB:.0f} MiB were alive, the most; "
         f"{elapsed:.1f} s")
    return {
        f"trace_{name}": (BYTE, locked, pinned, locked / live),
        f"trace_{name}_registrations": (ONE, made, blocks, made / blocks),
    }


# The loops of gpu.py's rows of the same names: threads, sizes from and to, blocks that each thread keeps, our turns, stock's.
VARY = {
    "vary_cpu_4MiB": (1, 4 * KiB, 4 * MiB, 4, 2000, 100),
    "vary_cpu_4MiB_8_threads": (8, 4 * KiB, 4 * MiB, 4, 500, 25),
    "vary_cpu_256KiB": (1, KiB, 256 * KiB, 8, 4000, 400),
    "vary_cpu_64MiB": (1, 4 * MiB, 64 * MiB, 2, 400, 20),
}


def vary_cpu(name):
    """The second round of both: in the first, ours locks what it will need."""
    threads, least, most, kept, turns, stock_turns = VARY[name]
    with preloaded() as ours, handle() as stock:
        loop = "vary", threads, least, most, kept
        ours_first = ours.ask(*loop, turns)[0]
        stock.ask(*loop, stock_turns)
        ours_s, stock_s = ours.ask(*loop, turns)[0], stock.ask(*loop, stock_turns)[0]
    note(f"{name}: a block takes {ours_first * 1e6:.1f} us in the first round")
    return {name: (SECOND, ours_s, stock_s, ours_s / stock_s)}


# Row: what measures it, what `ratio` is, the bar as (comparison, value).
ROWS = {
    "reuse_64MiB": (reuse, "peer/ours", (">=", 20000)),
    "reuse_64MiB_python": (reuse, "peer/ours", None),
    "reuse_vs_raw": (reuse, "ours/peer", ("<=", 2)),
    "reuse_1GiB": (reuse, "ours/peer", ("<=", 1.5)),
    "cycle_touched_64MiB": (touched, "peer/ours", (">=", 4)),
    "first_touch_1GiB": (first_touch, "peer/ours", (">=", first_touch_bar())),
    "locked_ratio_zero": (locked_zero, "ours/alive", ("<=", 1.01)),
    "locked_ratio_small": (locked_small, "ours/asked", ("<=", 1.5)),
    "is_managed_100k": (is_managed, "ours", ("<=", 100e-9)),
    "is_managed_foreign": (is_managed, "ours", ("<=", 10e-9)),
    "is_managed_growth": (is_managed, "ours/peer", ("<=", 2)),
    "who_holds_1M_objects": (who_holds, "ours", ("<=", 2)),
    "python_cycle_4KiB": (python_cycle, "ours-peer", ("<=", 1.5e-6)),
    "bounce_write_64MiB": (bounce_write, "peer/ours", (">=", 1.6)),
    "child_start": (child_start, "ours-peer", ("<=", 0.5e-3)),
    **{name: (functools.partial(vary_cpu, name), "ours/peer", ("<=", 0.1)) for name in VARY},
}
for trace_, most_ in ("zero3", 1.03), ("loader", 1.25), ("save_on_cpu", 1.25), ("random", 1.25):
    measure_ = functools.partial(traced, trace_)
    ROWS[f"trace_{trace_}"] = (measure_, "ours/alive", ("<=", most_))
    ROWS[f"trace_{trace_}_registrations"] = (measure_, "ours/peer", None)
PEERS = """ours is pintensor. peer is DeepSpeed's own op from Python, without the preload (JIT builds of it are -O0 in effect), except:
reuse_vs_raw: jemalloc on a locked arena, nothing else. reuse_1GiB: our 64 MiB. is_managed_growth: ours with 10 blocks alive.
python_cycle_4KiB: an interposer that does nothing. child_start: without the preload. No peer: is_managed_foreign, who_holds_1M_objects.
trace_*: what torch's own allocator would pin and register, by the trace."""


def note(text):
    print(text, file=sys.stderr, flush=True)


def readable(value, unit):
    if value is None:
        return "-"
    if unit == PASS:
        return "passes" if value else "fails"
    if unit == BYTE:
        return f"{value / MiB:.2f} MiB"
    if unit == RATE:
        return f"{value / 1e9:.2f} GB/s"
    if unit == ONE:
        return f"{value:.4g}"
    for scale, suffix in (1, "s"), (1e-3, "ms"), (1e-6, "us"):
        if abs(value) >= scale:
            return f"{value / scale:.4g} {suffix}"
    return f"{value / 1e-9:.3g} ns"


def met(ratio, bar):
    return ratio >= bar[1] if bar[0] == ">=" else ratio <= bar[1]


def show(name, width, formula, bar, unit, ours, peer, ratio):
    # A ratio proper is a number; a difference or a plain time has the row's unit.
    ratio_unit = ONE if "/" in formula else unit
    bar_text = f"{bar[0]} {readable(bar[1], ratio_unit)}" if bar and unit != PASS else ""
    print(f"{name:{width}} {readable(ours, unit):>12} {readable(peer, unit):>12} {readable(ratio, ratio_unit):>12} "
          f"{formula:11} {bar_text:>10}  {('yes' if met(ratio, bar) else 'NO') if bar else ''}", flush=True)


def chosen(rows):
    """The rows that the arguments name, or whose names begin as they say; all of them without arguments."""
    def fits(row, name):
        return row == name or row.startswith(name + "_")
    unknown = [name for name in ARGUMENTS.names if not any(fits(row, name) for row in rows)]
    if unknown:
        sys.exit(f"no such measurement: {', '.join(unknown)}; there are: {', '.join(rows)}")
    return [row for row in rows if not ARGUMENTS.names or any(fits(row, name) for name in ARGUMENTS.names)]


def run(rows, peers):
    """Measures and prints. A row that cannot be measured says why, counts as missed, and the others go on."""
    names, results, failures, all_met = chosen(rows), {}, {}, True
    width = max(map(len, names))
    if not ARGUMENTS.json:
        print(f"{'name':{width}} {'ours':>12} {'peer':>12} {'ratio':>12} {'is':11} {'bar':>10}  met", flush=True)
    for name in names:
        measure, formula, bar = rows[name]
        if name not in results and measure not in failures:
            try:
                results.update(measure())
            except Exception as error:  # whatever it is: the other rows are still wanted
                note(f"{name}: {error}")
                failures[measure] = str(error).strip().splitlines()[-1] if isinstance(error, Failure) else repr(error)
        if measure in failures:
            all_met = False
            print(json.dumps({"name": name, "failed": failures[measure]}) if ARGUMENTS.json else
                  f"{name:{width}} FAILED: {failures[measure]}", flush=True)
            continue
        unit, ours, peer, ratio = results[name]
        all_met = all_met and (bar is None or met(ratio, bar))
        if ARGUMENTS.json:
            print(json.dumps({"name": name, "unit": unit, "ours": ours, "peer": peer, "ratio": ratio}), flush=True)
        else:
            show(name, width, formula, bar, unit, ours, peer, ratio)
    if not ARGUMENTS.json:
        print("\n" + peers)
    return 0 if all_met else 1


def arguments(rounds=None):
    global ARGUMENTS
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--programs", required=True, help="where the C programs of the bench were built")
    parser.add_argument("--preload", required=True)
    parser.add_argument("--files", required=True, help="a folder on a disk")
    if rounds:
        parser.add_argument("--rounds", type=int, default=rounds, help="how often each side runs the jobs that take a minute")
    parser.add_argument("names", nargs="*")
    ARGUMENTS = parser.parse_args()


if __name__ == "__main__":
    arguments()
    sys.exit(run(ROWS, PEERS))
