"""The checks of scripts/gpu-test, one a process: gpu.py CHECK. Prints "ok NAME" or "not ok NAME" and figures."""
import ctypes
import mmap
import os
import random
import sys
import threading
import time
from collections import deque

MIB = 1 << 20
GIB = 1 << 30
libc = ctypes.CDLL(None)


class Block(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("bytes", ctypes.c_size_t), ("id", ctypes.c_uint64)]


class Stats(ctypes.Structure):
    """pintensor_stats."""
    _fields_ = [(name, ctypes.c_uint64) for name in
                ("live_blocks", "live_bytes", "live_locked", "cached_bytes", "peak_bytes", "peak_locked", "locked_bytes",
                 "allocated_blocks", "reused_blocks", "reclaimed_blocks", "misuses", "pageable_blocks", "registrations",
                 "unregistrations", "mark_peak_bytes", "others_blocks", "others_bytes")]


manager = None


def pin(size):
    global manager
    if manager is None:
        libc.pintensor_manager_create.restype = ctypes.c_uint64
        libc.pintensor_last_error.restype = ctypes.c_char_p
        manager = libc.pintensor_manager_create()
    block = Block()
    if libc.pintensor_alloc(ctypes.c_uint64(manager), ctypes.c_size_t(size), ctypes.byref(block)) != 0:
        raise MemoryError(libc.pintensor_last_error().decode())
    return block


def unpin(block):
    assert libc.pintensor_free_block(ctypes.c_uint64(manager), ctypes.byref(block)) == 0


def trim():
    libc.pintensor_trim.restype = ctypes.c_size_t
    return libc.pintensor_trim()


def stats():
    s = Stats()
    libc.pintensor_get_stats(ctypes.byref(s), ctypes.c_size_t(ctypes.sizeof(s)))
    return s


def tensor(block):
    import torch
    return torch.frombuffer((ctypes.c_uint8 * block.bytes).from_address(block.data), dtype=torch.uint8)


def context():
    import torch
    torch.zeros(1, device="cuda")
    torch.cuda.synchronize()
    return torch


def is_so(name, fact):
    print(("ok " if fact else "not ok ") + name, flush=True)


def kernel(key, path="/proc/self/status"):
    for line in open(path):
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    return 0


def memory_type(address):
    """1: the driver knows it as host memory; 0: it does not know it."""
    value = ctypes.c_uint(0)
    cuda = ctypes.CDLL("libcuda.so.1")
    error = cuda.cuPointerGetAttribute(ctypes.byref(value), 2, ctypes.c_uint64(address))
    return value.value if error == 0 else 0


def registered(block):
    return memory_type(block.data) == 1 and memory_type(block.data + block.bytes - 1) == 1


def copy_error(to, address, size):
    """Of one copy to the device, by the driver: it leaves no error behind for others to find."""
    cuda = ctypes.CDLL("libcuda.so.1")
    error = cuda.cuMemcpyHtoDAsync_v2(ctypes.c_uint64(to.data_ptr()), ctypes.c_void_p(address), ctypes.c_size_t(size), None)
    return error or cuda.cuStreamSynchronize(None)


def bandwidth(torch, to, what, times=5):
    best = 0.0
    for _ in range(times):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        to.copy_(what, non_blocking=True)
        torch.cuda.synchronize()
        best = max(best, what.numel() / (time.perf_counter() - begin) / 1e9)
    return best


def there():
    import torch
    sys.exit(0 if torch.cuda.is_available() else 1)


def host():
    import torch
    print(torch.cuda.get_device_name(), "torch", torch.__version__, "cores", os.cpu_count(), "kernel", os.uname().release)


def blocks():
    context()
    for size in (100, 5000, 14000, 20480, 3 * MIB, 64 * MIB + 4096):
        b = pin(size)
        is_so(f"{size} bytes are host memory to the driver, whole", registered(b))
        is_so(f"{size} bytes: torch says pinned", tensor(b).is_pinned())
    is_so("nothing is mlocked", kernel("VmLck") == 0)
    b = pin(256 * MIB)
    base = b.data
    unpin(b)
    is_so("freed, it waits registered", memory_type(base) == 1)
    made = stats().registrations
    b, rest = pin(250 * MIB), pin(6 * MIB)
    is_so("a part of it serves what is shorter, and the rest another", b.data == base and rest.data == base + 250 * MIB)
    is_so("without a registration", stats().registrations == made and memory_type(base + 256 * MIB - 1) == 1)
    unpin(b)
    trim()
    is_so("trimmed, it stays registered whole while one block lives in it", memory_type(base) == 1)
    unpin(rest)
    trim()
    is_so("then the driver has forgotten all of it", memory_type(base) == 0 and memory_type(base + 256 * MIB - 1) == 0)
    many = [pin(1 + i * 7919 % 14000) for i in range(20000)]
    is_so("20,000 small ones are registered", all(registered(m) for m in many))


