"""Every element type of torch, and every kind of example tensor: prints what comes of each, to be compared with stock's.
Under the preload, a tensor of ours that is not in memory of ours is an outcome of its own."""
import ctypes
import sys

import ops
import torch

h = ops.handle(sys.argv[1])
lib = ctypes.PyDLL(None)  # the GIL is held, so no line is guessed on a busy machine


def ours(t):
    if not ops.preloaded() or t.numel() == 0 or t.device.type != "cpu":
        return True
    lib.pintensor_is_managed.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    lib.pintensor_is_managed.restype = ctypes.c_bool
    return lib.pintensor_is_managed(t.data_ptr(), t.nbytes)


def facts(t):
    return [str(t.dtype), t.element_size(), list(t.shape), t.stride(), str(t.device), str(t.layout), t.requires_grad,
            t.untyped_storage().nbytes(), type(t).__name__, t.is_conj(), t.is_neg(),
            ours(t) or t.layout != torch.strided]  # other layouts only stock can make


def show(name, make):
    try:
        outcome = make()
    except Exception as e:
        outcome = type(e).__name__
    print(f"{name}: {outcome}", flush=True)


class Subclass(torch.Tensor):
    pass


class Wrapper(torch.Tensor):
    """A subclass with behaviour of its own and no storage."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, device=inner.device)

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        raise NotImplementedError(str(function))


def fake():
    from torch._subclasses.fake_tensor import FakeTensorMode
    with FakeTensorMode():
        return torch.empty(3)


examples = {
    "requires_grad": lambda: torch.empty(3, requires_grad=True),
    "meta": lambda: torch.empty(3, device="meta"),
    "fake": fake,
    "subclass": lambda: torch.empty(3).as_subclass(Subclass),
    "parameter": lambda: torch.nn.Parameter(torch.empty(3)),
    "wrapper": lambda: Wrapper(torch.empty(3)),
    # No sparse COO: stock makes a tensor of it that libtorch itself reads past the end of.
    "sparse csr": lambda: torch.eye(3).to_sparse_csr(),
    "mkldnn": lambda: torch.empty(3, 3).to_mkldnn(),
    "quantized": lambda: torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8),
    "per channel": lambda: torch.quantize_per_channel(torch.zeros(3), torch.ones(3), torch.zeros(3), 0, torch.quint8),
    "conjugate": lambda: torch.zeros(3, dtype=torch.complex64).conj(),
    "negative": lambda: torch.zeros(3, dtype=torch.complex64).conj().imag,
    "channels last": lambda: torch.empty(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "nested": lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
    "scalar": lambda: torch.tensor(1.0),
    "inference": lambda: torch.inference_mode()(lambda: torch.empty(3))(),
}

for name in sorted(n for n in dir(torch) if isinstance(getattr(torch, n), torch.dtype)):
    dtype = getattr(torch, name)
    for elements in (0, 1, 1000):
        show(f"{name} {elements}", lambda: facts(h.new_cpu_locked_tensor(elements, torch.empty(0, dtype=dtype))))
for name, make in examples.items():
    show(f"example {name}", lambda: facts(h.new_cpu_locked_tensor(5, make())))
    show(f"free {name}", lambda: h.free_cpu_locked_tensor(make()))
    if hasattr(h, "is_pinned"):
        show(f"is_pinned {name}", lambda: h.is_pinned(make()))
block = h.new_cpu_locked_tensor(1000, torch.empty(0, dtype=torch.float32))
for name in sorted(n for n in dir(torch) if isinstance(getattr(torch, n), torch.dtype)):
    if hasattr(h, "is_pinned"):
        show(f"view as {name}", lambda: h.is_pinned(block.view(getattr(torch, name))))
show("view as wrapper", lambda: h.free_cpu_locked_tensor(block.as_subclass(Subclass)))
