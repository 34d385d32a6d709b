#!/usr/bin/env bash
# What others pin, whole processes against the fake driver and runtime: counted by line beside ours, and served as without us.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
lib=$work/lib
mkdir "$lib"
for name in libcuda.so.1 libcudart.so.13; do # of the same source, and neither answers for the other
    compile fake_cuda.c lib/$name -shared -fPIC -pthread -Wl,-soname,$name -Wl,-Bsymbolic
done
for way in runtime:libcudart.so.13 driver:libcuda.so.1; do
    define=()
    [[ $way != driver:* ]] || define=(-DDRIVER)
    compile pins.c "${way%:*}" "${define[@]}" -rdynamic -fno-optimize-sibling-calls -ldl -pthread \
        -Wl,--no-as-needed "$lib/${way#*:}" -Wl,--allow-shlib-undefined -Wl,--unresolved-symbols=ignore-all
done
export LD_LIBRARY_PATH=$lib
command=$top_builddir/pintensor
counted() { sed 's/: [0-9]* in [0-9]*$/: N/' <<<"$1"; } # without figures, which are 0 without us

for way in runtime driver; do
    for what in lines fails few unseen forks stuck many resets; do
        [[ $way:$what != driver:resets && $way:$what != driver:unseen ]] || continue
        stock "$work/$way" $what
        wanted="$status $(counted "$out")"
        run "$work/$way" $what
        is "$way: $what: every answer is stock's" "$status $(counted "$out")" "$wanted"
        lacks "$way: $what: no rule of the driver was broken" "$err" fake_cuda
    done

    PINTENSOR_VERBOSE=on run "$work/$way" lines
    is "$way: what is pinned now" "$(grep ' in ' <<<"$out")" 'most: 37748736 in 4
then: 8388608 in 1'
    is "$way: the report" "$(normalise "$(tail -n +2 <<<"$err")")" "$(normalise '  OTHERS     of 36.0 MiB pinned here, 0 B are pintensor'\''s: when most was pinned, others had 36.0 MiB
             16.0 MiB in 2 blocks by cudaHostAlloc, 8.0 MiB in 1 now
                 '"$way"' reader+0x1
             16.0 MiB in 1 block by cudaHostAlloc, 0 B in 0 now
                 '"$way"' writer+0x1
             4.0 MiB in 1 block by cudaHostRegister, 0 B in 0 now
                 '"$way"' keeper+0x1')"

    run "$work/$way" fails
    is "$way: what fails is not counted, nor does it make a report" "$(tail -n 1 <<<"$out")$err" 'none: 0 in 0'
    run "$work/$way" few
    is "$way: a few bytes of a program that pins nothing else are no matter" "$(tail -n 1 <<<"$out")$err" 'few: 0 in 0'
    run "$work/$way" many
    is "$way: many threads" "$out" 'kept: 2097152 in 1
then: 0 in 0'
    run "$work/$way" forks
    is "$way: a child is not asked of its parent's" "$out" 'child: 0 in 0
its own: 2097152 in 1
child: frees 0
still its own: 2097152 in 1
parent: 8388608 in 1
frees 0
then: 0 in 0'
    run "$work/$way" stuck
    is "$way: what could not be freed is pinned still" "$out" 'frees 4
still there: 8388608 in 1'
    PINTENSOR_VERBOSE=on run "$work/$way" beside
    has "$way: beside ours, when most of both was pinned" "$err" \
        'OTHERS     of 50.0 MiB pinned here, 42.0 MiB are pintensor'
    has "$way: our own registrations are not counted once more" "$out" 'most: 37748736 in 4'
done

run "$work/runtime" unseen
is 'an end that was not seen, and the address once more' "$(grep -v '^past' <<<"$out")" 'one is seen: 8388608 in 1
again: 8388608 in 1
frees 0, and once more 1
then: 0 in 0'
run "$work/runtime" resets
is 'a device that is reset has none of it any more' "$(grep ' in ' <<<"$out")" 'before: 8388608 in 1
after: 0 in 0
then: 0 in 0'
# --- PINTENSOR_SERVE=all --------------------------------------------------------------------------

