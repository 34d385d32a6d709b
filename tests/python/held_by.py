"""Blocks of pinned memory with torch's tensors on them, each held in another way: from a line of its own, so that each is a site."""
import ctypes
import functools
import itertools
import os
import sys
import threading
import time

import torch

threads = len(os.listdir("/proc/self/task"))
library = ctypes.PyDLL(None)  # the GIL is held, so no line is guessed on a busy machine
library.pintensor_manager_create.restype = ctypes.c_uint64
library.pintensor_alloc.argtypes = [ctypes.c_uint64, ctypes.c_size_t, ctypes.c_void_p]


CLOCKS = {
    "busy": {time.CLOCK_MONOTONIC: 1.9, time.CLOCK_THREAD_CPUTIME_ID: 0.9},
    "late": {time.CLOCK_MONOTONIC: 1.9, time.CLOCK_THREAD_CPUTIME_ID: 1.1},
    "waiting": {time.CLOCK_MONOTONIC: 2.1, time.CLOCK_THREAD_CPUTIME_ID: 0.9},
}


class Block(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("bytes", ctypes.c_size_t), ("id", ctypes.c_uint64)]


def pinned():
    block = Block()
    assert library.pintensor_alloc(manager, 65536, ctypes.byref(block)) == 0
    return torch.frombuffer((ctypes.c_char * 65536).from_address(block.data), dtype=torch.float32)


class Trainer:
    pass


class Registry:
    everything = None


def a_closure():
    batch = pinned()
    return lambda: batch


@functools.lru_cache
def looked_up(_):
    return pinned()


def a_generator():
    mine = pinned()
    yield 1
    print(mine)


def a_thread(ready, end):
    batches = [pinned()]
    ready.set()
    end.wait()
    print(batches)


def create_without_gil(library):
    """Another thread has the GIL when the first call of ours is made, and for longer than anybody waits for it."""
    go = threading.Lock()
    go.acquire()
    other = threading.Thread(target=lambda: go.acquire() and ctypes.PyDLL(None).usleep(600000))
    other.start()
    go.release()
    create = ctypes.CDLL(library).create_later
    create.restype = ctypes.c_uint64
    number = create()
    other.join()
    end = time.monotonic() + 60
    while len(os.listdir("/proc/self/task")) > threads and time.monotonic() < end:  # one asks in place of this thread
        time.sleep(0.01)
    return number


def main(way):
    space = globals()
    if way in ("list", "gil"):
        space["cache"] = [pinned() for _ in range(12)]
    elif way == "dicts":
        space["cache"] = {step: [pinned()] for step in range(3)}
    elif way == "deep":
        space["cache"] = pinned()
        for i in range(6):
            space["cache"] = {f"of the level that has the number {i}": space["cache"]}
        space["cache"] = {"outermost": space["cache"]}
    elif way == "key":
        space["cache"] = {"best\n": pinned()}
    elif way == "attribute":
        space["trainer"] = Trainer()
        space["trainer"].buffer = pinned()
    elif way == "dict of an attribute":
        space["trainer"] = Trainer()
        space["trainer"].cache = {"best": pinned()}
    elif way == "class":
        Registry.everything = [pinned()]
    elif way == "closure":
        space["hook"] = a_closure()
    elif way == "lru_cache":
        looked_up(1)
    elif way == "generator":
        space["steps"] = a_generator()
        next(space["steps"])
    elif way == "thread":
        ready = threading.Event()
        threading.Thread(target=a_thread, args=(ready, threading.Event()), daemon=True).start()
        ready.wait()
    elif way == "autograd":
        weight = torch.ones(16384, requires_grad=True)
        space["loss"] = weight * pinned()
    elif way == "many":
        space["cache"] = [pinned() for _ in range(12)]
        space["others"] = [[i] for i in range(int(sys.argv[2]))]
    elif way in CLOCKS:  # what each clock says: at the beginning, and whenever somebody looks again
        space["cache"] = [pinned() for _ in range(12)]
        told = {clock: itertools.chain([0.0], itertools.repeat(later)) for clock, later in CLOCKS[way].items()}
        time.clock_gettime = lambda clock: next(told[clock])
    elif way == "now":
        import pintensor

        space["kept"] = [pinned()]  # a local variable leads to it, too
        batch = pinned()
        print(pintensor.report())
        del batch


manager = create_without_gil(sys.argv[2]) if sys.argv[1] == "gil" else library.pintensor_manager_create()
main(sys.argv[1])
if sys.argv[1] in ("thread", "now"):
    sys.stdout.flush()
sys.exit(0)
