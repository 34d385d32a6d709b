"""DeepSpeed's handles driven by lines on stdin, each answered by a line of numbers: measure.py starts this with a library
preloaded or without. Commands: see the functions below. Times are in seconds, sizes in bytes."""

import collections
import ctypes
import itertools
import random
import tempfile
import threading
import time

import torch
from deepspeed.ops.op_builder.cpu import AsyncIOBuilder, PinMemoryBuilder
from serve import proc_bytes, serve

handle = PinMemoryBuilder().load().pin_handle()
new, free = handle.new_cpu_locked_tensor, handle.free_cpu_locked_tensor
byte = torch.empty(0, dtype=torch.uint8)
page_of_floats = torch.empty(0, dtype=torch.float32)
clock = time.perf_counter
memset = ctypes.CDLL(None).memset
memset.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)


def locked():
    return proc_bytes("/proc/self/status", "VmLck:")


def cycle(size, count, touch):
    """Allocates and frees; a cycle's time."""
    start = clock()
    for _ in range(count):
        tensor = new(size, byte)
        if touch:
            memset(tensor.data_ptr(), 1, size)
        free(tensor)
        del tensor
    return [(clock() - start) / count]


def first(size):
    """The first block of the process, every byte written; and how much of it lies in huge pages."""
    start = clock()
    tensor = new(size, byte)
    memset(tensor.data_ptr(), 1, size)
    elapsed = clock() - start
    return [elapsed, *(proc_bytes("/proc/self/smaps_rollup", key) for key in ("AnonHugePages:", "ShmemPmdMapped:"))]


def drop(count):
    """A page of floats made and dropped, never freed: a turn's time."""
    start = clock()
    for _ in range(count):
        new(1024, page_of_floats)
    return [(clock() - start) / count]


def small(count, size):
    """What so many blocks of so many bytes lock."""
    before = locked()
    tensors = [new(size, byte) for _ in range(count)]
    after = locked()
    for tensor in tensors:
        free(tensor)
    return [after - before]


rounds = itertools.count()


def vary(threads, least, most, kept, turns):
    """Threads that each make blocks of any size and free the one made `kept` turns ago; a block's time. The sizes of a round
    are the same with the preload and without, and other than those of the rounds before."""
    seed = 1000 * next(rounds)
    draws = [random.Random(seed + number) for number in range(threads)]
    sizes = [[draw.randint(least, most) for _ in range(turns)] for draw in draws]
    start, ends = threading.Barrier(threads + 1), [0.0] * threads

    def work(number):
        tensors = collections.deque()
        start.wait()
        for size in sizes[number]:
            tensors.append(new(size, byte))
            if len(tensors) > kept:
                free(tensors.popleft())
        ends[number] = clock()
        for tensor in tensors:
            free(tensor)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    start.wait()
    begin = clock()
    for worker in workers:
        worker.join()
    return [(max(ends) - begin) / (threads * turns)]


def replay(path):
    """Peaks of the bytes locked and of those alive over a recorded trace."""
    blocks, sizes, live, peak_live, peak_locked, before = {}, [], 0, 0, 0, locked()
    with open(path) as trace:
        for line in trace:
            value = int(line)
            if line[0] == "+":
                blocks[len(sizes)] = new(value, byte)
                sizes.append(value)
                live += value
            else:
                free(blocks.pop(-value))
                live -= sizes[-value]
            peak_live = max(peak_live, live)
            peak_locked = max(peak_locked, locked() - before)
    return [peak_locked, peak_live]


def is_managed(count):
    """The time of one question about the middle of a block, with so many blocks of 100 bytes alive."""
    tensors = [new(100, byte) for _ in range(count)]
    inside = [tensors[i * count // 20][50:60] for i in range(20)]
    start = clock()
    for view in inside:
        assert handle.is_pinned(view)
    elapsed = (clock() - start) / len(inside)
    for tensor in tensors:
        free(tensor)
    return [elapsed]


def who_holds(count):
    """The time in which a report finds who holds 100 blocks among so many objects, and whether it is right."""
    global cache, others
    cache, others = [new(100, byte) for _ in range(100)], [[number] for number in range(count)]
    with tempfile.TemporaryFile() as file:
        start = clock()
        ctypes.PyDLL(None).pintensor_report_held_by(file.fileno())
        elapsed = clock() - start
        file.seek(0)
        right = b"held by __main__.cache -> list[100] -> Tensor" in file.read()
    for tensor in cache:
        free(tensor)
    del cache, others
    return [elapsed, int(right)]


io = None


def write(path, size):
    """async_io's write of a tensor that is not pinned."""
    global io, source
    if io is None:
        io, source = AsyncIOBuilder().load().aio_handle(), torch.ones(size, dtype=torch.uint8)
    start = clock()
    io.async_pwrite(source, path, 0)
    io.wait()
    return [clock() - start]


serve(globals())
