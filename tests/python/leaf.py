"""Pins memory from many lines, always without the GIL, and keeps some of it: leaf.py HOW SIZE [PROBE]. Prints how many
blocks each line keeps; the report has to say the same. PROBE: tests/programs/frames.c."""
import collections
import ctypes
import os
import struct
import sys
import threading
import time
import weakref


class Block(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("bytes", ctypes.c_size_t), ("id", ctypes.c_uint64)]


lib = ctypes.CDLL(None)  # gives the GIL up around each call
lib.pintensor_manager_create.restype = ctypes.c_uint64
lib.pintensor_alloc.argtypes = [ctypes.c_uint64, ctypes.c_size_t, ctypes.POINTER(Block)]
lib.pintensor_free.argtypes = [ctypes.c_uint64, ctypes.c_void_p]
kept = collections.Counter()
manager = None
keeping = True
size = int(sys.argv[2])


def pin(keep):
    block = Block()
    if lib.pintensor_alloc(manager, size, ctypes.byref(block)) != 0:
        raise MemoryError
    if keep and keeping:
        kept[sys._getframe(1).f_lineno] += 1
    else:
        lib.pintensor_free(manager, block.data)


def lines():
    for i in range(80):
        for _ in range(20):
            pin(False)
        pin(True)
        pin(False)
        pin(i % 2 == 0)
        for _ in range(3):
            pin(i % 4 == 0)
        pin(i == 79); pin(i % 2 == 1); pin(False)


def generate():
    for i in range(10):
        pin(i % 3 == 0)
        yield i
        pin(i % 3 == 1)


def recurse(depth):
    if depth == 0:
        pin(True)
        pin(False)
    elif depth % 2 == 0:
        recurse(depth - 1)
    else:
        recurse(depth - 1)


class Key:
    def __init__(self, value):
        self.value = value

    def __lt__(self, other):  # called from C
        pin(self.value == 3)
        return self.value < other.value


async def wait():
    pin(True)


def drive(coroutine):
    try:
        coroutine.send(None)
    except StopIteration:
        pass


def features():
    for _ in generate():
        pin(False)
    for depth in 0, 1, 10, 47, 48, 49, 60, 200, 60:
        recurse(depth)
    sorted(Key(i) for i in range(5))
    drive(wait())
    [pin(i == 2) for i in range(4)]


def freed_code():
    """Code that is freed again, so that other code takes its address."""
    for i in range(200):
        keep = i % 20 == 0
        exec(compile("\n" * (1000 + i % 9) + f"pin({keep}); pin(False)", "leaf.py", "exec"), {"pin": pin})


def keep_gil():
    """From now on: every line is told at once, however busy the machine is."""
    global lib
    lib = ctypes.PyDLL(None)
    lib.pintensor_alloc.argtypes = [ctypes.c_uint64, ctypes.c_size_t, ctypes.POINTER(Block)]
    lib.pintensor_free.argtypes = [ctypes.c_uint64, ctypes.c_void_p]


def compiled():
    """A program that compiles each of its requests: equal ones are one place, and none is kept."""
    keep_gil()
    ends = []
    for i in range(400):
        code = compile(f"pin({i % 100 == 0})\n" + "T = %r" % ("x" * 100000), "leaf.py", "exec")
        ends.append(weakref.ref(code))
        exec(code, {"pin": pin})
        del code
    left = sum(end() is not None for end in ends)
    if left > 0:
        sys.exit(f"{left} of {len(ends)} code objects are kept")


def many_compiled():
    """More places than are told apart, in files of different names: the nearest line counts for those beyond."""
    keep_gil()
    for i in range(20000):
        exec(compile("pin(True)", f"request {i}.py", "exec"), {"pin": pin})


