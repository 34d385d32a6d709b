"""Records what a job on a GPU asks of torch's own pinned memory, for replay.c.

    record.py JOB OUT       JOB: zero3, loader, save_on_cpu, random

Wants torch for CUDA and g++, and for zero3 DeepSpeed with what its ops take to be compiled; each job is done in a minute or
two. Not with pintensor preloaded: what is recorded is what the program asks of torch.

OUT gets a line that says where it comes from, then one an event, in order: "+BYTES" for a block, "-NUMBER" when block NUMBER
(the first is 0) is dropped, "~NUMBER" when a stream first uses it. What is alive at the end is dropped there. A trace that
would be too large for the repository is cut off, and says so.
"""

import ctypes
import os
import random
import subprocess
import sys
import tempfile
import threading

os.environ.setdefault("DS_SKIP_CUDA_CHECK", "1")  # DeepSpeed: its op for zero3 is C++ alone

import torch

KiB, MiB = 1 << 10, 1 << 20
MOST = 200 * 1000  # bytes of a trace
HERE = os.path.dirname(os.path.abspath(__file__))
GPU = torch.cuda.is_available()  # else the jobs can be tried on the CPU, where torch pins nothing
DEVICE = "cuda" if GPU else "cpu"


# --- the jobs -----------------------------------------------------------------------------------


def zero3():
    """Half of the model that gpu.py trains: that one's pinned memory is more than many a machine has."""
    import gpu_job
    sys.argv[1:] = ["--stage", "3", "--layers", "24", "--steps", "3"]
    gpu_job.main()


def busy(ms):
    """That much work for the GPU, about."""
    if GPU:
        torch.cuda._sleep(int(ms * 1.7e6))


class Lengths(torch.utils.data.Dataset):
    """Batches of any length, as packed sequences have."""

    def __init__(self, steps):
        self.steps = steps

    def __len__(self):
        return self.steps

    def __getitem__(self, i):
        return torch.full((random.Random(i).randint(1, 8 * MiB),), i % 256, dtype=torch.uint8)


def loader(steps=400):
    for batch in torch.utils.data.DataLoader(Lengths(steps), batch_size=None, num_workers=4, pin_memory=GPU):
        on_gpu = batch.to(DEVICE, non_blocking=True)
        busy(5)
        del batch, on_gpu
    if GPU:
        torch.cuda.synchronize()


def save_on_cpu(steps=30, width=2048, layers=16, shortest=2048, longest=12288):
    torch.manual_seed(1)
    lengths = random.Random(1)
    parts = [part for _ in range(layers) for part in (torch.nn.Linear(width, width), torch.nn.GELU())]
    model = torch.nn.Sequential(*parts).to(DEVICE)
    for _ in range(steps):
        x = torch.randn(lengths.randint(shortest, longest), width, device=DEVICE)
        with torch.autograd.graph.save_on_cpu(pin_memory=GPU):
            loss = model(x).square().mean()
        loss.backward()
        model.zero_grad()
    if GPU:
        torch.cuda.synchronize()


def random_(threads=8, turns=1000, kept=4):

    def work(number):
        draw, blocks = random.Random(number), [None] * kept
        for turn in range(turns):
            blocks[turn % kept] = torch.empty(draw.randint(4 * KiB, 4 * MiB), dtype=torch.uint8, pin_memory=GPU)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


JOBS = {"zero3": zero3, "loader": loader, "save_on_cpu": save_on_cpu, "random": random_}


# --- the recorder -------------------------------------------------------------------------------


def build(folder):
    """record.cpp, against this torch."""
    root, library = os.path.dirname(torch.__file__), os.path.join(folder, "record.so")
    subprocess.run([os.environ.get("CXX", "g++"), "-std=c++20", "-O2", "-shared", "-fPIC",
                    f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}", "-isystem", f"{root}/include",
                    "-isystem", f"{root}/include/torch/csrc/api/include", os.path.join(HERE, "record.cpp"), "-o", library,
                    f"-L{root}/lib", "-lc10", "-ltorch_cpu"], check=True)
    calls = ctypes.CDLL(library)
    calls.record_start.restype = calls.record_write.restype = ctypes.c_bool
    return calls


def fit(events):
    """As many of the events as a trace may have, what is then alive dropped; and how many those are."""
    alive, count, kept, size, ends = set(), 0, [], 0, 0
    for event in events:
        number = count if event[0] == "+" else int(event[1:])
        line, end = len(event) + 1, len(f"-{number}\n")  # ends: what it takes to drop all that is alive
        grown = {"+": end, "-": -end, "~": 0}[event[0]]
        if size + line + ends + grown > MOST:
            break
        size, ends, count = size + line, ends + grown, count + (event[0] == "+")
        {"+": alive.add, "-": alive.discard, "~": id}[event[0]](number)
        kept.append(event)
    return kept + [f"-{number}" for number in sorted(alive)], len(kept)


def main(job, out):
    if not GPU:
        sys.exit("there is no GPU")
    torch.cuda.init()
    with tempfile.TemporaryDirectory() as folder:
        calls = build(folder)
        if not calls.record_start():
            sys.exit("this torch has no allocator of pinned memory for CUDA")
        JOBS[job]()
        path = os.path.join(folder, "trace")
        if not calls.record_write(path.encode()):
            sys.exit("what was recorded cannot be written")
        with open(path) as file:
            events = file.read().split()
    lines, kept = fit(events)
    origin = f"# {job}: recorded with torch {torch.__version__} on {torch.cuda.get_device_name()}"
    if kept < len(events):
        origin += f", the first {kept} of {len(events)} events"
    with open(out, "w") as file:
        file.write("\n".join([origin, *lines]) + "\n")
    print(f"{out}: {origin[2:]}, {sum(line[0] == '+' for line in lines)} blocks", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in JOBS:
        sys.exit(__doc__)
    main(*sys.argv[1:])
