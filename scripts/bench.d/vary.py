"""Pins and drops blocks of sizes that vary, driven by lines on stdin: gpu_vary.py starts this with the preload or without."""

import gc
import random
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import torch
from pins import GPU, clock, pinned_bytes, registrations, start  # noqa: F401  start is asked by name
from serve import serve

streams = {}


def thread_loop(sizes, kept, times):
    """When it began and ended; `times` gets each turn's."""
    blocks = deque()
    begin = before = clock()
    for size in sizes:
        blocks.append(torch.empty(size, dtype=torch.uint8, pin_memory=GPU))
        if len(blocks) > kept:
            blocks.popleft()
        after = clock()
        times.append(after - before)
        before = after
    return begin, before


def loop(threads, low, high, kept, count, seed):
    """A round: so many blocks by each thread, the sizes drawn from where the round before stopped. A block's time in the mean, as
    the threads together see it, and the 99th percentile as one thread sees it; what was registered, and is pinned."""
    draws = streams.setdefault(seed, random.Random(seed))
    sizes = [[draws.randint(low, high) for _ in range(count)] for _ in range(threads)]
    times = [[] for _ in sizes]
    registered = registrations()
    gc.collect()
    gc.disable()
    if threads == 1:
        spans = [thread_loop(sizes[0], kept, times[0])]
    else:
        ready = threading.Barrier(threads)

        def run(i):
            ready.wait()
            return thread_loop(sizes[i], kept, times[i])
        with ThreadPoolExecutor(threads) as workers:
            spans = list(workers.map(run, range(threads)))
    gc.enable()
    begins, ends = zip(*spans)
    in_order = sorted(time for list_ in times for time in list_)
    return [(max(ends) - min(begins)) / len(in_order), in_order[int(0.99 * len(in_order))], registrations() - registered, *pinned_bytes()]


serve(globals())
