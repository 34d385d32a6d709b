"""A DataLoader that pins its batches beside a GPU that works 5 ms a step, driven by lines on stdin: gpu_vary.py starts this with
the preload or without. Every batch is checked on the GPU, where a block that is written while its copy is on its way would show."""

import os
import random
from collections import deque

import torch
from pins import DEVICE, GPU, MiB, checked, clock, pinned_bytes, registrations, spin, spin_rate, start, synchronize  # noqa: F401
from serve import serve

STEPS = 400
AHEAD = 4  # so many steps may be queued: what a job does that reads its losses a little later
STRIDE, MODULUS = 1021, 251  # marks that tell one batch from another, and a place in it from others
MARKS = torch.arange(64 * MiB // STRIDE + 1) * 7 % MODULUS
KEPT_SIZES = [int(part * MiB) for part in (0.75, 1.4, 2.5, 3.1, 5, 6.2, 9, 12.3)]


def one(size):
    return {"images": (torch.uint8, size), "labels": (torch.int64, 256)}


def ragged(draws, step):
    length = draws.randint(8 << 10, 128 << 10)
    return {"inputs": (torch.int64, length), "labels": (torch.int64, length)}


def images(draws, step):
    """2 to 64 MiB, 18 in the mean: as many small ones as large ones."""
    return one(int(2 * MiB * 32 ** draws.random()))


def growing(draws, step):
    return one(MiB + 31 * MiB * step // STEPS)


def kept_set(draws, step):
    return one(draws.choice(KEPT_SIZES))


def packed(draws, step):
    length = draws.randint(16 << 10, 128 << 10)
    return {**{name: (torch.int64, length) for name in ("input_ids", "labels", "positions")},
            "cu_seqlens": (torch.int32, length // draws.randint(200, 2000) + 2)}


REGIMES = {"ragged": ragged, "images": images, "growing": growing, "set": kept_set, "packed": packed}


class Batches(torch.utils.data.Dataset):
    """Both epochs' batches, made where they are shared: a worker that copied them there could not keep up."""

    def __init__(self, regime, seed):
        draws = random.Random(seed)
        self.shapes = [REGIMES[regime](draws, step) for _ in range(2) for step in range(STEPS)]

    def __getitem__(self, i):
        batch = {}
        for j, (name, (dtype, count)) in enumerate(self.shapes[i].items()):
            storage = torch.UntypedStorage._new_shared(count * dtype.itemsize)
            batch[name] = torch.empty(0, dtype=dtype).set_(storage, 0, (count,))
            batch[name].fill_(filling(i, j))
            marks = MARKS[:-(-count // STRIDE)]
            batch[name][::STRIDE] = (marks + i + j) % MODULUS
        return batch


def filling(i, j):
    return (i * 37 + j) % MODULUS


def check(tensor, i, j, marks, wrong):
    """Adds to `wrong` what is not as made, without waiting for it."""
    found = tensor[::STRIDE]
    wanted = (marks[:found.numel()] + (i + j)) % MODULUS
    wrong += (found != wanted).sum()
    wrong += tensor.sum(dtype=torch.int64) != wanted.sum() + filling(i, j) * (tensor.numel() - found.numel())


def epoch(batches, number, cycles, marks, wrong):
    """Steps a second, from the first batch's arrival to the end of the last one's work: what workers take to start is no matter
    of pinned memory."""
    loader = torch.utils.data.DataLoader(batches, batch_size=None, sampler=range(number * STEPS, (number + 1) * STEPS),
                                         num_workers=4, pin_memory=GPU)
    queued, begin, elapsed = deque(), None, None
    for step, batch in enumerate(loader):
        if step == 0:
            for tensor in batch.values():
                checked(tensor)
            begin = clock()
        for j, tensor in enumerate(batch.values()):
            check(tensor.to(DEVICE, non_blocking=True), number * STEPS + step, j, marks, wrong)
        spin(cycles)
        if GPU:
            queued.append(torch.cuda.Event())
            queued[-1].record()
            if len(queued) > AHEAD:
                queued.popleft().synchronize()
        if step == STEPS - 1:
            synchronize()
            elapsed = clock() - begin
    return STEPS / elapsed


def train(regime, seed, cycles):
    """Two epochs: steps a second of each, what was registered in each, the peak of what was pinned, elements that were wrong."""
    room = os.statvfs("/dev/shm")
    if room.f_bavail * room.f_frsize < 1024 * MiB:
        raise RuntimeError("/dev/shm has less than a GiB: the workers could not pass their batches on")
    batches, marks = Batches(regime, seed), MARKS.to(DEVICE)
    wrong = torch.zeros((), dtype=torch.int64, device=DEVICE)
    spin(100 * cycles // 5)  # the clock rate goes up
    synchronize()
    rates, counts = [], [registrations()]
    for number in range(2):
        rates.append(epoch(batches, number, cycles, marks, wrong))
        counts.append(registrations())
    return [*rates, counts[1] - counts[0], counts[2] - counts[1], pinned_bytes()[1], wrong.item()]


serve(globals())
