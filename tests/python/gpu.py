"""The checks of scripts/gpu-test, one a process: gpu.py CHECK. Prints "ok NAME" or "not ok NAME" and figures."""
import ctypes
import os
import sys
import threading
import time

MIB = 1 << 20
GIB = 1 << 30
libc = ctypes.CDLL(None)


class Block(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("bytes", ctypes.c_size_t), ("id", ctypes.c_uint64)]


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
        is_so(f"{size} bytes are host memory to the driver, whole", memory_type(b.data) == 1 and memory_type(b.data + size - 1) == 1)
        is_so(f"{size} bytes: torch says pinned", tensor(b).is_pinned())
    is_so("nothing is mlocked", kernel("VmLck") == 0)
    b = pin(256 * MIB)
    base = b.data
    unpin(b)
    is_so("freed, it waits registered", memory_type(base) == 1)
    b = pin(200 * MIB)
    is_so("and serves a smaller one in one registration", b.data == base and memory_type(base + 200 * MIB - 1) == 1 and memory_type(base + 200 * MIB) == 0)
    unpin(b)
    trim()
    is_so("trimmed, the driver has forgotten it", memory_type(base) == 0)
    many = [pin(1 + i * 7919 % 14000) for i in range(20000)]
    is_so("20,000 small ones are registered", all(memory_type(m.data) == 1 and memory_type(m.data + m.bytes - 1) == 1 for m in many))


def copies():
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


def capture():
    torch = context()
    x = torch.zeros(1000, device="cuda")
    graph = torch.cuda.CUDAGraph()
    made = []

    def pins():
        for i in range(20):
            b = pin((1 + i) * MIB)
            made.append(memory_type(b.data))
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
    is_so("which were made", made == [1] * 20)


def threads():
    torch = context()
    wrong = []

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


def first():
    context()
    pin(4096)
    rss = kernel("VmRSS")
    begin = time.perf_counter()
    b = pin(GIB + 4096)
    print("ms", round((time.perf_counter() - begin) * 1000, 1))
    print("rss", round((kernel("VmRSS") - rss) / (GIB + 4096), 3))
    print("huge", kernel("ShmemPmdMapped", "/proc/self/smaps_rollup") // MIB, kernel("AnonHugePages", "/proc/self/smaps_rollup") // MIB)
    unpin(b)
    trim()
    begin = time.perf_counter()
    pin(GIB + 4096)
    print("second ms", round((time.perf_counter() - begin) * 1000, 1))


def first_torch():
    torch = context()
    torch.empty(1, pin_memory=True)
    rss = kernel("VmRSS")
    begin = time.perf_counter()
    kept = torch.empty(GIB + 4096, dtype=torch.uint8, pin_memory=True)
    print("ms", round((time.perf_counter() - begin) * 1000, 1))
    print("rss", round((kernel("VmRSS") - rss) / kept.numel(), 3))


def time_fork():
    times, taken = [], []
    for _ in range(5):
        before = kernel("MemAvailable", "/proc/meminfo")
        ready, done = os.pipe(), os.pipe()
        begin = time.perf_counter()
        child = os.fork()
        if child == 0:
            os.read(done[0], 1)
            os._exit(0)
        times.append((time.perf_counter() - begin) * 1000)
        time.sleep(0.2)
        taken.append((before - kernel("MemAvailable", "/proc/meminfo")) / MIB)
        os.write(done[1], b"x")
        os.waitpid(child, 0)
        for end in ready + done:
            os.close(end)
    print("ms", round(sorted(times)[2], 2))
    print("taken", round(max(taken)))


def fork_8():
    context()
    t = tensor(pin(8 * GIB))
    t[::4096] = 1
    time_fork()


def fork_8_torch():
    torch = context()
    t = torch.empty(8 * GIB, dtype=torch.uint8, pin_memory=True)
    t[::4096] = 1
    time_fork()


def managed(t):
    libc.pintensor_is_managed.restype = ctypes.c_bool
    return libc.pintensor_is_managed(ctypes.c_void_p(t.data_ptr()), ctypes.c_size_t(t.numel() * t.element_size()))


class Numbers:
    def __len__(self):
        return 64

    def __getitem__(self, i):
        import torch
        return torch.full((1000,), float(i))


def cycles(torch, label):
    for size in (4096, MIB, 64 * MIB):
        torch.empty(size, dtype=torch.uint8, pin_memory=True)
        begin = time.perf_counter()
        for _ in range(2000):
            torch.empty(size, dtype=torch.uint8, pin_memory=True)
        print(f"a cycle of {size} bytes, {label}: {(time.perf_counter() - begin) / 2000 * 1e6:.2f} us")


def cycles_torch():
    cycles(context(), "torch")


def bridge():
    """torch's own pinned memory is served."""
    begin = time.perf_counter()
    import torch
    import torch.utils.data
    is_so("a first block before any context", managed(torch.empty(MIB, dtype=torch.uint8, pin_memory=True)))
    print(f"imported, and the first block: {(time.perf_counter() - begin) * 1000:.1f} ms")
    cycles(torch, "ours")
    begin = time.perf_counter()
    big = torch.empty(GIB + 4096, dtype=torch.uint8, pin_memory=True)
    print(f"first 1 GiB: {(time.perf_counter() - begin) * 1000:.1f} ms")
    is_so("torch.empty is ours", managed(big) and big.is_pinned())
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
    del big, again, other
    before = torch.cuda.host_memory_stats()["allocated_bytes.current"]
    torch._C._host_emptyCache()
    is_so("an empty-cache call gives back", before - torch.cuda.host_memory_stats()["allocated_bytes.current"] >= GIB)


sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
globals()[sys.argv[1]]()
