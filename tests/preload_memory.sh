#!/usr/bin/env bash
# What pinning a little does to the rest of a process: next to nothing.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
compile memory.c memory -ldl
compile fake_cuda.c libcuda.so.1 -shared -fPIC -pthread -Wl,-soname,libcuda.so.1
export PINTENSOR_REPORT=/dev/null

within() { # NAME KIB   every figure of the last run is at most so much above stock's
    local i names=('locked' 'resident' 'virtual size' 'in a core file') ours theirs
    read -ra ours <<<"$(tail -1 <<<"$out")"
    read -ra theirs <<<"$stock_figures"
    for i in 0 1 2 3; do
        [[ ${names[i]} != 'virtual size' ]] || continue
        if ((ours[i] <= theirs[i] + $2)); then ok "$1: ${names[i]}"; else not_ok "$1: ${names[i]}" "${ours[i]} KiB, stock ${theirs[i]}"; fi
    done
}
compare() { # NAME WHAT
    stock "$work/memory" "$2"
    stock_figures=$(tail -1 <<<"$out") stock_answers=$(sed '$d' <<<"$out")
    run "$work/memory" "$2"
    is "$1: it works as it does without" "$status $(sed '$d' <<<"$out")" "0 $stock_answers"
    within "$1" 16384
}
compare_all() { # NAME
    compare "$1a little is pinned" figures
    is "$1a little is pinned: virtual size" "$(($(tail -1 <<<"$out" | cut -d' ' -f3) < 256 << 10))" 1
    if ulimit -l unlimited 2>/dev/null || [[ $EUID == 0 ]]; then
        compare "$1mlockall(MCL_FUTURE) before" 'locks all before'
        compare "$1mlockall(MCL_CURRENT) after" 'locks all after'
    fi
    compare "$1RLIMIT_AS set later" 'limits addresses'
}
has_figures=$("$work/memory" figures) # status 1 where nothing can be locked
if [[ $has_figures == 1* ]]; then
    compare_all ''
    MEMORY_DRIVER=$work/libcuda.so.1 compare_all 'with a GPU: '
fi

# --- core files ------------------------------------------------------------------------------

run env PINTENSOR_DUMP=on "$work/memory" figures
on=$(tail -1 <<<"$out" | cut -d' ' -f4)
run "$work/memory" figures
off=$(tail -1 <<<"$out" | cut -d' ' -f4)
is 'PINTENSOR_DUMP=on: pinned memory is in core files' "$((on >= off + 1024))" 1

# --- what is done to a block's memory ends with the block --------------------------------------

run "$work/memory" attributes
is 'attributes: no crash' "$status" 0
is 'the next blocks there are as good as new' "$(sed -n '/: *not here/d; s/: *$//; /:/p' <<<"$out")" ''
has 'of all ways to change them, those that matter most were tried' "$out" 'DONTFORK:
'
MEMORY_DRIVER=$work/libcuda.so.1 run "$work/memory" attributes
is 'with a GPU: attributes: no crash' "$status" 0
is 'with a GPU: the next blocks there are as good as new' "$(sed -n '/not here/d; s/: *$//; /:/p' <<<"$out")" ''

run "$work/memory" 'cannot unlock'
is 'munlock() is refused: nothing stays locked that is not counted' "$status $out" $'0 0\n1'

# --- more than there is ------------------------------------------------------------------------

run env -u PINTENSOR_REPORT PINTENSOR_IDLE=1 "$work/memory" 'opens nothing'
is 'a program that may open nothing any more goes on' "$status $out" '0 1'

# Locked for real, such requests would have the machine kill: the memlock limit is in the way of that.
asks() { # MIB [FILE MIB]
    capture limited 8388608:8388608 env LD_PRELOAD="$preload" "$work/memory" asks "$@"
}
if [[ -z $(ls -d /sys/bus/virtio/drivers/virtio_mem/virtio* /sys/bus/vmbus/drivers/hv_balloon /sys/devices/system/xen_memory /sys/module/vmw_balloon 2>/dev/null) ]]; then
    for mib in $(((3 << 40) >> 20)) $(((64 << 40) >> 20)) $(((1024 << 40) >> 20)); do
        asks "$mib"
        has "$mib MiB: the machine has not so much" "$out" 'the machine has '
    done
fi
asks 64
has 'what the machine has, but the limit forbids' "$out" 'the memlock limit is 8.0 MiB'

cgroup=/sys/fs/cgroup/memory limit=memory.limit_in_bytes
[[ -d $cgroup ]] || cgroup=/sys/fs/cgroup limit=memory.max
group=$cgroup/pintensor-test-$$
in_cgroup() { # CGROUP COMMAND…
    local group=$1
    shift
    # shellcheck disable=SC2016 # for the inner shell
    run bash -c 'unset LD_PRELOAD; echo $$ >"$0/cgroup.procs" && exec env LD_PRELOAD="$1" "${@:2}"' "$group" "$preload" "$@"
}
if mkdir "$group" 2>/dev/null; then
    [[ -w $group/$limit ]] || echo +memory >"$cgroup/cgroup.subtree_control"
    if { echo $((96 << 20)) >"$group/$limit"; } 2>/dev/null; then
        [[ $limit != memory.max ]] || echo +memory >"$group/cgroup.subtree_control" 2>/dev/null
        mkdir "$group/below"
        in_cgroup "$group/below" "$work/memory" asks 200
        is 'beyond what a cgroup above has: an error' "$status" 0
        has 'it says how much that is' "$out" 'its cgroup may have 96.0 MiB, of which '
        in_cgroup "$group/below" "$work/memory" asks 64 "$work/file" 80
        is 'file cache is free' "$status $out" '0 pinned'
        # Who reads a cgroup's numbers while those below it change leaves the next reader numbers that are 2 s old.
        (while :; do : <"$group/memory.stat" && cat "$group/memory.stat"; done) >/dev/null &
        reader=$!
        for _ in 1 2 3; do
            in_cgroup "$group/below" "$work/memory" asks 64 "$work/file" 80
            is 'file cache that its cgroup is not told of yet is free' "$status $out" '0 pinned'
        done
        mkdir "$group/beside"
        in_cgroup "$group/beside" "$work/memory" asks 1 "$work/file" 80
        in_cgroup "$group/below" "$work/memory" asks 64
        is 'so is that of others in the cgroup above' "$status $out" '0 pinned'
        kill "$reader"
        rmdir "$group/beside"
    else
        echo '# no cgroup with a limit can be made here'
    fi
    rmdir "$group/below" "$group" 2>/dev/null
else
    echo '# no cgroup can be made here'
fi

# --- no memory to begin with -----------------------------------------------------------------

for bytes in 4096 2097152; do
    run "$work/memory" refused "$bytes"
    is "no mapping of $bytes bytes for jemalloc: no crash" "$status" 0
done
is 'it cannot start: one line' "$out|$err" 'refused|pintensor: cannot start (errno 11): this process goes on without pintensor'
finish
