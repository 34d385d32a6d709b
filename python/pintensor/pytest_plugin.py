"""Tests that must not leave pinned memory behind, or pin too much of it, under `pintensor run -- pytest`:

    @pytest.mark.pinned_leaks(0)        at most that many blocks are not given back by the test
    @pytest.mark.limit_pinned("64 MiB") at most that much is alive at once while it runs, in the whole process

What fixtures pin around a test is not the test's. Without pintensor in the process nothing is checked, and the summary
says so.
"""

import gc

import pytest

import pintensor

_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "kb": 10**3, "mb": 10**6, "gb": 10**9}
_unchecked = set()
_verdicts = {}  # of tests that ran well otherwise


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "pinned_leaks(blocks=0): fails a test that leaves more blocks of pinned memory behind."
    )
    config.addinivalue_line("markers", 'limit_pinned(size): fails a test that pins more at once; bytes, or "64 MiB".')


def _bytes(size):
    if isinstance(size, int):
        return size
    digits = size.rstrip("bBkKmMgGiI ")
    unit = size[len(digits) :].strip().lower()
    try:
        return int(float(digits) * _UNITS[unit])
    except (KeyError, ValueError):
        raise pytest.UsageError(f'limit_pinned({size!r}): a number of bytes, or "64 MiB"') from None


def _argument(marker, name, default):
    return marker.args[0] if marker.args else marker.kwargs.get(name, default)


def _judge(since, allowed, most):
    if allowed is not None and since.lost > allowed:
        return pintensor._explain(since, allowed)
    if most is not None and since.peak > most:
        return f"{since.peak} bytes of pinned memory were alive at once, {most} are allowed\n{pintensor.report()}"
    return None


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    leaks, limit = item.get_closest_marker("pinned_leaks"), item.get_closest_marker("limit_pinned")
    if leaks is None and limit is None:
        yield
        return
    allowed = None if leaks is None else _argument(leaks, "blocks", 0)
    most = None if limit is None else _bytes(_argument(limit, "size", 0))
    if not pintensor.active():
        _unchecked.add(item.nodeid)
        yield
        return
    gc.collect()
    with pintensor.mark() as since:
        outcome = yield
        gc.collect()
    if outcome.excinfo is None:
        _verdicts[item.nodeid] = _judge(since, allowed, most)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if call.when == "call":
        verdict = _verdicts.pop(item.nodeid, None)
        if verdict is not None and report.passed:
            report.outcome = "failed"
            report.longrepr = verdict


def pytest_terminal_summary(terminalreporter):
    if _unchecked:
        terminalreporter.write_line(
            f"pintensor: not in this process, so pinned memory of {len(_unchecked)} tests was not checked: "
            "pintensor run -- pytest"
        )
