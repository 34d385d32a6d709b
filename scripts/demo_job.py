"""A training job as people write them: two ranks, ZeRO-3, parameters and optimizer state in files.

    deepspeed --num_gpus 2 demo_job.py --nvme-path DIR [--steps N]

It pins host memory through DeepSpeed's own pinned-tensor manager, and makes two mistakes with it,
which are marked below. Losses are the same to the last bit from run to run, and printed as such:

    rank 0 step 3 loss 0x1.8a3d70a000000p+1 step_ms 812
    rank 0 peak_locked_kib 61440

Runs with DeepSpeed 0.18.9 and 0.19.8, on the CPU.
"""

import argparse
import os
import random
import sys
import time

import deepspeed
import torch
from deepspeed.ops import op_builder
from torch import nn
from torch.nn import functional as F

WIDTH, LAYERS, HEADS, CLASSES = 512, 4, 8, 2048
BATCH, LENGTH = 2, 128
HAS_PIN_MEMORY = hasattr(op_builder, "PinMemoryBuilder")  # since 0.19.5


def open_pinned():
    """DeepSpeed's handle for page-locked tensors; before the pin_memory op, an I/O handle did it."""
    if HAS_PIN_MEMORY:
        return op_builder.PinMemoryBuilder().load().pin_handle()
    return op_builder.AsyncIOBuilder().load().aio_handle()


PINNED = open_pinned()
HISTORY = []


def collect(logits):
    """Keeps a step's logits, to be looked at later. MISTAKE: nobody ever does, or lets go of them."""
    kept = PINNED.new_cpu_locked_tensor(logits.numel(), logits)  # marker: grows
    kept.copy_(logits.flatten())
    HISTORY.append(kept)


def normalise(features):
    """Stages a batch in locked memory. MISTAKE: returns without free_cpu_locked_tensor(staged)."""
    staged = PINNED.new_cpu_locked_tensor(features.numel(), features)  # marker: drops
    staged.copy_(features.flatten())
    staged.sub_(staged.mean()).div_(staged.std())
    return staged.view(features.shape).bfloat16()


class Block(nn.Module):

    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        q, k, v = (t.view(BATCH, LENGTH, HEADS, -1).transpose(1, 2)
                   for t in self.qkv(self.norm1(x)).chunk(3, dim=-1))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(x.shape))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


def build_model():
    return nn.Sequential(*(Block() for _ in range(LAYERS)), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES))


def config(nvme_path):
    optimizer = {"device": "nvme", "nvme_path": nvme_path, "pin_memory": True, "buffer_count": 4}
    if not HAS_PIN_MEMORY:
        # Without a GPU, older releases take no buffer for a pinned one and then fail an assertion.
        optimizer = {"device": "cpu", "pin_memory": True}
    return {
        "train_micro_batch_size_per_gpu": BATCH,
        "bf16": {"enabled": True},
        "optimizer": {"type": "AdamW", "params": {"lr": 3e-4}},
        "aio": {"block_size": 1 << 20, "queue_depth": 8},
        "zero_optimization": {
            "stage": 3,
            "sub_group_size": 2_000_000,
            "offload_param": {
                "device": "nvme", "nvme_path": nvme_path, "pin_memory": True,
                "buffer_count": 10, "buffer_size": 600_000,
            },
            "offload_optimizer": optimizer,
        },
    }


def locked_kib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmLck:"))


def say(line):
    sys.stdout.write(line + "\n")  # one write: print() makes two, and the ranks share a pipe
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nvme-path", required=True, help="where parameters and optimizer state lie")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--local_rank", type=int, default=int(os.environ.get("LOCAL_RANK", 0)))
    args = parser.parse_args()

    torch.set_num_threads(1)
    random.seed(1)
    torch.manual_seed(1)
    # Let gloo do the sums: DeepSpeed's own op leaves 136 MiB in /dev/shm, which containers may lack.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed()
    rank = deepspeed.comm.get_rank()

    settings = config(args.nvme_path)
    with deepspeed.zero.Init(config_dict_or_path=settings):
        model = build_model()
    engine, *_ = deepspeed.initialize(model=model, config=settings)

    data = torch.Generator().manual_seed(100 + rank)
    classes = torch.randint(CLASSES, (BATCH, LENGTH), generator=data)
    peak = locked_kib()
    for step in range(args.steps):
        start = time.perf_counter()
        features = torch.randn(BATCH, LENGTH, WIDTH, generator=data) + classes.unsqueeze(-1) % 7
        logits = engine(normalise(features))
        loss = F.cross_entropy(logits.float().flatten(0, 1), classes.flatten())
        collect(logits.detach())
        peak = max(peak, locked_kib())
        engine.backward(loss)
        peak = max(peak, locked_kib())
        engine.step()
        peak = max(peak, locked_kib())
        elapsed = (time.perf_counter() - start) * 1000
        say(f"rank {rank} step {step} loss {loss.item().hex()} step_ms {elapsed:.0f}")
    say(f"rank {rank} peak_locked_kib {peak}")

    engine.destroy()
    deepspeed.comm.destroy_process_group()


if __name__ == "__main__":
    main()