def whole():
    """A copy cannot lie across two registrations, so no block may: each can be copied in one go."""
    torch = context()
    to = torch.empty(8 * MIB, dtype=torch.uint8, device="cuda")
    pages = mmap.mmap(-1, 4 * MIB)
    halves = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    rt = torch.cuda.cudart()
    two = [int(rt.cudaHostRegister(halves + i * 2 * MIB, 2 * MIB, 0)) for i in range(2)]
    one, both = copy_error(to, halves, 2 * MIB), copy_error(to, halves, 4 * MIB)
    [rt.cudaHostUnregister(halves + i * 2 * MIB) for i in range(2)]
    is_so(f"a copy across two registrations is refused (error {both})", two == [0, 0] and one == 0 and both != 0)
    draw, kept, wrong = random.Random(1), [], set()

    def look(blocks):
        wrong.update((b.data, b.bytes) for b in blocks if copy_error(to, b.data, b.bytes) != 0)

    for i in range(4000):
        kept.append(pin(draw.randint(1, draw.choice((14 << 10, 256 << 10, 8 * MIB)))))
        look(kept[-1:])
        if len(kept) > 60:
            unpin(kept.pop(draw.randrange(len(kept))))
        if i % 500 == 499:
            trim()
            look(kept)
    print(f"{stats().registrations} registrations, {stats().unregistrations} taken back")
    is_so("4,000 blocks of any size, each copied whole", not wrong)


def settles(door, make, drop):
    """Loops of sizes that vary: after a while memory is neither registered nor taken back."""
    for least, most, kept in (1 << 10, 256 << 10, 8), (4 << 10, 4 * MIB, 4), (4 * MIB, 64 * MIB, 2):
        draw, blocks, rounds = random.Random(1), deque(), []
        for _ in range(3):
            before = stats()
            for _ in range(1000):
                blocks.append(make(draw.randint(least, most)))
                if len(blocks) > kept:
                    drop(blocks.popleft())
            after = stats()
            rounds.append((after.registrations - before.registrations, after.unregistrations - before.unregistrations))
        print(f"sizes up to {most >> 10} KiB, {kept} kept: a thousand each, registered and taken back {rounds}")
        is_so(f"{door}, sizes up to {most >> 10} KiB: nothing is registered or taken back in the third thousand", rounds[2] == (0, 0))
        while blocks:
            drop(blocks.popleft())
        trim()


def vary():
    context()
    settles("C", pin, unpin)


def vary_torch():
    torch = context()
    first = torch.empty(1, pin_memory=True)
    is_so("torch's pinned memory is ours", managed(first))
    settles("torch", lambda size: torch.empty(size, dtype=torch.uint8, pin_memory=True), lambda dropped: None)


def idle():
    """With PINTENSOR_IDLE=1: idle time takes no registration back. It would wait for the kernel, and hold up the launches."""
    torch = context()
    side, number = torch.cuda.Stream(), torch.zeros(1, device="cuda")
    number.add_(1)
    for cycles in 400_000_000, 400_000_000:  # the second time at the clock rate that it works with
        torch.cuda.synchronize()
        second = cycles / timed(lambda: (torch.cuda._sleep(cycles), torch.cuda.synchronize()))
    b = pin(64 * MIB)
    base, before = b.data, stats().unregistrations
    with torch.cuda.stream(side):
        torch.cuda._sleep(int(4 * second))
    unpin(b)
    slowest, begin = 0.0, time.perf_counter()
    while time.perf_counter() - begin < 3:
        slowest = max(slowest, timed(lambda: number.add_(1)))
        time.sleep(0.001)
    is_so("a kernel ran all the while", not side.query())
    is_so("a block that was dropped and idle for 3 s is not taken back", memory_type(base) == 1 and stats().unregistrations == before)
    is_so(f"no launch beside it was held up (slowest: {slowest * 1e3:.1f} ms)", slowest < 0.05)
    is_so("and it serves the next request", pin(64 * MIB).data == base)
    torch.cuda.synchronize()


