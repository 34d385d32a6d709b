"""Activations that are saved in pinned memory (torch's save_on_cpu), sequences of lengths that vary, driven by lines on stdin:
gpu_vary.py starts this with the preload or without. The same losses to the last bit from run to run: one order of sums."""

import os
import random

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # torch: without it sums may differ

import torch
from pins import DEVICE, clock, pinned_bytes, registrations, start, synchronize, torch_stats  # noqa: F401
from serve import serve
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel


class Block(nn.Module):

    def __init__(self, width):
        super().__init__()
        self.heads = width // 64
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, length, _ = x.shape
        q, k, v = (t.view(batch, length, self.heads, 64).transpose(1, 2) for t in self.qkv(self.norm1(x)).chunk(3, dim=-1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(x.shape))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


def train(layers, width, shortest, longest, count, seed):
    """The first steps of a process: the time of all, what was pinned and in use at the peak, registrations, each step's loss."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # or each block would be written first
    torch.manual_seed(seed)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(DEVICE):
        model = nn.Sequential(*(Block(width) for _ in range(layers)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    lengths = random.Random(seed)
    synchronize()
    begin, losses = clock(), []
    for _ in range(count):
        x = torch.randn(1, lengths.randint(shortest, longest), width, device=DEVICE)
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION), torch.autograd.graph.save_on_cpu(pin_memory=True):
            loss = (model(x).float() - 1).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    synchronize()
    elapsed = clock() - begin
    return [elapsed, pinned_bytes()[1], torch_stats().get("active_bytes.peak", 0), registrations(), *losses]


serve(globals())
