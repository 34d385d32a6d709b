"""How long a block lives, event by event, seen by the kernel and by the library's counters.

lifetime.py OPS          every event; prints "ok - ..." and "not ok - ..."
lifetime.py OPS leaks    one line of code that loses blocks and one that keeps them, for the report
lifetime.py OPS limit    asks for more than may be locked"""
import ctypes
import gc
import sys

import ops
import torch

MIB = 1 << 20
failed = False
lib = ctypes.PyDLL(None)  # the GIL is held, so no line is guessed on a busy machine
lib.pintensor_is_managed.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
lib.pintensor_is_managed.restype = ctypes.c_bool


class Stats(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64)
                for name in ("live_blocks live_bytes live_locked cached_bytes peak_bytes peak_locked locked_bytes "
                             "allocated_blocks reused_blocks reclaimed_blocks misuses pageable_blocks").split()]


def stats():
    s = Stats()
    lib.pintensor_get_stats(ctypes.byref(s), ctypes.c_size_t(ctypes.sizeof(s)))
    return s


def locked():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmLck")) * 1024


def ok(name, condition):
    global failed
    failed = failed or not condition
    print(("ok - " if condition else "not ok - ") + name)


def managed(tensor):
    return lib.pintensor_is_managed(tensor.data_ptr(), tensor.nbytes)


def new(handle, elements, dtype=torch.uint8):
    return handle.new_cpu_locked_tensor(elements, torch.empty(0, dtype=dtype))


def intact(tensor, value):
    return bool((tensor == value).all())


def last_view_dropped(h):
    before = stats()
    t = new(h, MIB).fill_(7)
    ok("a tensor's block is locked", locked() == stats().locked_bytes >= MIB and managed(t))
    v = t[1000:2000].view(10, 100)
    del t
    ok("a view keeps the block", stats().live_blocks == before.live_blocks + 1 and intact(v, 7) and managed(v))
    del v
    ok("the last view's end is the block's", stats().live_blocks == before.live_blocks)
    ok("it counts as reclaimed", stats().reclaimed_blocks == before.reclaimed_blocks + 1)


def freed_while_in_use(h, free, name):
    before = stats()
    t = new(h, MIB).fill_(7)
    v = t[5:]
    ok(f"free({name}) while a view lives: true", free(t) is True)
    ok(f"free({name}): not managed from then on", not managed(t) and not managed(v))
    if hasattr(h, "is_pinned"):
        ok(f"free({name}): not pinned from then on", not h.is_pinned(t) and not h.is_pinned(v))
    others = [new(h, MIB).fill_(8) for _ in range(4)]
    ok(f"free({name}): what is read afterwards is intact", intact(t, 7) and intact(v, 7))
    ok(f"free({name}): the memory waits for the drop", stats().live_blocks == before.live_blocks + 5)
    ok(f"free({name}) again: false", free(t) is False)
    for other in others:
        h.free_cpu_locked_tensor(other)
    del t, v, other, others
    ok(f"free({name}): the memory goes back at the drop", stats().live_blocks == before.live_blocks)
    ok(f"free({name}): nothing was reclaimed", stats().reclaimed_blocks == before.reclaimed_blocks)


def wrong_frees(h):
    t = new(h, MIB).fill_(7)
    foreign = torch.zeros(100)
    before = stats()
    for _ in range(3):  # one warning a line, however often
        ok("free of a foreign tensor: false", h.free_cpu_locked_tensor(foreign) is False)
        ok("free of a tensor inside a block: false", h.free_cpu_locked_tensor(t[64:]) is False)
        if hasattr(h, "free_cpu_locked_tensor_by_ptr"):
            ok("free of an inner address: false", h.free_cpu_locked_tensor_by_ptr(t.data_ptr() + 4096) is False)
            ok("free of the address past the end: false", h.free_cpu_locked_tensor_by_ptr(t.data_ptr() + MIB) is False)
            ok("free of any number: false", h.free_cpu_locked_tensor_by_ptr(12345) is False)
    ok("nothing changed", managed(t) and intact(t, 7) and stats().live_blocks == before.live_blocks)
    ok("each is counted", stats().misuses - before.misuses == (15 if ops.is_new(sys.argv[1]) else 6))
    ok("free of the block afterwards: true", h.free_cpu_locked_tensor(t) is True)


