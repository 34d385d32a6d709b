"""Stands for the user's script in the documents' commands: pins 1 MiB through the C interface, and keeps it."""
import ctypes


class Block(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("bytes", ctypes.c_size_t), ("id", ctypes.c_uint64)]


calls = ctypes.PyDLL(None)  # the GIL is held, so no line is guessed on a busy machine
calls.pintensor_manager_create.restype = ctypes.c_uint64
calls.pintensor_alloc.argtypes = [ctypes.c_uint64, ctypes.c_size_t, ctypes.POINTER(Block)]
block = Block()
if calls.pintensor_alloc(calls.pintensor_manager_create(), 1 << 20, ctypes.byref(block)) != 0:
    raise SystemExit("nothing could be pinned")
