"""The rows of scripts/bench --gpu for sizes that vary and for memory that idles: gpu.py has the table's others, and includes
these. Of torch there are two sides here, as it is and with its best options; where a row says no more, peer is torch as it is."""

import time
from functools import partial

import measure
from measure import BYTE, ONE, SECOND, Failure, GiB, MiB, median, note
from sides import started

# name: threads, sizes from and to, blocks kept, blocks a round and thread
LOOPS = {
    "4MiB": (1, 4 << 10, 4 * MiB, 4, 2000),
    "8threads": (8, 4 << 10, 4 * MiB, 4, 2000),
    "256KiB": (1, 1 << 10, 256 << 10, 8, 2000),
    "64MiB": (1, 4 * MiB, 64 * MiB, 2, 1000),
}
LOOP_ROUNDS = 3
REGIMES = "ragged", "images", "growing", "set", "packed"
LOADER_ROUNDS = 2
LAUNCH_ROUNDS = 5


def vary(name):
    """Processes of their own for each side and round, since what comes first is measured too."""
    row, sides = f"vary_{name}", ("ours", "stock", "best")
    answers = {side: [] for side in sides}
    with started(sides * LOOP_ROUNDS, script="vary.py") as servers:
        for i, server in enumerate(servers):
            side, seed = sides[i % len(sides)], 1 + i // len(sides)
            measure.use_memory(GiB // 2)
            rounds = [server.ask("loop", *LOOPS[name], seed) for _ in range(2)]
            answers[side].append(rounds)
            (first, *_), (second, p99, *_) = rounds
            note(f"{row} {side}: {first * 1e6:.1f} us a block, then {second * 1e6:.1f}, p99 {p99 * 1e6:.1f}; registrations "
                 f"{rounds[0][2]:.0f}, then {rounds[1][2]:.0f}; pinned {rounds[1][3] / MiB:.1f} MiB, at the peak "
                 f"{rounds[1][4] / MiB:.1f}")

    def both(which, i, others=("stock", "best")):
        ours_s, *peers = (median(rounds[which][i] for rounds in answers[side]) for side in ("ours", *others))
        return SECOND, ours_s, min(peers), ours_s / min(peers)

    return {row: both(1, 0), f"{row}_first": both(0, 0, ("stock",)), f"{row}_p99": both(1, 1)}


def loader(regime):
    row, sides = f"loader_{regime}", ("ours", "stock") * LOADER_ROUNDS + ("best",)
    answers = {side: [] for side in sides}
    with started(sides, script="loader.py", patience=300) as servers:
        cycles = int(5 * servers[1].ask("spin_rate")[0])  # the same work for all
        for i, (side, server) in enumerate(zip(sides, servers)):
            measure.use_memory(GiB)
            *answer, wrong = server.ask("train", regime, 1 + i // 2, cycles)
            answers[side].append(answer)
            note(f"{row} {side}: {answer[0]:.1f} steps a second, then {answer[1]:.1f}; registrations {answer[2]:.0f}, then "
                 f"{answer[3]:.0f}; pinned {answer[4] / MiB:.1f} MiB at the peak")
            if wrong:
                raise Failure(f"{row} {side}: {wrong:.0f} elements or sums did not arrive as they were made")
    first, second, _, registered, peak = zip(*([median(column) for column in zip(*answers[side])] for side in ("ours", "stock")))
    return {
        f"{row}_1": (ONE, *first, first[0] / first[1]),
        f"{row}_2": (ONE, *second, second[0] / second[1]),
        f"{row}_registrations": (ONE, *registered, registered[0] - registered[1]),
        f"{row}_pinned": (BYTE, *peak, peak[0] / max(peak[1], 1)),
    }


def save_on_cpu():
    """30 steps from cold: about 8 GiB are alive at the peak."""
    results, losses = {}, {}
    for side in "ours", "stock", "best":
        with started((side,), script="offload.py", patience=300) as (server,):
            measure.use_memory(24 * GiB)
            seconds, peak, active, registered, *losses[side] = server.ask("train", 10, 2048, 2048, 10240, 30, 1)
        results[side] = seconds, peak
        note(f"save_on_cpu {side}: {seconds:.2f} s, pinned {peak / GiB:.2f} GiB at the peak (active {active / GiB:.2f}), "
             f"{registered:.0f} registrations, last loss {losses[side][-1]}")
    if losses["stock"] != losses["best"]:
        raise Failure("stock torch's losses differ from run to run")
    if losses["ours"] != losses["stock"]:
        raise Failure(f"losses {losses['ours']}, stock {losses['stock']}")
    (ours_s, ours_b), (stock_s, stock_b) = results["ours"], results["stock"]
    return {
        "save_on_cpu_time": (SECOND, ours_s, stock_s, ours_s / stock_s),
        "save_on_cpu_pinned": (BYTE, ours_b, stock_b, ours_b / max(stock_b, 1)),
    }


def launch_beside_trim():
    """The kernel on the other stream runs for 3 s, and the block has idled long enough after one."""
    sides = "ours", "stock"
    answers = {side: [] for side in sides}
    with started(sides, script="idle.py", PINTENSOR_IDLE="1") as servers:
        cycles = int(servers[1].ask("spin_rate")[0])
        for server in servers:
            server.ask("spin_rate")
        for _ in range(LAUNCH_ROUNDS):
            for side, server in zip(sides, servers):
                slowest, busy = server.ask("launch", 256 * MiB, cycles, 3000)
                if not busy:
                    raise Failure("the long kernel was over too soon")
                answers[side].append(slowest)
    for side in sides:
        note(f"launch_beside_trim {side}: slowest launches {' '.join(f'{slowest * 1e3:.2f}' for slowest in answers[side])} ms")
    ours_s, stock_s = median(answers["ours"]), median(answers["stock"])
    return {"launch_beside_trim": (SECOND, ours_s, stock_s, ours_s / stock_s)}


def pause():
    """All sides pause together."""
    sides = "ours", "stock", "best"
    with started(sides, script="idle.py") as servers:
        first = [server.ask("make", 2 * GiB)[0] for server in servers]
        time.sleep(14)
        second = [server.ask("make", 2 * GiB)[0] for server in servers]
    for side, before, after in zip(sides, first, second):
        note(f"pause_14s_2GiB {side}: {before * 1e3:.1f} ms, then {after * 1e3:.3f} ms")
    return {"pause_14s_2GiB": (SECOND, second[0], second[1], second[0])}


def rows():
    """A function for each loop and regime: measured together, they would fail together."""
    for name in LOOPS:
        measured = partial(vary, name)
        yield f"vary_{name}", (measured, "ours/peer", ("<=", 1.5))
        yield f"vary_{name}_first", (measured, "ours/peer", ("<=", 1))
        yield f"vary_{name}_p99", (measured, "ours/peer", ("<=", 2))
    for regime in REGIMES:
        measured = partial(loader, regime)
        yield f"loader_{regime}_1", (measured, "ours/peer", (">=", 0.98))
        yield f"loader_{regime}_2", (measured, "ours/peer", (">=", 0.98))
        yield f"loader_{regime}_registrations", (measured, "ours-peer", ("<=", 0))
        yield f"loader_{regime}_pinned", (measured, "ours/peer", ("<=", 1))
    yield "save_on_cpu_time", (save_on_cpu, "ours/peer", ("<=", 1))
    yield "save_on_cpu_pinned", (save_on_cpu, "ours/peer", ("<=", 0.7))
    yield "launch_beside_trim", (launch_beside_trim, "ours/peer", ("<=", 2))
    yield "pause_14s_2GiB", (pause, "ours", ("<=", 1e-3))


ROWS = dict(rows())
PEERS = """vary: a block's time in the second round; peer is the better of torch as it is and with its best options, of torch as it
is in _first (the first round). loader_1, _2: steps a second of each epoch; _registrations: in the second."""
