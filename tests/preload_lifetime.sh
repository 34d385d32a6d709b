#!/usr/bin/env bash
# How long DeepSpeed's pinned tensors live, and what torch can do with them: event by event, with its own compiled ops.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
need_torch

line() { grep -n -- "$1" "$pythons/lifetime.py" | head -n 1 | cut -d: -f1; }

tests_of() { # VERSION OPS
    local version=$1 ops=$2
    run "$torch_python" "$pythons/lifetime.py" "$ops"
    echo "${out//ok - /ok - $version: }"
    is "$version: every event passes" "$status" 0
    has "$version: to the last one" "$out" 'ok - at the end nothing is alive'
    # Twice freed tensor and address; in wrong_frees each line once, though it runs three times.
    is "$version: one warning a place" "$(grep -c '^pintensor: warning: free(' <<<"$err")" \
        "$(grep '^pintensor: warning: free(' <<<"$err" | sed 's/0x[0-9a-f]*//g' | sort -u | wc -l)"
    has "$version: a warning names both places" \
        "$(grep 'warning: free(.*points into a block' <<<"$err")" 'lifetime.py:'
    is "$version: one report" "$(reports_in "$err")" 1

    run "$torch_python" "$pythons/lifetime.py" "$ops" leaks
    local said
    said=$(normalise "$err")
    has "$version: the lost blocks, with the user's lines" "$said" \
        '  RECLAIMED  585.9 KiB in 3 blocks (588.0 KiB locked), dropped without free(): stock DeepSpeed never gives these back
                 bfloat16[100000] from DeepSpeed'"'s manager, thread N, last one made N s ago
                 lifetime.py:$(line 'return handle.new_cpu_locked_tensor')  new
                 lifetime.py:$(line 'new(h, 100000')"
    has "$version: the held blocks" "$said" \
        '  HELD       390.6 KiB in 2 blocks (392.0 KiB locked) from 1 site, alive when exit began: given back now
             390.6 KiB in 2 blocks (392.0 KiB locked), float32[50000] from DeepSpeed'"'s manager, thread N, oldest N s"
    has "$version: the first line" "$said" 'pintensor: lost 585.9 KiB dropped without free(); 390.6 KiB more held at exit; on HOST, lifetime.py (pid N), ran N s; peak '
    is "$version: nothing else" "$(grep -c '^pintensor\|^  [A-Z]' <<<"$said")" 4
    run env PINTENSOR_EXITCODE=42 PINTENSOR_FAIL_ON=reclaimed "$torch_python" "$pythons/lifetime.py" "$ops" leaks
    is "$version: EXITCODE for reclaimed" "$status" 42

    capture limited 2097152:2097152 env LD_PRELOAD="$preload" "$torch_python" "$pythons/lifetime.py" "$ops" limit
    is "$version: beyond the limit: an exception, no crash" "$status" 0
    has "$version: it is a RuntimeError with the limit" "$out" 'pintensor: cannot lock 1.0 MiB more memory ('
    has "$version: and the command" "$out" "the memlock limit is 2.0 MiB. Raise it: \`ulimit -l unlimited\`"

    stock "$torch_python" "$pythons/features.py" "$ops"
    local without=$out
    is "$version: stock runs the comparison" "$status $(grep -c '' <<<"$without")" '0 27'
    run "$torch_python" "$pythons/features.py" "$ops"
    is "$version: set_, .data, resize_, share_memory_, workers, inference mode, ...: as in stock" "$out" "$without"
}

for version in 019 018; do
    ops=ops_$version
    if [[ -n ${!ops} ]]; then
        tests_of "0.${version#0}" "${!ops}"
    else
        echo "# PINTENSOR_TEST_OPS_$version is not set"
    fi
done
finish