def runtime():
    """CUDA's runtime itself, as torch has loaded it."""
    import torch  # noqa: F401
    paths = {line.split()[-1] for line in open("/proc/self/maps") if "/libcudart.so" in line}
    return ctypes.CDLL(min(paths))


def reset():
    """cudaDeviceReset(): by the runtime alone, since torch does not survive it."""
    rt = runtime()
    to, stream = ctypes.c_void_p(), ctypes.c_void_p()

    def begin():
        is_so("a context", rt.cudaMalloc(ctypes.byref(to), ctypes.c_size_t(8 * MIB)) == 0 and rt.cudaStreamCreate(ctypes.byref(stream)) == 0)

    def drop_in_flight(block):
        """Dropped while a copy reads it; whether its memory is handed out again after that."""
        error = libc.cudaMemcpyAsync(to, ctypes.c_void_p(block.data), ctypes.c_size_t(block.bytes), ctypes.c_int(1), stream)
        place = block.data
        unpin(block)
        error = error or rt.cudaStreamSynchronize(stream)
        return error == 0 and any(pin(block.bytes).data == place for _ in range(20))

    begin()
    alive, small, waits = pin(8 * MIB), pin(1000), pin(64 * MIB)
    ctypes.memset(alive.data, 7, alive.bytes)
    ctypes.memset(small.data, 5, small.bytes)
    base = waits.data
    is_so("before it: a block in flight is handed out again", drop_in_flight(pin(2 * MIB)))
    unpin(waits)
    trim()
    is_so("trimmed, nothing that waits is registered", memory_type(base) == 0 and registered(alive) and registered(small))
    waits = pin(64 * MIB)
    base = waits.data
    unpin(waits)
    is_so("cudaDeviceReset() is passed on", libc.cudaDeviceReset() == 0)
    is_so("what waited is unknown to the driver", memory_type(base) == 0)
    print("what is alive is known to it:", memory_type(alive.data), memory_type(small.data))
    is_so("what is alive is there", ctypes.string_at(alive.data, alive.bytes) == bytes([7]) * alive.bytes)
    begin()
    b = pin(64 * MIB)
    is_so("with a new context: memory is registered", registered(b))
    is_so("and so is what was alive", registered(alive) and registered(small))
    back = ctypes.create_string_buffer(alive.bytes)
    errors = [rt.cudaMemcpy(to, ctypes.c_void_p(alive.data), ctypes.c_size_t(alive.bytes), 1),
              rt.cudaMemcpy(back, to, ctypes.c_size_t(alive.bytes), 2)]
    is_so("its copy is right", errors == [0, 0] and back.raw == bytes([7]) * alive.bytes)
    is_so("a block in flight is handed out again", drop_in_flight(alive))
    unpin(small)
    unpin(b)
    trim()
    is_so("what is freed goes back", memory_type(b.data) == 0)
    sys.stdout.flush()
    os._exit(0)  # torch's own end would meet what was reset


def copies():
    """Blocks of the C interface beside torch's own: with PINTENSOR_TORCH=off."""
    torch = context()
    device = torch.empty(GIB, dtype=torch.uint8, device="cuda")
    for size in (64 * MIB, GIB):
        ours, theirs = tensor(pin(size)), torch.empty(size, dtype=torch.uint8, pin_memory=True)
        part = device[:size]
        for name, a, b in (("h2d", (part, ours), (part, theirs)), ("d2h", (ours, part), (theirs, part))):
            bandwidth(torch, *a, times=2), bandwidth(torch, *b, times=2)
            mine, other = bandwidth(torch, *a), bandwidth(torch, *b)
            print(f"{name} {size // MIB} MiB: {mine:.1f} GB/s, torch {other:.1f}")
            is_so(f"{name} {size // MIB} MiB is as fast as from torch's", mine >= 0.95 * other)
        times = []
        for what in (ours, theirs):
            torch.cuda.synchronize()
            begin = time.perf_counter()
            part.copy_(what, non_blocking=True)
            times.append((time.perf_counter() - begin) * 1e6)
            torch.cuda.synchronize()
        print(f"a non_blocking call: {times[0]:.0f} us, torch {times[1]:.0f} us")
        is_so("the call does not wait for the copy", times[0] < 1000)
    is_so("torch's own is torch's own", theirs.is_pinned() and not managed(theirs))
    pattern = torch.randint(0, 255, (64 * MIB,), dtype=torch.uint8)
    ours = tensor(pin(64 * MIB))
    ours.copy_(pattern)
    device[:64 * MIB].copy_(ours, non_blocking=True)
    torch.cuda.synchronize()
    is_so("what arrives is what was sent", bool((device[:64 * MIB].cpu() == pattern).all()))
    small = [tensor(pin(1 + i * 7919 % 14000)) for i in range(5000)]
    for s in small:
        device[:s.numel()].copy_(s, non_blocking=True)
    torch.cuda.synchronize()
    is_so("no small block lies across two registrations", True)


