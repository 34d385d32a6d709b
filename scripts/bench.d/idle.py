"""What idle pinned memory costs, driven by lines on stdin: gpu_vary.py starts this with the preload or without."""

import gc
import threading
import time

import torch
from pins import DEVICE, clock, pinned, spin_rate, start  # noqa: F401  asked by name
from serve import serve


def make(size):
    """Made and dropped: what making took."""
    begin = clock()
    block = pinned(size)
    elapsed = clock() - begin
    del block
    return [elapsed]


def launch(size, cycles, milliseconds):
    """The slowest launch of a thread that launches all the time, while a block that was just dropped idles and a kernel on another
    stream runs past the end of that. Giving the block back would wait for that kernel, and the launches for both."""
    busy, small = torch.cuda.Stream(), torch.cuda.Stream()
    number = torch.zeros(1, device=DEVICE)
    stop, slowest = threading.Event(), []

    def launches():
        with torch.cuda.stream(small):
            number.add_(1)
            longest, before = 0.0, clock()
            while not stop.is_set():
                number.add_(1)
                after = clock()
                longest, before = max(longest, after - before), after
        slowest.append(longest)

    host, device = pinned(size), torch.empty(size, dtype=torch.uint8, device=DEVICE)
    device.copy_(host, non_blocking=True)
    number.add_(1)  # CUDA loads a kernel at its first use, and waits for the device then
    torch.cuda.synchronize()
    gc.collect()
    gc.disable()
    with torch.cuda.stream(busy):
        torch.cuda._sleep(cycles * milliseconds)
    del host
    thread = threading.Thread(target=launches)
    thread.start()
    time.sleep(milliseconds / 1e3 - 0.1)
    still_busy = not busy.query()
    time.sleep(0.2)
    stop.set()
    thread.join()
    gc.enable()
    torch.cuda.synchronize()
    return [slowest[0], int(still_busy)]


serve(globals())
