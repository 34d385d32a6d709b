#!/usr/bin/env bash
# The bridge to torch's allocator of pinned memory: it compiles against the torch at hand, and does as the interface asks.
# Its streams, graphs and figures are scripts/gpu-test's.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
need_torch
command -v "${CXX:-g++}" >/dev/null || skip 'no C++ compiler'
torch=$("$torch_python" -c 'import os, torch; print(os.path.dirname(torch.__file__))')
flags=(-std=c++20 -O1 -isystem "$torch/include" -isystem "$torch/include/torch/csrc/api/include" -L"$torch/lib"
    "-Wl,-rpath,$torch/lib" -lc10 -ltorch_cpu -ldl)
programs=$top_srcdir/preload compile host_allocator.cpp bridge.so -Wextra -Wno-unused-parameter -shared -fPIC \
    -fvisibility=hidden "${flags[@]}"
compile fake_torch.cpp fake_torch "${flags[@]}"
run "$work/fake_torch" "$work/bridge.so"
echo "$out"
is 'it ends well' "$status" 0
lacks 'all of it holds' "$out" 'not ok'
is 'it shows one symbol' "$(nm -D --defined-only "$work/bridge.so" | awk '$2 == "T" { print $3 }')" pintensor_bridge_start
finish