def doors():
    torch = context()
    rt = torch.cuda.cudart()
    b = pin(8 * MIB)
    is_so("registering our block again is answered", int(rt.cudaHostRegister(b.data, b.bytes, 0)) == 0)
    is_so("and taking it back too", int(rt.cudaHostUnregister(b.data)) == 0 and memory_type(b.data) == 1)
    foreign = torch.empty(8 * MIB, dtype=torch.uint8)
    is_so("foreign memory is registered", int(rt.cudaHostRegister(foreign.data_ptr(), 8 * MIB, 0)) == 0 and memory_type(foreign.data_ptr()) == 1)
    is_so("twice gives the runtime's own error", int(rt.cudaHostRegister(foreign.data_ptr(), 8 * MIB, 0)) == 712)
    is_so("and it goes back", int(rt.cudaHostUnregister(foreign.data_ptr())) == 0 and memory_type(foreign.data_ptr()) == 0)
    try:
        torch.zeros(1, device="cuda")
    except RuntimeError as error:
        print("pending:", error)


def allocate(size, flags=0):
    """By cudaHostAlloc, as a library that is linked with the runtime calls it."""
    p = ctypes.c_void_p()
    error = libc.cudaHostAlloc(ctypes.byref(p), ctypes.c_size_t(size), ctypes.c_uint(flags))
    return error, p


def device_pointer(p):
    there = ctypes.c_void_p()
    error = runtime().cudaHostGetDevicePointer(ctypes.byref(there), p, 0)
    return there.value if error == 0 else None


def others():
    """What others pin is counted, and theirs."""
    torch = context()
    unpin(pin(MIB))
    before = stats().others_bytes
    rt = torch.cuda.cudart()
    foreign = torch.empty(8 * MIB, dtype=torch.uint8)
    errors = [int(rt.cudaHostRegister(foreign.data_ptr(), 8 * MIB, 0)), int(rt.cudaHostRegister(foreign.data_ptr(), 8 * MIB, 0))]
    is_so("torch's binding registers: counted once, the second is refused", errors == [0, 712] and stats().others_bytes - before == 8 * MIB)
    error, p = allocate(16 * MIB)
    is_so("cudaHostAlloc is counted, and CUDA's own", error == 0 and stats().others_bytes - before == 24 * MIB
          and not libc.pintensor_is_managed(p, ctypes.c_size_t(1)) and device_pointer(p) == p.value)
    pin(64 * MIB)
    is_so("our own registrations are not", stats().others_bytes - before == 24 * MIB)
    is_so("they go", int(rt.cudaHostUnregister(foreign.data_ptr())) == 0 and libc.cudaFreeHost(p) == 0 and stats().others_bytes == before)
    is_so("and no more", libc.cudaFreeHost(ctypes.c_void_p(foreign.data_ptr())) != 0 and stats().others_bytes == before)
    runtime().cudaGetLastError()


def served():
    """PINTENSOR_SERVE=all."""
    torch = context()
    for flags in 0, 1, 2, 3, 4:
        error, p = allocate(16 * MIB, flags)
        seen = ctypes.c_uint(0)
        told = runtime().cudaHostGetFlags(ctypes.byref(seen), p)
        print(f"flags {flags}: cudaHostGetFlags answers {told}, {seen.value}")
        ours = bool(libc.pintensor_is_managed(p, ctypes.c_size_t(16 * MIB)))
        is_so(f"flags {flags}: whose it is, and its address", error == 0 and ours == (flags != 4) and device_pointer(p) == p.value
              and memory_type(p.value) == 1)
        is_so(f"flags {flags}: freed, once", libc.cudaFreeHost(p) == 0 and libc.cudaFreeHost(p) != 0)
        runtime().cudaGetLastError()
    _, p = allocate(64 * MIB)
    host = torch.frombuffer((ctypes.c_uint8 * (64 * MIB)).from_address(p.value), dtype=torch.uint8).fill_(7)
    device = torch.zeros(64 * MIB, dtype=torch.uint8, device="cuda")
    torch.cuda._sleep(500_000_000)
    device.copy_(host, non_blocking=True)
    libc.cudaFreeHost(p)
    is_so("it is free when the device is done", torch.cuda.current_stream().query())
    _, again = allocate(64 * MIB)
    is_so("and used again", again.value == p.value and bool((device == 7).all()))


