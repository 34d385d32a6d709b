"""What the processes of scripts/bench --gpu share: how memory is pinned, whether it is served by the right side, and how both
sides count what they pinned."""

import ctypes
import time

import torch

MiB = 1 << 20
clock = time.perf_counter
library = ctypes.CDLL(None)
PRELOADED = hasattr(library, "pintensor_get_stats")
GPU = torch.cuda.is_available()  # else the code can be tried on the CPU, where torch pins nothing
DEVICE = "cuda" if GPU else "cpu"
tiny = []


class Stats(ctypes.Structure):
    """pintensor_stats."""
    _fields_ = [(name, ctypes.c_uint64) for name in
                ("live_blocks", "live_bytes", "live_locked", "cached_bytes", "peak_bytes", "peak_locked", "locked_bytes",
                 "allocated_blocks", "reused_blocks", "reclaimed_blocks", "misuses", "pageable_blocks", "registrations",
                 "unregistrations")]


def pintensor():
    """What the library says of itself; nothing without the preload."""
    stats = Stats()
    if PRELOADED:
        library.pintensor_get_stats(ctypes.byref(stats), ctypes.c_size_t(ctypes.sizeof(stats)))
    return stats


def torch_stats():
    """torch's statistics count whole blocks, rounded as they are pinned, those that wait in its cache too."""
    return torch.cuda.host_memory_stats() if GPU else {}


def registrations():
    """How often memory was pinned so far."""
    return pintensor().registrations if PRELOADED else torch_stats()["num_host_alloc"] if GPU else 0


def pinned_bytes():
    """What is pinned now, and at the peak."""
    stats, locked = torch_stats(), pintensor().locked_bytes
    return max(stats.get("allocated_bytes.current", 0), locked), max(stats.get("allocated_bytes.peak", 0), locked)


def context():
    torch.zeros(1, device=DEVICE)
    synchronize()


def synchronize():
    if GPU:
        torch.cuda.synchronize()


def pinned(size):
    return torch.empty(size, dtype=torch.uint8, pin_memory=GPU)


def served(tensor):
    """Whether the memory comes from where it should: torch alone would look as good in many a row."""
    if not PRELOADED:
        return tensor.is_pinned() or not GPU
    library.pintensor_is_managed.restype = ctypes.c_bool
    size = tensor.numel() * tensor.element_size()
    return tensor.is_pinned() and library.pintensor_is_managed(ctypes.c_void_p(tensor.data_ptr()), ctypes.c_size_t(size))


def checked(tensor):
    if not served(tensor):
        raise RuntimeError("the preload does not serve torch's pinned memory: see what it says above")
    return tensor


def start():
    """Everything that a process does once: the context, torch's first pinned tensor."""
    context()
    if not tiny:
        tiny.append(checked(pinned(1)))
    return [1]


def spin_rate():
    """What torch.cuda._sleep() takes for a millisecond, at the clock rate that the GPU works with."""
    times = []
    for cycles in 4 * 10**8, 10**8, 10**8, 10**8:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        torch.cuda._sleep(cycles)
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return [int(10**8 / min(times[1:]))]


def spin(cycles):
    if GPU:
        torch.cuda._sleep(cycles)
