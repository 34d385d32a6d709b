"""numpy and torch on memory that pintensor made, through the example's capsule. argv: its folder."""
import ctypes
import gc
import os
import sys

import numpy
import torch

sys.path.insert(0, sys.argv[1])
import pinned  # noqa: E402

failed = 0


def ok(holds, name):
    global failed
    print(f"{'' if holds else 'not '}ok - {name}", flush=True)
    failed += not holds


def managed(address, size):
    return pinned.library.pintensor_is_managed(ctypes.c_void_p(address), ctypes.c_size_t(size)) & 255 == 1


def live():
    counters = (ctypes.c_uint64 * 2)()  # live_blocks and live_bytes come first
    pinned.library.pintensor_get_stats(counters, ctypes.c_size_t(ctypes.sizeof(counters)))
    return tuple(counters)


class Old(pinned.Pinned):
    """As a consumer sees it that is older than DLPack 1.0."""

    def __dlpack__(self, **asked):
        return super().__dlpack__(stream=asked.get("stream"))


a = numpy.from_dlpack(pinned.Pinned((100, 30), pinned.FLOAT64))
ok(a.shape == (100, 30) and a.dtype == numpy.float64 and a.flags.c_contiguous, "numpy: shape and type")
ok(a.flags.writeable, "numpy: it can be written to")
ok(managed(a.ctypes.data, a.nbytes) and live() == (1, 24000), "numpy: the array lies in locked memory, without a copy")
a[:] = 2
view = a[5:7].T
del a
gc.collect()
ok(live()[0] == 1 and view.sum() == 120, "numpy: a view keeps the memory")
t = torch.from_dlpack(view)
ok(t.data_ptr() == view.ctypes.data and t.shape == (30, 2), "torch takes numpy's view without a copy")
del view
gc.collect()
ok(live()[0] == 1 and t.sum() == 120, "and keeps the memory")
if (child := os.fork()) == 0:
    del t
    gc.collect()
    own = numpy.from_dlpack(pinned.Pinned((5,)))
    own[:] = 1
    fine = managed(own.ctypes.data, 20) and live()[0] == 1
    del own
    os._exit(0 if fine and live()[0] == 0 else 7)
ok(os.waitpid(child, 0)[1] == 0 and live()[0] == 1, "a forked child drops it and makes its own")
del t
gc.collect()
ok(live() == (0, 0), "with the last holder the block is gone")

b = numpy.from_dlpack(Old((7,), pinned.INT64))
ok(b.dtype == numpy.int64 and b.shape == (7,) and managed(b.ctypes.data, 56), "numpy takes the old form")
t = torch.from_dlpack(Old((3, 4), pinned.BFLOAT16))
ok(t.dtype == torch.bfloat16 and t.shape == (3, 4) and managed(t.data_ptr(), 24), "so does torch")
n = torch.from_dlpack(pinned.Pinned((0, 4), pinned.FLOAT16))
ok(n.shape == (0, 4) and live()[0] == 2, "no elements, no block")
s = numpy.from_dlpack(pinned.Pinned((), pinned.UINT8))
ok(s.shape == () and managed(s.ctypes.data, 1), "a scalar")
try:
    numpy.from_dlpack(pinned.Pinned((1 << 50,)))
    ok(False, "too much is refused")
except MemoryError as error:
    ok("cannot lock" in str(error), "too much is refused, in words")
before = live()[0]
try:
    numpy.from_dlpack(pinned.Pinned((9,), pinned.BFLOAT16))
    ok(False, "numpy has no bfloat16")
except (BufferError, RuntimeError):
    gc.collect()
    ok(live()[0] == before, "what its consumer refuses is freed")
for form in pinned.VERSIONED, pinned.UNVERSIONED:
    unused = pinned.Pinned((9,))
    unused.__dlpack__(max_version=(1, 0) if form is pinned.VERSIONED else None)
    held = live()[0]
    del unused
    ok(held == before + 1 and live()[0] == before, f"so is an unused {form[1].decode()}")
del b, t, n, s
gc.collect()
ok(live() == (0, 0), "at the end nothing is alive")
sys.exit(failed != 0)
