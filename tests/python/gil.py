"""Two threads on one I/O handle: one inside async_io without the GIL, holding the handle's lock, while it allocates; the
other holds the GIL and wants that lock. Whoever waits for the GIL in the first one never comes back."""
import os
import sys
import tempfile
import threading
import time

import torch

import ops

h = ops.aio_handle(sys.argv[1])
example = torch.empty(0)
kept = h.new_cpu_locked_tensor(1 << 15, example)
stop, loops = False, [0, 0]


def churn():
    while not stop:
        t = h.new_cpu_locked_tensor(1 << 15, example)
        h.free_cpu_locked_tensor(t)
        loops[0] += 1


with tempfile.TemporaryDirectory(dir=os.path.expanduser("~/.cache")) as folder:  # O_DIRECT: no tmpfs
    path = os.path.join(folder, "data")
    with open(path, "wb") as f:
        f.write(bytes(1 << 17))
    thread = threading.Thread(target=churn)
    thread.start()
    end = time.monotonic() + 2
    while time.monotonic() < end:
        h.async_pread(kept, path)
        h.wait()
        loops[1] += 1
    stop = True
    thread.join()
print(loops[0] > 0 and loops[1] > 0)
