"""numpy arrays on locked memory, by ctypes and DLPack alone: pintensor run -- python pinned.py

torch.from_dlpack() and jax.dlpack.from_dlpack() take the same object; where the memory is registered with a GPU, what
copies from such an array to the GPU, CuPy for one, does so without a detour."""
import ctypes
import math
import sys

import numpy

UINT8, INT64, FLOAT16, FLOAT32, FLOAT64, BFLOAT16 = 0, 4, 5, 6, 7, 15

library = ctypes.CDLL(None)  # what is preloaded: started Pythons have no room left for its thread-local memory
if not hasattr(library, "pintensor_version"):
    sys.exit("try: pintensor run -- python pinned.py")
library.pintensor_last_error.restype = ctypes.c_char_p

new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype = ctypes.py_object
new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
still_named = ctypes.pythonapi.PyCapsule_IsValid
still_named.argtypes = [ctypes.py_object, ctypes.c_char_p]

# The two forms: the call, the capsule's name (it keeps the address of these bytes), and where the structure's deleter is.
VERSIONED = library.pintensor_dlpack_alloc_versioned, b"dltensor_versioned", 16
UNVERSIONED = library.pintensor_dlpack_alloc, b"dltensor", 56


class Pinned:
    """Locked memory for one consumer, which frees it when its array is gone."""

    def __init__(self, shape, scalar_type=FLOAT32):
        self.shape, self.scalar_type, self.handed_out = shape, scalar_type, []

    def __dlpack_device__(self):
        return 1, 0  # the CPU

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        alloc, name, deleter = VERSIONED if max_version is not None and max_version[0] >= 1 else UNVERSIONED
        shape = (ctypes.c_int64 * len(self.shape))(*self.shape)
        made = ctypes.c_void_p()
        if alloc(len(self.shape), shape, self.scalar_type, ctypes.byref(made)) != 0:
            raise MemoryError(library.pintensor_last_error().decode())
        capsule = new_capsule(made, name, None)
        self.handed_out.append((capsule, name, made.value, deleter))
        return capsule

    def __del__(self):
        for capsule, name, made, deleter in self.handed_out:
            if still_named(capsule, name):  # who takes a capsule over renames it; this one nobody took
                ctypes.CFUNCTYPE(None, ctypes.c_void_p)(ctypes.c_void_p.from_address(made + deleter).value)(made)


if __name__ == "__main__":
    array = numpy.from_dlpack(Pinned((1000, 300)))
    array[:] = 0.5
    part = array[10:20]  # a view keeps the memory
    del array
    print(part.shape, part.dtype, part.sum(), math.isclose(part.sum(), 1500))
