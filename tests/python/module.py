"""The wheel's module, in a process with pintensor or without."""
import ctypes

import pintensor


class Block(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("bytes", ctypes.c_size_t), ("id", ctypes.c_uint64)]


def holds(name, fact):
    print(f"{'ok' if fact else 'not ok'} - {name}")


def raises(allowed, step):
    try:
        with pintensor.no_leaks(allowed):
            step()
    except pintensor.PinnedLeak as leak:
        return str(leak)
    return ""


def without():
    holds("not active", not pintensor.active())
    holds("no figures", not any(pintensor.stats()))
    holds("no report", pintensor.report() == "")
    holds("nothing to trim", pintensor.trim() == 0)
    with pintensor.mark() as since, pintensor.no_leaks():
        pass
    holds("nothing lost", (since.blocks, since.bytes, since.lost, since.peak) == (0, 0, 0, 0))


def within():
    library = ctypes.CDLL(None)
    library.pintensor_manager_create.restype = ctypes.c_uint64
    library.pintensor_alloc.argtypes = [ctypes.c_uint64, ctypes.c_size_t, ctypes.POINTER(Block)]
    library.pintensor_free.argtypes = [ctypes.c_uint64, ctypes.c_void_p]

    holds("no report before the first block", pintensor.report() == "")
    manager = library.pintensor_manager_create()

    def alloc(size):
        block = Block()
        assert library.pintensor_alloc(manager, size, ctypes.byref(block)) == 0
        return block

    def free(block):
        assert library.pintensor_free(manager, block.data) == 0

    first = alloc(1 << 20)
    stats = pintensor.stats()
    holds("figures", (stats.live_blocks, stats.live_bytes, stats.peak_bytes) == (1, 1 << 20, 1 << 20))
    holds("a report", "HELD       1.0 MiB in 1 block" in pintensor.report() and "module.py" in pintensor.report())
    free(first)
    holds("freed memory waits", pintensor.stats().cached_bytes >= 1 << 20)
    holds("until it is trimmed", pintensor.trim() >= 1 << 20 and pintensor.stats().cached_bytes == 0)

    small, other = alloc(100), alloc(200)
    with pintensor.mark() as since:
        free(other)
        held = [alloc(3000), alloc(4000)]
        free(alloc(70000))
        holds("a mark looks on", (since.blocks, since.bytes) == (1, 6800))
        holds("its peak is its own", since.peak == 100 + 3000 + 4000 + 70000)
    for block in held:
        free(block)
    holds("and stands still at its end", (since.blocks, since.bytes, since.lost) == (1, 6800, 1))
    holds("it says so", repr(since) == "<+1 blocks, +6800 bytes of pinned memory since>")
    holds("fewer than before is nothing lost", pintensor.mark().lost == 0)

    with pintensor.mark() as outer:
        free(alloc(90000))
        with pintensor.mark() as inner:
            free(alloc(60000))
        free(alloc(80000))
    holds("marks in marks", (outer.peak, inner.peak) == (100 + 90000, 100 + 60000))

    kept = []
    text = raises(0, lambda: kept.append(alloc(5000)))
    holds("a leak is told", "+1 blocks alive (+5000 bytes), 0 dropped without free(); allowed: 0" in text)
    holds("with the report", "4.9 KiB in 1 block" in text)
    holds("what is allowed is none", raises(1, lambda: kept.append(alloc(5000))) == "")
    holds("nor is what comes and goes", raises(0, lambda: free(alloc(5000))) == "")
    try:
        with pintensor.no_leaks():
            kept.append(alloc(5000))
            raise KeyError("its own")
    except KeyError:
        holds("an error of the block's own stays", True)
    for block in kept:
        free(block)
    holds("one is left", pintensor.stats().live_blocks == 1 and small.data is not None)


if pintensor.active():
    within()
else:
    without()