def capture():
    torch = context()
    x = torch.zeros(1000, device="cuda")
    graph = torch.cuda.CUDAGraph()
    made = []

    def pins():
        for i in range(20):
            b = pin((1 + i) * 2 * MIB)
            made.append(registered(b))
            unpin(b)
        trim()

    with torch.cuda.graph(graph, capture_error_mode="global"):
        x += 1
        thread = threading.Thread(target=pins)
        thread.start()
        thread.join()
        x += 1
    graph.replay()
    torch.cuda.synchronize()
    is_so("a capture survives registrations on another thread", float(x[0]) == 2.0)
    is_so("which were made, and taken back", made == [True] * 20 and stats().registrations > 10 and stats().unregistrations > 10)


def threads():
    torch = context()
    wrong = []
    pin(1)  # makes the manager, for all of them

    def churn(seed):
        for i in range(200):
            b = pin(100 + (i * 7919 + seed) % (4 * MIB))
            if memory_type(b.data) != 1:
                wrong.append(i)
            unpin(b)

    workers = [threading.Thread(target=churn, args=(s * 1000,)) for s in range(8)]
    begin = time.perf_counter()
    [w.start() for w in workers]
    [w.join() for w in workers]
    print(f"1,600 cycles by 8 fresh threads: {time.perf_counter() - begin:.2f} s")
    is_so("threads that never used CUDA register too", not wrong)
    is_so("no context was made on another device", torch.cuda.current_device() == 0)


def fork():
    torch = context()
    b = pin(64 * MIB)
    t = tensor(b)
    t.fill_(7)
    child = os.fork()
    if child == 0:
        good = int(t[5]) == 7
        t[5] = 9
        unpinned = pin(MIB)
        ctypes.memset(unpinned.data, 1, MIB)
        os._exit(0 if good else 1)
    is_so("a child reads it and may pin its own", os.waitpid(child, 0)[1] == 0)
    is_so("its writes are seen", int(t[5]) == 9)
    torch.empty(64 * MIB, dtype=torch.uint8, device="cuda").copy_(t, non_blocking=True)
    torch.cuda.synchronize()
    is_so("the parent's goes on", memory_type(b.data) == 1)


def before_cuda():
    b = pin(MIB)
    loaded = "libcuda" in open("/proc/self/maps").read()
    is_so("without CUDA no driver is loaded, and mlock is the lock", not loaded and kernel("VmLck") >= MIB)


def late():
    """Blocks first, CUDA after them."""
    old = pin(MIB)
    torch = context()
    is_so("what was mlocked stays so", memory_type(old.data) == 0 and kernel("VmLck") >= MIB)
    b = pin(MIB)
    is_so("what comes after is registered", memory_type(b.data) == 1)
    is_so("who registers an old one gets it registered", int(torch.cuda.cudart().cudaHostRegister(old.data, MIB, 0)) == 0 and memory_type(old.data) == 1)


def memlock():
    context()
    b = pin(GIB)
    is_so("1 GiB with memlock 64 KiB", memory_type(b.data) == 1 and kernel("VmLck") == 0)


def managed(t):
    libc.pintensor_is_managed.restype = ctypes.c_bool
    return libc.pintensor_is_managed(ctypes.c_void_p(t.data_ptr()), ctypes.c_size_t(t.numel() * t.element_size()))


class Numbers:
    def __len__(self):
        return 64

    def __getitem__(self, i):
        import torch
        return torch.full((1000,), float(i))