export PINTENSOR_SERVE=all
PINTENSOR_VERBOSE=on run "$work/runtime" served
is 'served from the pool, freed, and used again' "$status $out" "0 0: ours 0 1
1: ours 0 1
2: ours 0 1
3: ours 0 1
4: CUDA's 0 1
5: CUDA's 0 1
6: CUDA's 0 1
7: CUDA's 0 1
8: 1
small: ours ours, aligned 1 1
inside: 1, no memory: 0
registers: 0 0
by the driver's: 0
copied: 0 7
again: 1
captured: 0, copied 0, meanwhile 0, after 1, copied 1
what is not CUDA's: 1
child: 1
parent: 0
others: 0 in 0"
lacks 'served: no rule of the driver was broken' "$err" fake_cuda
has 'served: the report' "$err" 'bytes[4096..3145728] from cudaHostAlloc'
run "$work/runtime" without
is 'without a context: served by CUDA, which makes one' "$out" "0 CUDA's 0"
FAKE_CUDA_ADDRESSES=0 run "$work/runtime" one
is 'a device that uses other addresses: served by CUDA' "$out" "0 CUDA's 0"
FAKE_CUDA_FAIL=1 run "$work/runtime" one
is 'a driver that refuses: served by CUDA' "$out" "0 CUDA's 0"
PINTENSOR_LIMIT=8M run "$work/runtime" one
is 'beyond PINTENSOR_LIMIT: CUDA is not asked either' "$out" '2 none 0'
has 'beyond PINTENSOR_LIMIT: why' "$err" 'cudaHostAlloc fails: cannot lock 16.0 MiB more memory: '
PINTENSOR_REUSE=strict run "$work/runtime" served
has 'strict: likewise' "$out" 'captured: 0, copied 0, meanwhile 0, after 1, copied 1'
PINTENSOR_STACK=off run "$work/runtime" served
is 'without stacks' "$(tail -n 1 <<<"$out")" 'others: 0 in 0'
unset PINTENSOR_SERVE
run "$work/runtime" one
is 'not asked for: served by CUDA' "$out" "0 CUDA's 0"

# --- by the command -----------------------------------------------------------------------------

PINTENSOR_VERBOSE=on PINTENSOR_DIR=$work/tables run "$work/runtime" beside
capture "$command" report "$work/tables"
has 'a table says it too' "$out" "$(grep -A 2 OTHERS <<<"$err")"
capture "$command" report --json "$work/tables"
json() { "$python" -c 'import json, sys; r = json.load(open(sys.argv[1])); o = r["processes"][0]["others"]; print(eval(sys.argv[2]))' "$work/out" "$1"; }
is 'json: the sums' "$(json 'o["pinned"], o["missed"], o["live"], o["at_peak"]')" \
    "(4, 0, {'blocks': 1, 'bytes': 8388608}, {'blocks': 1, 'bytes': 8388608, 'pintensor': 44040192})"
is 'json: by line' "$(json 'sorted((x["call"], x["pinned"], x["live"]["bytes"], x["peak"]["bytes"]) for x in o["lines"])')" \
    "[('cudaHostAlloc', 1, 0, 0), ('cudaHostAlloc', 2, 8388608, 8388608), ('cudaHostRegister', 1, 0, 0)]"
is 'json: the lines are among the sites' "$(json '{x["site"] for x in o["lines"]} <= {s["id"] for s in r["sites"]}')" True

mkfifo "$work/go"
PINTENSOR_DIR=$work/live LD_PRELOAD=$preload "$work/runtime" waits <"$work/go" >"$work/said" 2>&1 &
exec 5<>"$work/go"
for _ in {1..200}; do [[ -s $work/said ]] && break || sleep 0.05; done
capture "$command" top --once "$work/live"
has 'top' "$(tail -n 1 <<<"$out" | xargs)" 'runtime 0 B 0 B 0 B 0 B 8.0 MiB'
exec 5>&-
wait

# --- from Python --------------------------------------------------------------------------------

line() { echo "pins.py:$(sed -n "/# marker: $1\$/=" "$pythons/pins.py")  $1"; }
PINTENSOR_VERBOSE=on run "$python" "$pythons/pins.py" "$lib/libcudart.so.13"
is 'Python: served' "$out" 'registered 0
freed 0'
is 'Python: the lines' "$(normalise "$(grep -A 4 OTHERS <<<"$err")")" "  OTHERS     of 8.0 MiB pinned here, 0 B are pintensor's: when most was pinned, others had 8.0 MiB
             6.0 MiB in 2 blocks by cudaHostAlloc, 3.0 MiB in 1 now
                 $(line allocate)
             2.0 MiB in 1 block by cudaHostRegister
                 $(line register)"

PINTENSOR_ENABLE=off run "$work/runtime" lines
is 'switched off: nothing is counted or said' "$(grep ' in ' <<<"$out")$err" 'most: 0 in 0
then: 0 in 0'
finish
