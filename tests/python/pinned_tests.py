"""Tests for the pytest plugin to judge; preload_pytest.sh knows which of them are to fail."""
import ctypes

import pytest


class Block(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("bytes", ctypes.c_size_t), ("id", ctypes.c_uint64)]


library = ctypes.PyDLL(None)  # the GIL is held, so no line is guessed on a busy machine
kept = []


def pin(size, keep=False):
    """Does nothing where there is no pintensor."""
    if not hasattr(library, "pintensor_alloc"):
        return None
    library.pintensor_manager_create.restype = ctypes.c_uint64
    library.pintensor_free.argtypes = [ctypes.c_uint64, ctypes.c_void_p]
    manager, block = ctypes.c_uint64(library.pintensor_manager_create()), Block()
    assert library.pintensor_alloc(manager, ctypes.c_size_t(size), ctypes.byref(block)) == 0
    if keep:
        kept.append((manager, block))
    else:
        assert library.pintensor_free(manager, block.data) == 0


@pytest.fixture
def pinned_around():
    pin(100, keep=True)


@pytest.mark.pinned_leaks(0)
def test_clean(pinned_around):
    pin(1000)


@pytest.mark.pinned_leaks
def test_leaks():
    pin(1000, keep=True)


@pytest.mark.pinned_leaks(1)
def test_leaks_what_is_allowed():
    pin(1000, keep=True)


@pytest.mark.pinned_leaks(blocks=1)
def test_leaks_more():
    pin(1000, keep=True)
    pin(1000, keep=True)


def test_leaks_unmarked():
    pin(1000, keep=True)


@pytest.mark.pinned_leaks(0)
def test_fails_and_leaks():
    pin(1000, keep=True)
    pytest.fail("its own failure")


@pytest.mark.pinned_leaks(0)
@pytest.mark.skip(reason="not today")
def test_skipped():
    pin(1000, keep=True)


@pytest.mark.limit_pinned("64 KiB")
def test_within_the_limit():
    pin(40000)
    pin(40000)


@pytest.mark.limit_pinned(65536)
def test_over_the_limit():
    pin(100000)


@pytest.mark.limit_pinned("64 KiB")
def test_after_one_that_pinned_more():
    pin(40000)


@pytest.mark.pinned_leaks(0)
@pytest.mark.limit_pinned("1 MiB")
@pytest.mark.parametrize("size", [1000, 2000000])
def test_both(size):
    pin(size)


@pytest.mark.limit_pinned("64 parsecs")
def test_no_size():
    pass
