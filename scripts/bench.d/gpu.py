"""The rows of scripts/bench --gpu. The preload serves torch's own pinned memory; peer is the same program without it, unless
the end of the table says otherwise."""

import json
import os
import signal
import subprocess
import sys
import tempfile

import gpu_vary
import measure
from measure import BYTE, HERE, ONE, PASS, RATE, SECOND, Failure, GiB, MiB, Server, alternate, environment, median, note
from sides import BEST, ours, pair, stock

FIRST = GiB + 4096  # torch rounds it to 2 GiB
UNLOCKED = ("prlimit", "--memlock=65536:65536", "setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock")


def turns(most, *questions):
    """How many turns take a twentieth of a second at most, for each (server, words): a side that is slow must not take all day."""
    slowest = max(min(server.ask(*words, 5)[0] for _ in range(3)) for server, *words in questions)
    return max(5, min(most, int(0.05 / slowest)))


def warm_up():
    """The bridge to torch is compiled at its first use on a machine: that is nobody's timing."""
    with ours(patience=300) as server:
        server.ask("start")


# --- the rows: each function returns what it measured as {name: (unit, ours, peer, ratio)} ------


def pin_first():
    sides = {"ours": ours, "stock": stock, "best": lambda: stock(PYTORCH_CUDA_ALLOC_CONF=BEST)}
    answers = {side: [] for side in sides}
    for _ in range(5):
        for side, start in sides.items():
            with start() as server:
                server.ask("start")
                measure.use_memory(2 * FIRST + GiB // 2)
                answers[side].append(server.ask("first", FIRST))
                note(f"pin_first_1GiB {side}: {answers[side][-1][0] * 1e3:.1f} ms, RSS {answers[side][-1][1]:.3f} of the bytes")
    seconds, grown = ({side: median(answer[i] for answer in list_) for side, list_ in answers.items()} for i in (0, 1))
    return {
        "pin_first_1GiB": (SECOND, seconds["ours"], seconds["stock"], seconds["stock"] / seconds["ours"]),
        "pin_first_1GiB_best": (SECOND, seconds["ours"], seconds["best"], seconds["best"] / seconds["ours"]),
        "pin_first_1GiB_rss": (ONE, grown["ours"], grown["stock"], grown["ours"]),
    }


def pin_reuse():
    rows, (a, b) = {}, pair()
    with a, b:
        for server in a, b:
            server.ask("start")
        for name, size in ("4KiB", 4096), ("1MiB", MiB), ("64MiB", 64 * MiB):
            count = turns(2000, (a, "cycle", size), (b, "cycle", size))
            ours_s, stock_s = alternate(21, (a, "cycle", size, count), (b, "cycle", size, count))
            rows[f"pin_reuse_{name}"] = (SECOND, ours_s, stock_s, ours_s - stock_s)
    return rows


def transfers(direction):
    rows, (a, b) = {}, pair()
    with a, b:
        for server in a, b:
            server.ask("start")
        for name, size, count in ("64MiB", 64 * MiB, 20), ("1GiB", GiB, 5):
            ours_s, stock_s = alternate(9, (a, "copy", direction, size, count), (b, "copy", direction, size, count))
            rows[f"{direction}_{name}"] = (RATE, size / ours_s, size / stock_s, stock_s / ours_s)
            ours_s, stock_s = alternate(9, (a, "call", direction, size, count), (b, "call", direction, size, count))
            rows[f"{direction}_{name}_call"] = (SECOND, ours_s, stock_s, ours_s / stock_s)
    return rows


def h2d():
    return transfers("h2d")


def d2h():
    return transfers("d2h")


def ds_native():
    backend = {"DS_PIN_MEMORY_BACKEND": "native", "patience": 300}
    with stock(**backend) as peer, ours(**backend) as server:
        peer.ask("native", MiB, 1)  # compiles the op, if it is not there yet
        count = turns(200, (server, "native", GiB))
        ours_s, stock_s = alternate(5, (server, "native", GiB, count), (peer, "native", GiB, 1))
    return {"ds_native_cycle_1GiB": (SECOND, ours_s, stock_s, stock_s / ours_s)}


def fork_8():
    size, answers = 8 * GiB, ([], [])
    servers = pair()
    with servers[0], servers[1]:
        for _ in range(6):
            for server, list_ in zip(servers, answers):
                list_.append(server.ask("fork", size))
    (ours_s, ours_b), (stock_s, stock_b) = ([median(column) for column in zip(*list_[1:])] for list_ in answers)
    return {
        "fork_8GiB": (SECOND, ours_s, stock_s, ours_s / stock_s),
        "fork_8GiB_memory": (BYTE, ours_b, stock_b, ours_b / size),
    }


def threads():
    with Server(measure.built("threads")) as server:
        all_, one = alternate(9, (server, "threads", 16, 64 << 10, 200000), (server, "threads", 1, 64 << 10, 200000))
    if os.cpu_count() < 16:
        note(f"threads_16: this machine has {os.cpu_count()} cores")
    return {"threads_16": (ONE, all_, one, all_ / one)}


def memlock():
    works = []
    for start in ours, stock:
        with start(*UNLOCKED) as server:
            limited, worked = server.ask("limited", GiB)
        if not limited:
            raise Failure("the process could not be given a limit of 64 KiB")
        works.append(worked)
    return {"memlock_64k": (PASS, *works, works[0])}


def capture():
    works = []
    for start in ours, stock:
        try:
            with start() as server:
                works += server.ask("capture")
        except Failure as failure:
            if start is ours:
                raise
            note(f"capture_with_first_pin: stock torch: {str(failure).splitlines()[-1]}")
            works.append(0)
    return {"capture_with_first_pin": (PASS, *works, works[0])}


def loader():
    servers = pair()
    with servers[0], servers[1]:
        (a, b), (a2, b2) = ([server.ask("train") for server in servers] for _ in range(2))
    if b[1:] != b2[1:]:
        raise Failure("stock torch's losses differ from run to run")
    if not a[0] == a2[0] == 1:
        note("dataloader_4_workers: a batch does not lie in our memory")
    if not a[1:] == a2[1:] == b[1:]:
        note(f"dataloader_4_workers: losses {a[1:]} and {a2[1:]}, stock {b[1:]}")
    good = int(a[0] == a2[0] == 1 and a[1:] == a2[1:] == b[1:])
    return {"dataloader_4_workers": (PASS, good, int(b[0]), good)}


def job(stage, preload, *more, patience=280):
    command = [sys.executable, os.path.join(HERE, "gpu_job.py"), "--stage", str(stage), *more]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, env=environment(preload), text=True, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        try:
            why = f"the job ended with {process.wait(patience)}"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            why = f"the job took more than {patience} s"
        output.seek(0)
        said = output.read()
    lines = [line for line in said.splitlines() if line.startswith("result ")]
    if not lines:
        raise Failure(f"{said[-6000:]}\n{why}")
    if process.returncode != 0:
        note(f"{said[-3000:]}\n{why}, after its last step")
    result = json.loads(lines[-1].removeprefix("result "))
    if result["preloaded"] != bool(preload):
        raise Failure(f"{said[-3000:]}\nthe preload is not there")
    return result


def told(name, side, result):
    note(f"{name} {side}: model {result['model']:.2f} s, deepspeed.initialize {result['initialize']:.2f} s, steps "
         f"{' '.join(f'{step:.3f}' for step in result['steps'])} s, pinned {result['pinned'] / GiB:.2f} GiB at the peak (active "
         f"{result['active'] / GiB:.2f}), RSS {result['rss'] / GiB:.2f} GiB, {result['allocations']} allocations, losses "
         f"{' '.join(result['losses'])}")
    if side == "ours":
        library = result["ours"]
        note(f"{name} ours: alive {library['peak_bytes'] / GiB:.2f} GiB at the peak, locked for that "
             f"{library['peak_locked'] / GiB:.2f}; {library['reused_blocks']} of {library['allocated_blocks']} blocks reused")


def zero_offload(stage):
    name, preload = f"zero_offload_job_{stage}", measure.ARGUMENTS.preload
    small = "--layers", "2", "--width", "128", "--vocabulary", "500"
    job(stage, None, *small)  # compiles the op, and reads all of Python's files
    results = {"ours": [], "stock": []}
    for _ in range(measure.ARGUMENTS.rounds):
        for side, library in ("ours", preload), ("stock", None):
            measure.use_memory(40 * GiB)
            results[side].append(job(stage, library))
            told(name, side, results[side][-1])

    def both(value):
        return [median(map(value, results[side])) for side in ("ours", "stock")]

    pinned, rss = both(lambda result: result["pinned"]), both(lambda result: result["rss"])
    init = both(lambda result: result["model"] + result["initialize"])
    step = both(lambda result: median(result["steps"]))
    losses = {side: {tuple(result["losses"]) for result in list_} for side, list_ in results.items()}
    if len(losses["stock"]) > 1:
        note(f"{name}: stock's own losses differ from run to run")
    same = int(len(losses["ours"] | losses["stock"]) == 1)
    return {
        f"{name}_pinned": (BYTE, *pinned, pinned[0] / pinned[1]),
        f"{name}_rss": (BYTE, *rss, (rss[1] - rss[0]) / max(pinned[1] - pinned[0], 1)),
        f"{name}_init": (SECOND, *init, init[0] / init[1]),
        f"{name}_step": (SECOND, *step, step[0] / step[1]),
        f"{name}_loss": (PASS, same, int(len(losses["stock"]) == 1), same),
    }


def zero_offload_2():
    return zero_offload(2)


def zero_offload_3():
    return zero_offload(3)


# Row: what measures it, what `ratio` is, the bar as (comparison, value).
PASSES = "ours", (">=", 1)
ROWS = {
    "pin_first_1GiB": (pin_first, "peer/ours", (">=", 5)),
    "pin_first_1GiB_best": (pin_first, "peer/ours", (">=", 1.5)),
    "pin_first_1GiB_rss": (pin_first, "ours", ("<=", 1.01)),
    "pin_reuse_4KiB": (pin_reuse, "ours-peer", ("<=", 1e-6)),
    "pin_reuse_1MiB": (pin_reuse, "ours-peer", ("<=", 1e-6)),
    "pin_reuse_64MiB": (pin_reuse, "ours-peer", ("<=", 1e-6)),
    **{f"{direction.__name__}_{size}{what}": (direction, *bar)
       for direction in (h2d, d2h) for size in ("64MiB", "1GiB")
       for what, bar in {"": ("ours/peer", (">=", 0.98)), "_call": ("ours/peer", ("<=", 1.5))}.items()},
    "ds_native_cycle_1GiB": (ds_native, "peer/ours", (">=", 5000)),
    "fork_8GiB": (fork_8, "ours/peer", ("<=", 2)),
    "fork_8GiB_memory": (fork_8, "ours/8GiB", ("<=", 0.01)),
    "threads_16": (threads, "ours/peer", (">=", 8)),
    "memlock_64k": (memlock, *PASSES),
    "capture_with_first_pin": (capture, *PASSES),
    "dataloader_4_workers": (loader, *PASSES),
    **{f"zero_offload_job_{stage}_{what}": (measured, *bar)
       for stage, measured, pinned in ((2, zero_offload_2, 0.80), (3, zero_offload_3, 0.65))
       for what, bar in {"pinned": ("ours/peer", ("<=", pinned)), "rss": ("less/less", (">=", 0.95)),
                         "init": ("ours/peer", ("<=", 1)), "step": ("ours/peer", ("<=", 1)), "loss": PASSES}.items()},
    **gpu_vary.ROWS,
}
PEERS = """ours is pintensor, preloaded; peer is the same program without it, except:
pin_first_1GiB_best: torch with pinned_use_cuda_host_register and 8 threads. threads_16: our one thread, cycles a second.
ds_native_cycle_1GiB: DeepSpeed's native backend (JIT builds of its op are -O0 in effect).
pinned: the most that is pinned at once, what waits in the cache included. rss: what the peak of the resident set is less by,
as a part of what the pinned peak is less by. init: making the model and deepspeed.initialize. step: the median of the rounds'
median steps.
""" + gpu_vary.PEERS


def main():
    measure.arguments(rounds=3)
    names = measure.chosen(ROWS)
    try:
        if any(name != "threads_16" for name in names):
            warm_up()
    except Failure as failure:
        note(f"the warm-up failed, and so will most rows:\n{failure}")
    return measure.run(ROWS, PEERS)


if __name__ == "__main__":
    sys.exit(main())
