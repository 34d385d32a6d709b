#!/usr/bin/env bash
# Random calls by several threads, and forks in the middle of them, at the length of a test; scripts/test --long has more.
. "$(dirname "$0")/lib.sh"
linked=(-L"$top_builddir/.libs" "-Wl,-rpath,$top_builddir/.libs" -lpintensor -pthread -ldl)
compile storm.c storm "${linked[@]}"
export PINTENSOR_REPORT=/dev/null
lockable 256 || skip 'this machine does not let a process lock 256 MiB (ulimit -l unlimited)'

storm() { # NAME ARGUMENT…
    local name=$1
    shift
    stock timeout 300 "$work/storm" "$@"
    if [[ $status == 0 ]]; then ok "$name"; else not_ok "$name" "status $status: $out $(grep -v '^pintensor: warning' <<<"$err")"; fi
}
for seed in 1 2 3; do storm "random calls, seed $seed" model "$seed" 20000; done
storm 'children among threads that pin' forks 60 4
finish
