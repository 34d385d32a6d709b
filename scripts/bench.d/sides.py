"""The sides that gpu.py and gpu_vary.py compare: the same program with the preload, without it, and with what torch itself can
be told to do better."""

import contextlib
import functools
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import measure
from measure import HERE, Failure, Server, note

BEST = "pinned_use_cuda_host_register:True,pinned_num_register_threads:8"
RESERVE = "pinned_reserve_segment_size_mb:1024"


def stock(*before, script="pinned.py", preload=None, patience=120, **more):
    return Server(*before, sys.executable, os.path.join(HERE, script), preload=preload, patience=patience, **more)


def ours(*before, **more):
    return stock(*before, preload=measure.ARGUMENTS.preload, **more)


def pair(**more):
    return ours(**more), stock(**more)


@functools.cache
def best_options():
    """torch's own, with the segment that it reserves once and serves from, where that torch knows the option."""
    options = f"{BEST},{RESERVE}"
    try:
        with stock(PYTORCH_CUDA_ALLOC_CONF=options) as server:
            server.ask("start")
    except Failure as failure:
        note(f"this torch has no {RESERVE}: {str(failure).strip().splitlines()[-1]}")
        return BEST
    note(f"torch with its best options: {options}")
    return options


def best(**more):
    return stock(PYTORCH_CUDA_ALLOC_CONF=best_options(), **more)


SIDES = {"ours": ours, "stock": stock, "best": best}


@contextlib.contextmanager
def started(sides, **more):
    """A process for each side named, as often as it is named, all started at once: most of a start is Python's imports. They idle
    until they are asked, one at a time."""
    if "best" in sides:
        best_options()
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(len(sides)) as threads:
        starting = [threads.submit(SIDES[side], **more) for side in sides]
        failures = []
        servers = []
        for future in starting:
            try:
                servers.append(stack.enter_context(future.result()))
            except Failure as failure:
                failures.append(failure)
        if failures:
            raise failures[0]
        asked = [threads.submit(server.ask, "start") for server in servers]
        for future in asked:
            future.result()
        yield servers
