#!/usr/bin/env bash
# Every kind of kernel call that the library makes fails at some of its uses, once and from then on: without and with a driver.
. "$(dirname "$0")/lib.sh"
compile fail_points.c fail_points -L"$top_builddir/.libs" "-Wl,-rpath,$top_builddir/.libs" -lpintensor -pthread -ldl
lockable 256 || skip 'this machine does not let a process lock 256 MiB (ulimit -l unlimited)'

fails() { # NAME ARGUMENT…
    local name=$1
    shift
    stock timeout 600 "$work/fail_points" "$@"
    [[ $status != 77 ]] || skip "${out#SKIP: }"
    if [[ $status == 0 ]]; then ok "$name: $(tail -n 1 <<<"$out")"; else not_ok "$name" "$out"$'\n'"$(sort -u <<<"$err" | head -n 40)"; fi
}
fails 'mlocked memory'
fails 'registered memory' cuda "$top_builddir/tests/libcuda.so.1"
finish
