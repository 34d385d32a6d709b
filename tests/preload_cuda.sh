#!/usr/bin/env bash
# The CUDA doors, whole processes against the fake driver and runtime (tests/programs/fake_cuda.c): blocks of ours are
# answered, all else reaches the runtime however the program came by it, and who uses no GPU never meets a driver.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
lib=$work/lib
mkdir "$lib"
compile fake_cuda.c lib/libcuda.so.1 -shared -fPIC -pthread
compile fake_cuda.c lib/libcudart.so.13 -shared -fPIC -pthread -Wl,-soname,libcudart.so.13
compile cuda_job.c op.so -DOP -shared -fPIC -Wl,--no-as-needed "$lib/libcudart.so.13"
compile cuda_job.c cuda_job -ldl
compile cuda_job.c cuda_job_linked -ldl -Wl,--no-as-needed "$lib/libcudart.so.13"
export LD_LIBRARY_PATH=$lib

served='ours 0 0 0
small 0 0'
foreign='foreign 77 713'
waited='beyond 0
flying 0 0 1
refused 1 1 0
capture 401 401 1 0
reset 0 1 0 1 1 1'
stock "$work/cuda_job" "$lib/libcuda.so.1" "$work/op.so"
is 'without the preload: an op reaches its runtime' "$status $out" "0 $foreign"
run "$work/cuda_job" "$lib/libcuda.so.1" "$work/op.so"
is 'an op that brings its runtime along, as torch does' "$status $out" "0 $foreign
$served
$waited"
run "$work/cuda_job_linked" "$lib/libcuda.so.1" linked
is 'a program linked with the runtime' "$status $out" "0 $foreign
$served
$waited"
run "$work/cuda_job" "$lib/libcuda.so.1" "$lib/libcudart.so.13"
is 'a runtime that only others have loaded' "$status $out" "0 $foreign
$served
$waited"
run "$work/cuda_job" "$lib/libcuda.so.1" none
is 'no runtime at all: an error' "$status ${out%%$'\n'*}" '0 foreign 100 100'
lacks 'no rule of the driver was broken' "$err" fake_cuda

export CUDA_JOB_EVERYWHERE=1
stock "$work/cuda_job" "$lib/libcuda.so.1" "$work/op.so"
is 'many places, and an allocator of its own: stock' "$status $out" "0 everywhere 100, torch's"
run env LD_DEBUG=files "$work/cuda_job" "$lib/libcuda.so.1" "$work/op.so"
is 'a libtorch by another name keeps its allocator' "$status $out" "0 everywhere 100, torch's"
looks=$(grep -c 'opening file=.*/op\.so' <<<"$err")
is 'an object is looked into a few times, however many places of it call' "$((looks < 10))" 1
unset CUDA_JOB_EVERYWHERE

PINTENSOR_REUSE=strict run "$work/cuda_job" "$lib/libcuda.so.1" "$work/op.so"
has 'strict: while a stream is captured, nobody waits for the device' "$out" 'capture 401 401 0 1'

mkdir "$lib/old"
compile fake_cuda.c lib/old/libcuda.so.1 -DWITHOUT_ATTRIBUTES -shared -fPIC -pthread -Wl,-soname,libcuda.so.1
run "$work/cuda_job" "$lib/old/libcuda.so.1" "$work/op.so"
has 'a driver that tells no attributes of its devices' "$out" "$served"

PINTENSOR_ENABLE=off run "$work/cuda_job" "$lib/libcuda.so.1" "$work/op.so"
is 'switched off: all is passed on' "$(head -n 1 <<<"$out")" "$foreign"

if command -v prlimit setpriv >/dev/null; then
    capture limited 65536:65536 env LD_PRELOAD="$preload" "$work/cuda_job" "$lib/libcuda.so.1" "$work/op.so"
    has 'memlock 64 KiB: registration is the lock' "$out" "$served"
    capture limited 65536:65536 env LD_PRELOAD="$preload" FAKE_CUDA_FAIL=1 "$work/cuda_job" "$lib/libcuda.so.1" "$work/op.so"
    has 'memlock 64 KiB and a driver that refuses: no memory' "$out" 'nothing is pinned'
fi

# The driver lies on the library path; only somebody who asked for it may have got it.
compile ends.c ends -ldl -pthread
run env LD_DEBUG=files "$work/ends" return
is 'a process that uses no GPU ends well' "$status" 0
lacks 'and never loads a driver' "$err" libcuda
run env LD_DEBUG=files "$python" "$pythons/pin.py" return
lacks 'nor does one of Python' "$err" libcuda
finish
