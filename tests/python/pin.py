"""Pins memory through the preload's C interface, no torch needed, and ends as it is told: pin.py HOW."""
import atexit
import ctypes
import os
import sys
import time


class Block(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("bytes", ctypes.c_size_t), ("id", ctypes.c_uint64)]


lib = ctypes.PyDLL(None)  # the GIL is held, so no line is guessed on a busy machine
lib.pintensor_manager_create.restype = ctypes.c_uint64
lib.pintensor_alloc.argtypes = [ctypes.c_uint64, ctypes.c_size_t, ctypes.POINTER(Block)]
lib.pintensor_free.argtypes = [ctypes.c_uint64, ctypes.c_void_p]
lib.pintensor_last_error.restype = ctypes.c_char_p
manager = None


def pin(size):
    global manager
    manager = manager or lib.pintensor_manager_create()
    block = Block()
    if lib.pintensor_alloc(manager, size, ctypes.byref(block)) != 0:
        raise MemoryError(lib.pintensor_last_error().decode())
    return block


def locked():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmLck")) * 1024


def forked(work):
    """What becomes of a child that does `work`."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        work()
        sys.exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def children():
    import multiprocessing
    import subprocess
    forked(lambda: None)
    forked(lambda: os._exit(3))
    subprocess.run([sys.executable, "-c", "print('subprocess')"], check=True)
    for method in "fork", "spawn":
        with multiprocessing.get_context(method).Pool(2) as pool:
            pool.map(abs, range(10))


def grow(steps, pause):
    """Keeps a block a step until Python exits, then frees them all: late, for who counted what was alive at the end."""
    kept = []
    atexit.register(lambda: [lib.pintensor_free(manager, block.data) for block in kept])
    for _ in range(steps):
        brief = pin(1 << 16)
        lib.pintensor_free(manager, brief.data)
        kept.append(pin(1 << 20))  # marker: grows
        time.sleep(pause)


def main(how):
    print("started", flush=True)
    if how == "never":
        return
    if how == "grow":
        return grow(12, 0.03)
    if how == "grow, then rest":
        grow(40, 0.03)
        return time.sleep(0.5)
    if how == "start, then rest":
        grow(16, 0.001)
        return time.sleep(0.5)
    block = pin(1 << 20)
    sys.modules["kept"] = block
    if how == "limit":
        while True:
            pin(100000)
            pin(1 << 20)
    elif how == "start":
        sys.modules["buffers"] = [pin(256 << 20) for _ in range(6)]
    elif how == "free":
        lib.pintensor_free(manager, block.data)
    elif how == "misuse":
        lib.pintensor_free(manager, block.data + 64)
    elif how == "sys.exit":
        sys.exit(3)
    elif how == "exception":
        raise ValueError("uncaught")
    elif how == "os._exit":
        os._exit(3)
    elif how == "SystemExit in a thread":
        import threading
        threading.Thread(target=sys.exit, args=(3, )).start()
    elif how == "os.abort":
        os.abort()
    elif how == "children":
        children()
    elif how == "a child that pins":
        print(forked(lambda: pin(2 << 20)))
    elif how != "return":
        sys.exit(f"unknown: {how}")


if __name__ == "__main__":
    main(sys.argv[1])
