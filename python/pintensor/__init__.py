"""What pintensor knows of this process: figures, the report, and what was pinned and not given back.

    pintensor run -- python train.py

It is ctypes alone, and asks the library that is in the process already: the preload, or the program's own. Where there
is none it does no harm: all figures are 0, the report is empty, nothing is ever lost. Any thread may call any of it.
"""

import contextlib
import ctypes
import gc
import os
import tempfile
import threading
import weakref
from collections import namedtuple

__all__ = ["PinnedLeak", "Mark", "Stats", "active", "mark", "no_leaks", "report", "stats", "trim"]

# As struct pintensor_stats in pintensor.h, all of them uint64_t.
_FIELDS = (
    "live_blocks live_bytes live_locked cached_bytes peak_bytes peak_locked locked_bytes allocated_blocks "
    "reused_blocks reclaimed_blocks misuses pageable_blocks registrations unregistrations mark_peak_bytes "
    "others_blocks others_bytes"
).split()


class _Struct(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in _FIELDS]


Stats = namedtuple("Stats", _FIELDS)
Stats.__doc__ = "Counters of this process; pintensor.h says what each is."


def _find():
    library = ctypes.CDLL(None)  # what the program was started with; nothing is loaded here
    try:
        library.pintensor_get_stats.argtypes = [ctypes.POINTER(_Struct), ctypes.c_size_t]
        library.pintensor_get_stats.restype = None
        library.pintensor_trim.argtypes = []
        library.pintensor_trim.restype = ctypes.c_size_t
        library.pintensor_report.argtypes = [ctypes.c_int]
        library.pintensor_report.restype = ctypes.c_int
        held_by = ctypes.PyDLL(None).pintensor_report_held_by  # with the GIL: it asks Python who holds what
        held_by.argtypes = [ctypes.c_int]
        held_by.restype = ctypes.c_int
        library.held_by = held_by
        library.pintensor_mark.argtypes = []
        library.pintensor_mark.restype = None
    except AttributeError:
        return None
    return library


_library = _find()


class PinnedLeak(AssertionError):
    """More pinned memory was not given back than is allowed."""


def active():
    """Whether pintensor is in this process."""
    return _library is not None


def stats():
    """The counters as of now; all 0 before the first block."""
    values = _Struct()
    if _library is not None:
        _library.pintensor_get_stats(ctypes.byref(values), ctypes.sizeof(values))
    return Stats(*(getattr(values, name) for name in _FIELDS))


def report():
    """The report as of now, as text: what is alive counts as held, and who holds it is
    looked for. Empty where nothing was ever pinned."""
    if _library is None:
        return ""
    with tempfile.TemporaryFile() as file:  # never a pipe that somebody has to read meanwhile
        if _library.held_by(file.fileno()) != 0:
            return ""
        file.seek(0, os.SEEK_SET)
        return file.read().decode("utf-8", "replace")


def trim():
    """Gives back all that is locked and not alive; returns the bytes. Waits for the device, see pintensor.h."""
    return 0 if _library is None else _library.pintensor_trim()


class Mark:
    """A starting point, and what became of it. As a context manager it stands still at the end of the block.

    What is alive is compared by number, not block by block: one that was alive at the mark and went makes up for one
    that came.
    """

    _open = weakref.WeakSet()  # the library knows the latest alone, so whoever makes one tells the others their peak
    _lock = threading.Lock()

    def __init__(self):
        self._peak = 0
        self._end = None
        with Mark._lock:
            so_far = stats().mark_peak_bytes
            for other in Mark._open:
                other._peak = max(other._peak, so_far)
            if _library is not None:
                _library.pintensor_mark()
            self._then = stats()
            Mark._open.add(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with Mark._lock:
            self._end = stats()
            Mark._open.discard(self)

    def _since(self, name):
        return getattr(self._end or stats(), name) - getattr(self._then, name)

    @property
    def blocks(self):
        """How many more blocks are alive than at the mark; below 0: fewer."""
        return self._since("live_blocks")

    @property
    def bytes(self):
        """How many more bytes are alive than at the mark; below 0: fewer."""
        return self._since("live_bytes")

    @property
    def reclaimed(self):
        """How many blocks were dropped without free() since; stock DeepSpeed never gives those back."""
        return self._since("reclaimed_blocks")

    @property
    def lost(self):
        """How many blocks were not given back: more that are alive, and those dropped without free()."""
        return max(self.blocks, 0) + self.reclaimed

    @property
    def peak(self):
        """The most bytes alive at once since. A pintensor_mark() by others than this module makes it forget."""
        with Mark._lock:
            return max(self._peak, (self._end or stats()).mark_peak_bytes)

    def __repr__(self):
        return f"<{self.blocks:+} blocks, {self.bytes:+} bytes of pinned memory since>"


def mark():
    """Remembers what is alive now: see Mark."""
    return Mark()


@contextlib.contextmanager
def no_leaks(allowed=0):
    """Raises PinnedLeak where the block leaves more than `allowed` blocks of pinned memory behind, with the report.

    with pintensor.no_leaks():
        step()
    """
    gc.collect()
    since = mark()
    with since:
        yield since
        gc.collect()
    if since.lost > allowed:
        raise PinnedLeak(_explain(since, allowed))


def _explain(since, allowed):
    return (
        f"pinned memory that was not given back: {since.blocks:+} blocks alive ({since.bytes:+} bytes), {since.reclaimed} "
        f"dropped without free(); allowed: {allowed}\n{report()}"
    )