def bridge():
    """torch's own pinned memory is ours, from its first tensor on."""
    torch = context()
    import torch.utils.data
    tiny = torch.empty(1, pin_memory=True)
    big = torch.empty(GIB + 4096, dtype=torch.uint8, pin_memory=True)
    is_so("torch.empty is ours, from the first on", managed(tiny) and managed(big) and big.is_pinned())
    t = torch.arange(1 << 20, dtype=torch.float32).pin_memory()
    is_so("pin_memory() is, and slices of it", managed(t) and t[5:10].is_pinned() and managed(t[5:10]))
    is_so("nothing of no elements", torch.empty(0, pin_memory=True).numel() == 0)
    on = t.to("cuda", non_blocking=True)
    torch.cuda.synchronize()
    is_so("what arrives is what was sent", bool((on.cpu() == torch.arange(1 << 20)).all()))

    side = torch.cuda.Stream()
    source = torch.full((64 * MIB,), 7, dtype=torch.uint8).pin_memory()
    at = source.data_ptr()
    target = torch.zeros(64 * MIB, dtype=torch.uint8, device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        torch.cuda._sleep(400_000_000)
        target.copy_(source, non_blocking=True)
    begin = time.perf_counter()
    del source
    waited = time.perf_counter() - begin
    other = torch.full((64 * MIB,), 9, dtype=torch.uint8).pin_memory()
    is_so("dropped in flight: the drop does not wait", waited < 0.002 and not side.query())
    is_so("and the memory is not reused before", other.data_ptr() != at)
    side.synchronize()
    is_so("so the copy is right", int(target.min()) == 7 and int(target.max()) == 7)
    again = torch.empty(64 * MIB, dtype=torch.uint8, pin_memory=True)
    is_so("after the copy it is", again.data_ptr() == at)

    loader = torch.utils.data.DataLoader(Numbers(), batch_size=8, num_workers=4, pin_memory=True)
    batches = list(loader)
    is_so("DataLoader's batches are ours", all(managed(b) and b.is_pinned() for b in batches))
    is_so("and hold what they should", sum(float(b.sum()) for b in batches) == 1000.0 * 64 * 63 / 2)

    graph, kept = torch.cuda.CUDAGraph(), torch.full((1000,), 3.0).pin_memory()
    place, out = kept.data_ptr(), torch.zeros(1000, device="cuda")
    with torch.cuda.graph(graph):
        out.copy_(kept, non_blocking=True)
        inside = torch.empty(1000, pin_memory=True)
        inside.copy_(out, non_blocking=True)
    del kept
    news = [torch.empty(1000, pin_memory=True) for _ in range(100)]
    is_so("a block that a capture used is never reused", all(n.data_ptr() != place for n in news))
    graph.replay()
    torch.cuda.synchronize()
    is_so("pinning inside a capture works", float(inside[0]) == 3.0)

    stats = torch.cuda.host_memory_stats()
    is_so("torch's statistics know our blocks", stats["active_bytes.current"] >= GIB and stats["allocated_bytes.current"] >= GIB)
    place = big.data_ptr()
    del big, again, other
    before = torch.cuda.host_memory_stats()["allocated_bytes.current"]
    is_so("what waits is registered until somebody asks for it", memory_type(place) == 1)
    torch._C._host_emptyCache()
    is_so("an empty-cache call gives back", memory_type(place) == 0 and before - torch.cuda.host_memory_stats()["allocated_bytes.current"] >= GIB)


class Sleep:
    """A stream that is busy for a fifth of a second or more, and then copies."""

    def __init__(self, torch):
        self.stream = torch.cuda.Stream()
        self.torch = torch
        with torch.cuda.stream(self.stream):
            torch.cuda._sleep(400_000_000)

    def busy(self):
        return not self.stream.query()

    def copy(self, to, block):
        async_copy(to, block, self.stream)


def async_copy(to, block, stream):
    """By the runtime's own function, as C++ code calls it: the process's first one of that name is the preload's."""
    host_to_device = 1
    error = libc.cudaMemcpyAsync(ctypes.c_void_p(to.data_ptr()), ctypes.c_void_p(block.data), ctypes.c_size_t(block.bytes),
                                 ctypes.c_int(host_to_device), ctypes.c_void_p(stream.cuda_stream))
    assert error == 0, error


def timed(what):
    begin = time.perf_counter()
    what()
    return time.perf_counter() - begin


def flight():
    """Blocks of the C interface, dropped while a copy of the dynamic runtime reads them."""
    torch = context()
    target = torch.zeros(64 * MIB, dtype=torch.uint8, device="cuda")
    a, b = pin(64 * MIB), pin(64 * MIB)  # room under the peak for one in flight and one alive
    unpin(a)
    unpin(b)
    b = pin(64 * MIB)
    place = b.data
    tensor(b).fill_(7)
    torch.cuda.synchronize()
    side = Sleep(torch)
    side.copy(target, b)
    waited = timed(lambda: unpin(b))
    is_so("the drop does not wait", waited < 0.002 and side.busy())
    other = pin(64 * MIB)
    in_time = side.busy()
    tensor(other).fill_(9)
    is_so("the memory is not handed out before the copy ended", other.data != place and in_time)
    side.stream.synchronize()
    is_so("so the copy is right", int(target.min()) == 7 and int(target.max()) == 7)
    again = pin(64 * MIB)
    is_so("after the copy it is", again.data == place)

    small = [pin(1000) for _ in range(100)]
    places = {s.data for s in small}
    side = Sleep(torch)
    for s in small:
        side.copy(target, s)
        unpin(s)
    others = [pin(1000) for _ in range(100)]
    is_so("small ones neither", side.busy() and not places & {o.data for o in others})
    side.stream.synchronize()


def captured():
    """A block that a graph's copy reads is never handed out again: the graph may be replayed at any time."""
    torch = context()
    b = pin(4096)
    place = b.data
    tensor(b).fill_(3)
    out, graph = torch.zeros(4096, dtype=torch.uint8, device="cuda"), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        async_copy(out, b, torch.cuda.current_stream())
    unpin(b)
    news = [pin(4096) for _ in range(1000)]
    for n in news:
        ctypes.memset(n.data, 9, n.bytes)
    is_so("a block that a capture used is never reused", all(n.data != place for n in news))
    graph.replay()
    torch.cuda.synchronize()
    is_so("and the graph still reads it", int(out.min()) == 3 and int(out.max()) == 3)


def strict():
    """With PINTENSOR_REUSE=strict, kernels that read pinned memory by its address are waited for too: nobody tells of them."""
    torch = context()
    size = 4 * MIB
    a, b = pin(size), pin(size)
    unpin(a)
    unpin(b)
    target = torch.zeros(size, dtype=torch.uint8, device="cuda")
    b = pin(size)
    place = b.data
    tensor(b).fill_(7)
    read = reader(target, b)
    torch.cuda.synchronize()
    side = Sleep(torch)
    read(side.stream)
    waited = timed(lambda: unpin(b))
    is_so("the drop does not wait", waited < 0.002 and side.busy())
    other = pin(size)
    ended = not side.busy()
    tensor(other).fill_(9)
    is_so("the memory is not handed out before the device is done", other.data != place or ended)
    side.stream.synchronize()
    is_so("so the kernel read what was there", int(target.min()) == 7 and int(target.max()) == 7)

    x, graph = torch.zeros(10, device="cuda"), torch.cuda.CUDAGraph()
    got = []

    def reuses():
        unpin(other)
        got.append(pin(size).data)

    with torch.cuda.graph(graph, capture_error_mode="global"):
        x += 1
        thread = threading.Thread(target=reuses)
        thread.start()
        thread.join()
        x += 1
    graph.replay()
    torch.cuda.synchronize()
    is_so("nobody waits for the device during a capture, which that would end", float(x[0]) == 2 and got != [other.data])


def reader(target, block):
    """Copies the block by a kernel, if CuPy is there, compiled by the time that this returns; else does nothing of the kind."""
    try:
        import cupy
        def array(at):
            return cupy.ndarray(block.bytes, cupy.uint8, cupy.cuda.MemoryPointer(cupy.cuda.UnownedMemory(at, block.bytes, None), 0))
        kernel = cupy.ElementwiseKernel("uint8 x", "uint8 y", "y = x", "pintensor_read")
        source, result = array(block.data), array(target.data_ptr())

        def read(stream):
            with cupy.cuda.ExternalStream(stream.cuda_stream):
                kernel(source, result)
        import torch
        read(torch.cuda.current_stream())
        torch.cuda.synchronize()
        target.zero_()
        return read
    except Exception as error:
        print("no kernel of CuPy's:", error)
        target.fill_(7)
        return lambda stream: None


def keeps():
    """Holds a pinned tensor to the end, for the report."""
    global held
    torch = context()
    held = torch.arange(1 << 20, dtype=torch.float32).pin_memory()  # marker: keeps


sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
globals()[sys.argv[1]]()