def sandboxed():
    """A program that may no longer open files or read memory by way of the kernel, and is killed if it tries."""
    def statement(code, k, if_true=0, if_false=0):
        return struct.pack("HBBI", code, if_true, if_false, k)
    forbidden = 2, 41, 101, 257, 310, 311, 437  # open, socket, ptrace, openat, process_vm_readv and _writev, openat2
    filter_ = statement(0x20, 0)
    for number in forbidden:
        filter_ += statement(0x15, number, 0, 1) + statement(6, 0x80000000)
    filter_ += statement(6, 0x7FFF0000)
    code = ctypes.create_string_buffer(filter_)
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(filter_) // 8, ctypes.addressof(code)))
    for inside in False, True:  # nor is a thread started inside, which would ask for new lines
        if inside and (lib.prctl(38, 1, 0, 0, 0) != 0 or lib.prctl(22, 2, program, 0, 0) != 0):
            sys.exit("no filter can be installed")
        met(lines, features)


def traced():
    def trace(frame, event, argument):
        return trace
    sys.settrace(trace)
    met(features, lines)
    sys.settrace(None)


def threads():
    def together():
        all_of_them = [threading.Thread(target=work) for work in (lines, features, lines, features)]
        for thread in all_of_them:
            thread.start()
        for thread in all_of_them:
            thread.join()
    met(together)


def met(*work):
    """Runs it until each of its stacks has been told, however busy the machine is: a question takes 20 ms at most. Then
    once more."""
    global keeping
    keeping = False
    for _ in range(5):
        for one in work:
            one()
        time.sleep(0.11)
    keeping = True
    for one in work:
        one()


def contended():
    stop = False

    def spin():
        while not stop:
            pass
    thread = threading.Thread(target=spin)
    thread.start()
    met(lines)
    stop = True
    thread.join()


def looked_at():
    """Another thread makes objects of this one's frames all the while."""
    stop = False

    def look():
        while not stop:
            frame = sys._current_frames()[main]
            while frame is not None:
                frame = frame.f_back
    main = threading.get_ident()
    thread = threading.Thread(target=look)
    thread.start()
    met(features, lines)
    stop = True
    thread.join()


def greenlets():
    import greenlet

    def one():
        for i in range(20):
            pin(i % 5 == 0)
            two_.switch()

    def two():
        for i in range(20):
            pin(i % 4 == 0)
            recurse(3)
            one_.switch()
    def both():
        nonlocal one_, two_
        one_, two_ = greenlet.greenlet(one), greenlet.greenlet(two)
        one_.switch()
    one_ = two_ = None
    met(both)


def gil_kept():
    """Nobody can be asked: stacks that are known are told all the same, and nobody waits long."""
    probe, keeper = ctypes.CDLL(sys.argv[3]), ctypes.PyDLL(sys.argv[3])
    probe.probe_alloc.argtypes = [ctypes.c_uint64, ctypes.c_size_t, ctypes.c_uint, ctypes.c_void_p]
    probe.probe_alloc.restype = ctypes.c_double
    probe.probe_keep.argtypes = keeper.probe_keep.argtypes = [ctypes.c_uint]
    call = ctypes.cast(lib.pintensor_alloc, ctypes.c_void_p)

    def keep_gil(keep):
        time.sleep(0.1)  # until the other one waits for us, without the GIL
        (keeper if keep else probe).probe_keep(2000 if keep else 300)

    def alloc(keep):
        thread = threading.Thread(target=keep_gil, args=(keep, ))
        thread.start()
        ms = probe.probe_alloc(manager, size, 10, call)
        if not 0 <= ms < 1000:
            sys.exit(f"10 blocks took {ms} ms while another thread kept the GIL")
        thread.join()
    for i in range(2):
        alloc(i == 1)
    print(f"leaf.py:{sys._getframe().f_lineno - 1}")
    alloc(True)  # this one not


def child():
    met(lambda: None)
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        begin()
        met(lines)
        tell()
        sys.exit()
    os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def begin():
    global manager
    manager = lib.pintensor_manager_create()


def tell():
    for line, count in sorted(kept.items()):
        print(line, count)


if __name__ == "__main__":
    begin()
    work = globals()[sys.argv[1]]
    met(work) if work in (lines, features) else work()
    tell()
