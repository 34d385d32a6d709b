#!/usr/bin/env bash
# Every element type of torch and every kind of example tensor: the outcome of stock, in memory of ours.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
need_torch

for version in 019 018; do
    ops=ops_$version
    ops=${!ops}
    if [[ -z $ops ]]; then
        echo "# PINTENSOR_TEST_OPS_$version is not set"
        continue
    fi
    stock "$torch_python" "$pythons/dtypes.py" "$ops"
    without=$out
    is "$version: stock runs the comparison" "$status" 0
    run "$torch_python" "$pythons/dtypes.py" "$ops"
    is "$version: status" "$status" 0
    is "$version: types compared" "$(($(grep -c '\[1000\].*True\]$' <<<"$out") >= 40))" 1
    # One line each, so that a difference is named by itself.
    differing=0
    while IFS= read -r wanted && IFS= read -r got <&3; do
        if [[ $got != "$wanted" ]]; then
            not_ok "$version: ${wanted%%:*}" "stock: ${wanted#*: }"$'\n'"ours:  ${got#*: }"
            differing=1
        fi
    done <<<"$without" 3<<<"$out"
    is "$version: as many outcomes as stock" "$(grep -c '' <<<"$out")" "$(grep -c '' <<<"$without")"
    ((differing)) || ok "$version: $(grep -c '' <<<"$out") outcomes are those of stock"
done
finish
