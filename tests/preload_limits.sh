#!/usr/bin/env bash
# Limits as a job meets them: how far it comes, and what it is told.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
compile many_mappings.c many_mappings -ldl
command -v prlimit setpriv >/dev/null || skip 'prlimit and setpriv (util-linux) are needed'
stock limited 65536:2097152 "$python" -c 'import resource; print(*resource.getrlimit(resource.RLIMIT_MEMLOCK))'
[[ $status == 0 && $out == '65536 2097152' ]] || skip "memlock cannot be limited to 2 MiB here: $out $err"

memlock() { # SOFT:HARD COMMAND…
    local limits=$1
    shift
    capture limited "$limits" env LD_PRELOAD="$preload" "$@"
}

memlock 65536:2097152 "$python" "$pythons/pin.py" return
is 'the soft limit is raised to the hard one' "$status $(reports_in "$err")" '0 1'

memlock 2097152:2097152 "$python" "$pythons/pin.py" limit
is 'beyond the hard limit: an error' "$status" 1
has 'it says the size, what is locked, and which limit' "$err" 'MemoryError: cannot lock 1.0 MiB more memory ('
has 'it names memlock' "$err" 'the memlock limit is 2.0 MiB. Raise it: '
for command in 'ulimit -l unlimited' 'docker run --ulimit memlock=-1' 'LimitMEMLOCK=infinity' 'Slurm'; do
    has "it says how: $command" "$err" "$command"
done
is 'and the report comes out' "$(reports_in "$err")" 1

memlock 0:0 "$python" "$pythons/pin.py" return
has 'nothing may be locked: an error' "$err" 'cannot lock 1.0 MiB more memory (0 B locked now): the memlock limit is 0 B'

PINTENSOR_ON_LIMIT=pageable memlock 2097152:2097152 timeout 5 "$python" "$pythons/pin.py" limit
is 'pageable: the job goes on' "$status" 124
is 'pageable: one warning' "$(grep -c '^pintensor: warning: going on with memory that is not locked' <<<"$err")" 1
PINTENSOR_ON_LIMIT=pageable memlock 65536:65536 "$python" "$pythons/pin.py" return
is 'pageable: status' "$status" 0
has 'pageable: counted in the report' "$err" '1 block could not be locked and stayed pageable'

# --- address space ---------------------------------------------------------------------------

with_space() { # MIB COMMAND…
    local space=$(($1 << 20))
    shift
    capture prlimit --as=$space:$space env LD_PRELOAD="$preload" "$@"
}
with_space 8192 "$python" "$pythons/pin.py" return
is 'with 8 GiB of addresses it works' "$status $(reports_in "$err")" '0 1'
with_space 2048 "$python" -c "
import sys; sys.path.insert(0, '$pythons')
import pin
kept = [pin.pin(64 << 20) for _ in range(40)]"
has 'beyond the limit of addresses: it is named' "$err" "the address-space limit is 2.0 GiB. Raise it: \`ulimit -v unlimited\`"
# What the program may map without the library is left to it.
with_space 4096 "$python" -c "
import sys; sys.path.insert(0, '$pythons')
import pin, mmap
kept = pin.pin(1 << 20)
mmap.mmap(-1, 3 << 30)"
is 'the reserved range leaves the program its addresses' "$status $(grep -v '^ \|^pintensor: .*, ran ' <<<"$err")" '0 '
with_space 256 "$python" "$pythons/pin.py" return
is 'with 256 MiB of addresses: one line at most, no crash' "$((status < 128)) $(($(grep -c '^pintensor: ' <<<"$err") <= 2))" '1 1'

# --- number of mappings ----------------------------------------------------------------------

if (($(</proc/sys/vm/max_map_count) <= 1 << 20)); then
    run "$work/many_mappings"
    is 'all mappings used up: an error' "$status" 0
    has 'it names the limit and the command' "$out" "memory mappings of at most $(</proc/sys/vm/max_map_count). Raise it: \`sysctl -w vm.max_map_count=1048576\`"
else
    echo "# vm.max_map_count is too high here to be used up"
fi
finish
