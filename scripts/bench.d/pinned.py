"""torch's pinned memory on a GPU, driven by lines on stdin, each answered by a line of numbers: gpu.py starts this with the
preload or without. Commands: see the functions below. Times are in seconds, sizes in bytes."""

import os
import resource
import statistics
import threading
import time

import torch
from pins import MiB, checked, clock, context, pinned, served, start
from serve import proc_bytes, serve

kept = {}


def keep(name, make):
    if name not in kept:
        kept[name] = make()
    return kept[name]


def first(size):
    """The first large block of the process: its time, and what the resident set grew by for each byte."""
    start()
    before = proc_bytes("/proc/self/status", "VmRSS:")
    begin = clock()
    tensor = pinned(size)
    elapsed = clock() - begin
    grown = proc_bytes("/proc/self/status", "VmRSS:") - before
    checked(tensor)
    return [elapsed, grown / size]


def cycle(size, count):
    """Made and dropped; a turn's time."""
    pinned(size)
    begin = clock()
    for _ in range(count):
        torch.empty(size, dtype=torch.uint8, pin_memory=True)
    return [(clock() - begin) / count]


def ends(direction, size):
    """The same blocks every time, so that no row pays for pinning."""
    host = keep(f"host {size}", lambda: checked(pinned(size)))
    device = keep(f"device {size}", lambda: torch.zeros(size, dtype=torch.uint8, device="cuda"))
    return (device, host) if direction == "h2d" else (host, device)


def timed(direction, size, count, to_its_end):
    """One copy at a time, with nothing queued before it: how long to its end, or to the call's alone."""
    to, what = ends(direction, size)
    times = []
    for _ in range(count + 2):
        torch.cuda.synchronize()
        begin = clock()
        to.copy_(what, non_blocking=True)
        if to_its_end:
            torch.cuda.synchronize()
        times.append(clock() - begin)
    torch.cuda.synchronize()
    return [statistics.median(times[2:])]


def copy(direction, size, count):
    return timed(direction, size, count, True)


def call(direction, size, count):
    return timed(direction, size, count, False)


def fork(size):
    """A fork's time with so much pinned, and the memory that the system has less of while the child lives."""
    def make():
        tensor = checked(pinned(size))
        tensor[::4096] = 1
        return tensor
    context()
    keep("forked", make)
    reader, writer = os.pipe()
    before = proc_bytes("/proc/meminfo", "MemAvailable:")
    begin = clock()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    elapsed = clock() - begin
    time.sleep(0.2)
    taken = before - proc_bytes("/proc/meminfo", "MemAvailable:")
    os.close(writer)
    os.close(reader)
    os.waitpid(child, 0)
    return [elapsed, taken]


def native(size, count):
    """DeepSpeed's native backend: a turn of pin_empty and unpin_memory."""
    from deepspeed.accelerator import get_accelerator
    context()
    accelerator = get_accelerator()
    begin = clock()
    for _ in range(count):
        tensor = accelerator.pin_empty(size, dtype=torch.uint8)
        accelerator.unpin_memory(tensor)
        del tensor
    return [(clock() - begin) / count]


def limited(size):
    """Pins with next to no memory limit; whether there was such a limit, and whether it worked."""
    with open("/proc/self/status") as status:
        capabilities = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    ipc_lock = capabilities >> 14 & 1
    context()
    tensor = pinned(size)
    tensor[::4096] = 1
    arrived = tensor.to("cuda", non_blocking=True)[::4096].sum().item() == size // 4096
    return [int(resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] == 65536 and not ipc_lock), int(served(tensor) and arrived)]


def capture():
    """The process's first pinned tensor is made by another thread while a graph is captured."""
    context()
    total = torch.zeros(1000, device="cuda")
    graph = torch.cuda.CUDAGraph()
    made = []
    with torch.cuda.graph(graph, capture_error_mode="global"):
        total += 1
        thread = threading.Thread(target=lambda: made.append(pinned(8 * MiB)))
        thread.start()
        thread.join()
        total += 1
    graph.replay()
    torch.cuda.synchronize()
    return [int(len(made) == 1 and served(made[0]) and total.tolist() == [2.0] * 1000)]


class Numbers(torch.utils.data.Dataset):

    def __len__(self):
        return 240

    def __getitem__(self, i):
        generator = torch.Generator().manual_seed(i)
        features = torch.randn(64, generator=generator)
        return features, features[:4] * 2 + 1


def train():
    """A small job with a DataLoader that pins: whether its batches lay where they should, then each step's loss."""
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.GELU(), torch.nn.Linear(256, 4)).to("cuda")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    loader = torch.utils.data.DataLoader(Numbers(), batch_size=8, num_workers=4, pin_memory=True)
    good, losses = True, []
    for features, wanted in loader:
        good = good and served(features) and served(wanted)
        features, wanted = (tensor.to("cuda", non_blocking=True) for tensor in (features, wanted))
        loss = torch.nn.functional.mse_loss(model(features), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return [int(good), *losses]


serve(globals())
