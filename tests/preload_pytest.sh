#!/usr/bin/env bash
# The pytest plugin: which tests it fails, and that it is not in the way without the preload.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
for candidate in "$python" "$torch_python"; do
    if [[ -n $candidate ]] && "$candidate" -c 'import pytest' 2>/dev/null; then
        with_pytest=$candidate
    fi
done
[[ -n ${with_pytest-} ]] || skip 'no Python here has pytest (pip install pytest)'
lockable 4 || skip 'this machine does not let a process lock 4 MiB (ulimit -l unlimited)'

export PYTHONPATH=$top_srcdir/python PYTHONDONTWRITEBYTECODE=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
cd "$work" || exit 99
judge() { # run|stock
    $1 "$with_pytest" -m pytest -p pintensor.pytest_plugin -p no:cacheprovider --strict-markers -rA --tb=short -c /dev/null \
        --rootdir="$pythons" "$pythons/pinned_tests.py"
}
outcomes() { sed -nE 's/^(PASSED|FAILED|ERROR) [^ ]*::(test_[^ ]*).*/\1 \2/p' <<<"$out"; }

judge run
is 'which tests pass, and which do not' "$(outcomes | sort)" 'FAILED test_both[2000000]
FAILED test_fails_and_leaks
FAILED test_leaks
FAILED test_leaks_more
FAILED test_no_size
FAILED test_over_the_limit
PASSED test_after_one_that_pinned_more
PASSED test_both[1000]
PASSED test_clean
PASSED test_leaks_unmarked
PASSED test_leaks_what_is_allowed
PASSED test_within_the_limit'
has 'a leak, in figures' "$out" '+1 blocks alive (+1000 bytes), 0 dropped without free(); allowed: 0'
has 'and where it was made' "$out" '  test_leaks'$'\n'
has 'a limit, in figures' "$out" ' bytes of pinned memory were alive at once, 65536 are allowed'
has 'a test that fails by itself says why' "$out" 'Failed: its own failure'
has 'a size that is none' "$out" "limit_pinned('64 parsecs'): a number of bytes"
lacks 'no warning' "$out" 'warnings summary'
lacks 'no word of unchecked tests' "$out" 'pintensor: not in this process'

judge stock
is 'without the preload none but those that fail by themselves' "$(outcomes | grep -v PASSED)" 'FAILED test_fails_and_leaks
FAILED test_no_size'
has 'and the summary says so' "$out" 'pinned memory of 10 tests was not checked: pintensor run -- pytest'
finish
