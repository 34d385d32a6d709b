"""What torch does with such tensors: prints each outcome, a value or an exception, to be compared with stock's."""
import copy
import io
import os
import pickle
import re
import sys

import ops
import torch
import torch.multiprocessing as mp

h = ops.handle(sys.argv[1])


def new(elements=100, dtype=torch.float32):
    t = h.new_cpu_locked_tensor(elements, torch.empty(0, dtype=dtype))
    return t.copy_(torch.arange(elements))


def pinned(t):
    return h.is_pinned(t) if hasattr(h, "is_pinned") else None


def facts(t):
    return [t.tolist()[:5], list(t.shape), t.stride(), str(t.dtype), str(t.device), str(t.layout), t.requires_grad,
            t.is_leaf, t.is_contiguous(), t.is_shared(), t.is_inference(), t.storage_offset(),
            t.untyped_storage().nbytes(), t.untyped_storage().resizable(), t.is_pinned(), pinned(t)]


def attributes():
    t = new()
    return facts(t), facts(t[10:20]), facts(t.view(10, 10).t()), t.data_ptr() % 64


def page_alignment():
    return [new(n).data_ptr() % 4096 for n in (1024, 5000, 65536, 1000001)]


def set_to_pinned():
    a, b = new(), new()
    a.set_(b)
    b[0] = 77
    return facts(a), a.data_ptr() == b.data_ptr(), h.free_cpu_locked_tensor(b), pinned(a)


def set_to_plain():
    a, b = new(), torch.ones(7)
    a.set_(b)
    return facts(a), h.free_cpu_locked_tensor(a)


def plain_set_to_pinned():
    a, b = torch.ones(7), new()
    a.set_(b)
    del b
    return facts(a), h.free_cpu_locked_tensor(a)


def set_to_part():
    a = new()
    a.set_(a.untyped_storage(), 10, (5, ), (2, ))
    return facts(a)


def data_rebound():
    a, b = new(), torch.ones(7)
    old = a.data
    a.data = b
    return facts(a), facts(old), h.free_cpu_locked_tensor(a), h.free_cpu_locked_tensor(old)


def data_rebound_to_pinned():
    a, b = torch.nn.Parameter(torch.ones(7)), new()
    a.data = b
    (a * 2).sum().backward()
    return facts(a), a.grad.tolist()[:3], h.free_cpu_locked_tensor(a)


def resized_down():
    return facts(new().resize_(10))


def resized_up():
    return facts(new().resize_(1000))


def view_resized():
    return facts(new()[:10].resize_(50))


def storage_resized():
    return new().untyped_storage().resize_(0)


def shared():
    a = new()
    free = a.data_ptr()
    a.share_memory_()
    return facts(a), a.data_ptr() == free, h.free_cpu_locked_tensor(a)


def work(got, put):
    t = got.get()
    t.add_(1)
    put.put((t.tolist()[:5], t.is_shared()))


def pickled_to_a_worker():
    context = mp.get_context("fork")
    there, back = context.Queue(), context.Queue()
    child = context.Process(target=work, args=(there, back))
    child.start()
    a = new()
    there.put(a)
    answer = back.get()
    child.join()
    return answer, facts(a), child.exitcode


def read_by_a_child(a):
    a.add_(1)
    h.free_cpu_locked_tensor(a)


def inherited_by_a_worker():
    a = new()
    child = mp.get_context("fork").Process(target=read_by_a_child, args=(a, ))
    child.start()
    child.join()
    return facts(a), child.exitcode, h.free_cpu_locked_tensor(a)


def pickled():
    return facts(pickle.loads(pickle.dumps(new())))


def saved():
    f = io.BytesIO()
    torch.save(new(), f)
    f.seek(0)
    return facts(torch.load(f))


def copied():
    return facts(copy.deepcopy(new())), facts(new().clone()), facts(new().to(torch.float64))


def under_inference_mode():
    with torch.inference_mode():
        a = new()
        b = a[5:10].add_(1)
        said = facts(a), facts(b), h.free_cpu_locked_tensor(a)
        del a
        # Stock has freed the memory under b by now, and reads what is there.
        return said, b.tolist() if "LD_PRELOAD" in os.environ else [6.0, 7.0, 8.0, 9.0, 10.0]


def inference_tensor_outside():
    with torch.inference_mode():
        a = new()
    return a.requires_grad_(), a.add_(1)


def differentiated():
    a = new().requires_grad_()
    (a * a).sum().backward()
    return a.grad.tolist()[:5], facts(a)


def optimized():
    p = torch.nn.Parameter(new())
    p.grad = new()
    torch.optim.SGD([p], lr=0.5).step()
    return p.tolist()[:5], facts(p)


def as_numpy():
    a = new()
    n = a.numpy()
    n[0] = 5
    first = a[0].item()
    del a
    torch.ones(1000)
    return first, n.tolist()[:5]


def through_dlpack():
    a = new()
    b = torch.from_dlpack(a)
    b[0] = 5
    said = a[0].item(), a.data_ptr() == b.data_ptr()
    del a
    return said, facts(b)


def freed_by_a_view():
    a = new()
    return h.free_cpu_locked_tensor(a[:10]), pinned(a), h.free_cpu_locked_tensor(a)


def deleted_attribute_cycle():
    a = new()
    a.itself = a
    b = a[3:]
    del a
    import gc
    gc.collect()
    return b.tolist()[:3]


def wrong_arguments():
    for call in (lambda: h.new_cpu_locked_tensor(1.5, torch.ones(1)), lambda: h.new_cpu_locked_tensor(1, None),
                 lambda: h.free_cpu_locked_tensor(None), lambda: h.new_cpu_locked_tensor(2**70, torch.ones(1))):
        try:
            yield call()
        except Exception as e:
            yield type(e).__name__


def first_line(text):
    return re.sub(r"0x[0-9a-f]+|\d{6,}", "N", text.splitlines()[0]) if text else ""


for feature in (attributes, page_alignment, set_to_pinned, set_to_plain, plain_set_to_pinned, set_to_part, data_rebound,
                data_rebound_to_pinned, resized_down, resized_up, view_resized, storage_resized, shared,
                pickled_to_a_worker, inherited_by_a_worker, pickled, saved, copied, under_inference_mode,
                inference_tensor_outside, differentiated, optimized, as_numpy, through_dlpack, freed_by_a_view,
                deleted_attribute_cycle, lambda: list(wrong_arguments())):
    try:
        outcome = repr(feature())
    except Exception as e:
        outcome = f"{type(e).__name__}: {first_line(str(e))}"
    print(f"{feature.__name__}: {outcome}", flush=True)