def managers(h):
    other = ops.handle(sys.argv[1])
    t = new(other, MIB).fill_(7)
    u = new(h, MIB).fill_(8)
    if ops.is_new(sys.argv[1]):
        ok("all handles share a manager", h.free_cpu_locked_tensor(t) is True)
        return
    ok("another handle's block: false", h.free_cpu_locked_tensor(t) is False and managed(t))
    before = stats()
    del other
    ok("with the handle its blocks are released", not managed(t) and managed(u) and intact(t, 7))
    del t
    ok("and go back at the drop", stats().live_blocks == before.live_blocks - 1)
    ok("and are not reclaimed", stats().reclaimed_blocks == before.reclaimed_blocks)
    again = ops.handle(sys.argv[1])  # perhaps at the same address
    ok("a new handle knows nothing of it", again.free_cpu_locked_tensor(u) is False)


def extents(h):
    t = new(h, 1000)

    def over(begin, end):
        """A tensor on the same memory, from `begin` to `end` of the block."""
        return torch.frombuffer((ctypes.c_char * (end - begin)).from_address(t.data_ptr() + begin), dtype=torch.uint8)

    for name, begin, end, wanted in (("the block", 0, 1000, True), ("its last byte", 999, 1000, True),
                                     ("a part", 5, 700, True), ("one byte past the end", 0, 1001, False),
                                     ("the byte after", 1000, 1001, False), ("the byte before", -1, 10, False)):
        ok(f"{name} is managed: {wanted}", managed(over(begin, end)) is wanted)
        if hasattr(h, "is_pinned"):
            ok(f"{name} is pinned: {wanted}", h.is_pinned(over(begin, end)) is wanted)
    if hasattr(h, "is_pinned"):
        ok("a foreign tensor is not pinned", h.is_pinned(torch.zeros(3)) is False)
        ok("a transposed view is pinned", h.is_pinned(t.view(10, 100).t()) is True)


def empty(h):
    e = new(h, 0, torch.bfloat16)
    ok("no elements: a valid tensor", e.shape == (0, ) and e.dtype == torch.bfloat16 and e.sum() == 0)
    ok("no elements: no block", stats().live_blocks == before_empty)
    ok("no elements: free says false as stock's", h.free_cpu_locked_tensor(e) is False)


def bad_sizes(h):
    for elements in (-1, -(1 << 62), 1 << 62, 1 << 45):
        before = stats()
        try:
            new(h, elements, torch.float64)
            ok(f"{elements} elements: an error", False)
        except RuntimeError as e:
            ok(f"{elements} elements: an error", str(e).startswith("pintensor: "))
        ok(f"{elements} elements: nothing is left", stats().live_blocks == before.live_blocks)


def reuse(h):
    t = new(h, 3 * MIB)
    address = t.data_ptr()
    h.free_cpu_locked_tensor(t)
    del t
    before = stats()
    t = new(h, 3 * MIB)
    ok("freed memory is used again", t.data_ptr() == address and stats().reused_blocks == before.reused_blocks + 1)
    ok("without locking any more", stats().locked_bytes == before.locked_bytes == locked())
    h.free_cpu_locked_tensor(t)


def lose(h):
    return [new(h, 100000, torch.bfloat16) for _ in range(3)] and None


def keep(h):
    return [new(h, 50000, torch.float32) for _ in range(2)]


h = ops.handle(sys.argv[1])
what = sys.argv[2] if len(sys.argv) > 2 else ""
if what == "leaks":
    lose(h)
    kept = keep(h)
    h.free_cpu_locked_tensor(new(h, MIB))
    sys.exit(0)
if what == "limit":
    try:
        kept = [new(h, MIB) for _ in range(64)]
    except RuntimeError as e:
        print(e)
    sys.exit(0)

before_empty = stats().live_blocks
empty(h)
last_view_dropped(h)
freed_while_in_use(h, h.free_cpu_locked_tensor, "tensor")
if hasattr(h, "free_cpu_locked_tensor_by_ptr"):
    freed_while_in_use(h, lambda t: h.free_cpu_locked_tensor_by_ptr(t.data_ptr()), "address")
wrong_frees(h)
managers(h)
extents(h)
bad_sizes(h)
reuse(h)
gc.collect()
lib.pintensor_trim.restype = ctypes.c_size_t
lib.pintensor_trim()
ok("at the end nothing is alive", stats().live_blocks == 0)
sys.exit(failed)
