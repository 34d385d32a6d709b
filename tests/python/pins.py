"""Pins memory by CUDA's runtime, past pintensor, from lines of its own: pins.py RUNTIME."""
import ctypes
import sys

runtime = ctypes.CDLL(sys.argv[1], ctypes.RTLD_GLOBAL)
runtime.fake_start(1)
everybody = ctypes.PyDLL(None)  # with the GIL held; as a library that is linked with the runtime finds its functions
MIB = 1 << 20


def allocate(size):
    p = ctypes.c_void_p()
    assert everybody.cudaHostAlloc(ctypes.byref(p), ctypes.c_size_t(size), 0) == 0  # marker: allocate
    return p


def register(buffer):
    return everybody.cudaHostRegister(ctypes.byref(buffer), ctypes.c_size_t(len(buffer)), 0)  # marker: register


kept = [allocate(3 * MIB) for _ in range(2)]
buffer = (ctypes.c_char * (2 * MIB))()
print("registered", register(buffer))
print("freed", everybody.cudaFreeHost(kept.pop()))
