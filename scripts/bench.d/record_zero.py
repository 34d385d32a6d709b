"""Records what a ZeRO-3 job with offload asks of DeepSpeed's pinned-tensor manager, frees included.

    record_zero.py OUT      (in the environment of setup.sh's job_env, with SETUP_CACHE exported; takes minutes)

The job trains four models in turn, as fine-tuning sweeps and actor-critic jobs do, so that memory is given back and
asked for again in other sizes; one of them offloads to files, where unpinned tensors bounce through pinned copies.

OUT gets one line an event, in order: "+BYTES" for a block, "-NUMBER" when block NUMBER (the first is 0) is freed, by
DeepSpeed's own call or by its finalizer when the last tensor on it is gone. What lives at the end is freed there.
"""

import gc
import os
import shutil
import sys

os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="29543")

import deepspeed
import torch
from deepspeed.accelerator import get_accelerator
from deepspeed.ops.op_builder.cpu import AsyncIOBuilder, PinMemoryBuilder
from torch import nn
from torch.nn import functional as F

HEADS, LENGTH, TOKENS, STEPS = 8, 32, 4096, 3
NVME = os.path.join(os.environ["SETUP_CACHE"], "nvme")


class Recorder:
    """Puts itself between DeepSpeed's Python code and the methods of its ops that allocate."""

    def __init__(self, handle_class, io_class):
        self.events, self.live, self.bounced, self.count = [], {}, [], 0
        self.pinned = handle_class()
        allocate, free = handle_class.new_cpu_locked_tensor, handle_class.free_cpu_locked_tensor_by_ptr
        handle_class.new_cpu_locked_tensor = lambda *arguments: self.allocated(allocate(*arguments))
        handle_class.free_cpu_locked_tensor_by_ptr = lambda me, address: (self.freed(address), free(me, address))[1]
        io_allocate, io_free = io_class.new_cpu_locked_tensor, io_class.free_cpu_locked_tensor
        io_class.new_cpu_locked_tensor = lambda *arguments: self.allocated(io_allocate(*arguments))
        io_class.free_cpu_locked_tensor = lambda me, t: (self.freed(t.data_ptr()), io_free(me, t))[1]
        for name in ("async_pread", "async_pwrite", "sync_pread", "sync_pwrite"):
            setattr(io_class, name, self.bouncing(getattr(io_class, name), name.startswith("sync")))
        wait = io_class.wait
        io_class.wait = lambda me: (wait(me), self.unbounce())[0]

    def allocated(self, tensor):
        self.live[tensor.data_ptr()] = self.count
        self.add(tensor.nbytes)
        return tensor

    def add(self, size):
        self.events.append(f"+{size}")
        self.count += 1

    def freed(self, address):
        if address in self.live:
            self.events.append(f"-{self.live.pop(address)}")

    def bouncing(self, transfer, at_once):
        """The op makes a pinned copy of a tensor that is not pinned, until the transfer is done."""

        def wrapped(me, tensor, *arguments):
            if not self.pinned.is_pinned(tensor):
                self.bounced.append(self.count)
                self.add(tensor.nbytes)
            result = transfer(me, tensor, *arguments)
            if at_once:
                self.unbounce()
            return result

        return wrapped

    def unbounce(self):
        self.events += [f"-{number}" for number in self.bounced]
        self.bounced.clear()


class Block(nn.Module):

    def __init__(self, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        q, k, v = (t.view(1, LENGTH, HEADS, -1).transpose(1, 2) for t in self.qkv(self.norm1(x)).chunk(3, dim=-1))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(x.shape))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


def train(width, layers, offload):
    settings = {
        "train_micro_batch_size_per_gpu": 1,
        "bf16": {"enabled": True},
        "optimizer": {"type": "AdamW", "params": {"lr": 3e-4}},
        "zero_optimization": {
            "stage": 3,
            "sub_group_size": 20_000_000,
            "offload_param": {**offload, "buffer_count": 8, "buffer_size": 12 * width * width},
            "offload_optimizer": {**offload, "buffer_count": 4},
        },
    }
    with deepspeed.zero.Init(config_dict_or_path=settings):
        model = nn.Sequential(nn.Embedding(TOKENS, width), *(Block(width) for _ in range(layers)),
                              nn.LayerNorm(width), nn.Linear(width, TOKENS))
    engine, *_ = deepspeed.initialize(model=model, config=settings)
    tokens = torch.randint(TOKENS, (1, LENGTH))
    for _ in range(STEPS):
        loss = F.cross_entropy(engine(tokens).float().flatten(0, 1), tokens.flatten())
        engine.backward(loss)
        engine.step()
    engine.destroy()
    for parameter in model.parameters():  # destroy() leaves the parameters' own memory pinned
        get_accelerator().unpin_memory(parameter.ds_tensor)


def main(out):
    recorder = Recorder(PinMemoryBuilder().load().pin_handle, AsyncIOBuilder().load().aio_handle)
    deepspeed.init_distributed()
    cpu = {"device": "cpu", "pin_memory": True}
    nvme = {"device": "nvme", "nvme_path": NVME, "pin_memory": True}
    for width, layers, offload in ((1024, 10, cpu), (768, 12, nvme), (1024, 10, cpu), (640, 16, cpu)):
        train(width, layers, offload)
        gc.collect()
        print(f"{width} x {layers}: {recorder.count} blocks so far, {len(recorder.live)} alive", flush=True)
    recorder.events += [f"-{number}" for number in sorted(recorder.live.values())]
    with open(out, "w") as file:
        file.write("\n".join(recorder.events) + "\n")
    shutil.rmtree(NVME, ignore_errors=True)
    os._exit(0)  # what follows is not part of the trace


main(sys.argv[1])
