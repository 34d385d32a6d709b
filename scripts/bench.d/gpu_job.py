"""A training job whose parameters and optimizer state do not fit the GPU: DeepSpeed's ZeRO with offload to pinned memory, one
process, without DeepSpeed's launcher. gpu.py starts it with the preload and without.

    gpu_job.py --stage 2|3 [--layers N] [--width N] [--vocabulary N] [--steps N]

Its last line is "result " and JSON: times in seconds, sizes in bytes, losses as hexadecimal floats. The same losses to the
last bit from run to run: one order of sums (the attention is written out), the same seeds.
"""

import argparse
import json
import os
import socket
import time

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # torch: without it sums may differ

import deepspeed
import torch
from pins import GPU, PRELOADED, Stats, pinned_bytes, pintensor, torch_stats
from serve import proc_bytes
from torch import nn
from torch.nn import functional as F

LENGTH = 256


class Attention(nn.Module):

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.register_buffer("future", torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1), persistent=False)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = (t.view(batch, length, self.heads, -1).transpose(1, 2) for t in self.qkv(x).chunk(3, dim=-1))
        scores = (q @ k.transpose(2, 3)) * (width // self.heads) ** -0.5
        weights = scores.masked_fill(self.future, float("-inf")).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).reshape(x.shape))


class Block(nn.Module):

    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Model(nn.Module):

    def __init__(self, layers, width, vocabulary):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(LENGTH, width)
        self.blocks = nn.ModuleList(Block(width, max(width // 64, 1)) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits[:, :-1].float().flatten(0, 1), tokens[:, 1:].flatten())


def config(stage):
    zero = {"stage": stage, "offload_optimizer": {"device": "cpu", "pin_memory": True}}
    if stage == 3:
        zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    return {
        "train_micro_batch_size_per_gpu": 1,
        "bf16": {"enabled": True},
        "optimizer": {"type": "AdamW", "params": {"lr": 1e-4}},
        "zero_optimization": zero,
    }


def join():
    """A world of one."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    deepspeed.init_distributed("nccl" if GPU else "gloo")


def build(arguments, settings):
    """Straight to bf16 on the GPU: drawing 1.6B random numbers on the CPU would take longer than all the rest."""
    on_gpu = torch.device("cuda" if GPU else "cpu")
    torch.set_default_dtype(torch.bfloat16)
    try:
        with deepspeed.zero.Init(config_dict_or_path=settings) if arguments.stage == 3 else on_gpu:
            return Model(arguments.layers, arguments.width, arguments.vocabulary)
    finally:
        torch.set_default_dtype(torch.float32)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--stage", type=int, choices=(2, 3), required=True)
    parser.add_argument("--layers", type=int, default=48)
    parser.add_argument("--width", type=int, default=1600)
    parser.add_argument("--vocabulary", type=int, default=50257)
    parser.add_argument("--steps", type=int, default=4)
    arguments = parser.parse_args()

    torch.manual_seed(1)
    join()
    settings = config(arguments.stage)
    begin = time.perf_counter()
    model = build(arguments, settings)
    built = time.perf_counter()
    engine, *_ = deepspeed.initialize(model=model, model_parameters=model.parameters(), config=settings)
    if GPU:
        torch.cuda.synchronize()
    ready = time.perf_counter()
    print(f"model {built - begin:.2f} s, deepspeed.initialize {ready - built:.2f} s", flush=True)

    tokens = torch.randint(arguments.vocabulary, (arguments.steps, 1, LENGTH), generator=torch.Generator().manual_seed(2))
    losses, steps, locked = [], [], pintensor().locked_bytes
    for step, batch in enumerate(tokens):
        start = time.perf_counter()
        loss = engine(batch.to(engine.device))
        engine.backward(loss)
        engine.step()
        losses.append(loss.item().hex())
        if GPU:
            torch.cuda.synchronize()
        steps.append(time.perf_counter() - start)
        locked = max(locked, pintensor().locked_bytes)
        print(f"step {step} {steps[-1]:.3f} s, loss {losses[-1]}", flush=True)

    stats, ours = torch_stats(), pintensor()
    print("result " + json.dumps({
        "model": built - begin, "initialize": ready - built, "steps": steps, "losses": losses,
        "pinned": max(pinned_bytes()[1], locked),
        "active": stats.get("active_bytes.peak", 0), "allocations": stats.get("active_requests.allocated", 0),
        "rss": proc_bytes("/proc/self/status", "VmHWM:"),
        "ours": {name: getattr(ours, name) for name, _ in Stats._fields_}, "preloaded": PRELOADED,
    }), flush=True)
    engine.destroy()
    deepspeed.comm.destroy_process_group()


if __name__ == "__main__":
    main()
