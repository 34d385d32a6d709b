#!/usr/bin/env bash
# PINTENSOR_LIMIT as jobs meet it: what they are told, and what the processes of a node share.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
lockable 64 || skip 'this machine does not let a process lock 64 MiB (ulimit -l unlimited)'

cat >"$work/job.py" <<PYTHON
import sys; sys.path.insert(0, '$pythons')
from pin import lib, pin
kept = []
def collect(size):
    kept.append(pin(size))
def caches():
    kept.append(pin(1 << 20))
PYTHON
job() { # LIMIT LINE…
    local limit=$1
    shift
    { cat "$work/job.py" && printf '%s\n' "$@"; } >"$work/run.py"
    run env PINTENSOR_LIMIT="$limit" "$python" "$work/run.py"
}

line_of() { grep -n -- "$2" "$pythons/$1" | head -n 1 | cut -d: -f1; }
from() { # SIZE LINE FUNCTION   what a holder is called
    echo "$1 from $pythons/pin.py:$(line_of pin.py 'lib.pintensor_alloc(')  pin, called at $work/run.py:$2  $3"
}

# --- the process ---------------------------------------------------------------------------

job 8M 'caches()' 'for _ in range(20): collect(2 << 20)'
is 'beyond the hard limit: an error' "$status" 1
has 'it says which limit' "$err" 'cannot lock 2.0 MiB more memory: this process may have 8.0 MiB and has 7.0 MiB (PINTENSOR_LIMIT=8M). Most of it: 6.0 MiB in 3 blocks from '
has 'and who has it, the largest first' "$err" "$(from "6.0 MiB in 3 blocks" 5 collect); $(from "1.0 MiB in 1 block" 7 caches)"
is 'and the report comes out' "$(reports_in "$err")" 1

job soft:4M,16M 'caches()' 'for _ in range(6): collect(2 << 20)'
is 'beyond the soft limit: it goes on' "$status" 0
is 'with one line' "$(grep -c 'PINTENSOR_LIMIT' <<<"$err")" 1
has 'that names the holders' "$err" "pintensor: warning: more memory is locked than is wanted: this process may have 4.0 MiB and has 5.0 MiB (PINTENSOR_LIMIT=soft:4M,16M). Most of it: $(from "4.0 MiB in 2 blocks" 5 collect); $(from "1.0 MiB in 1 block" 7 caches)"

job 8M 'for i in range(100): lib.pintensor_free(1, pin((i % 7 + 1) << 20).data)'
is 'what was freed makes way' "$status $(grep -c 'cannot lock' <<<"$err")" '0 0'

job 8Q 'collect(1 << 20)'
has 'a bad value: one line' "$err" 'pintensor: PINTENSOR_LIMIT=8Q is not a limit such as 8G, 50%, soft:6G,8G or node:64G; there is no limit'
is 'and no limit' "$status $(grep -c 'PINTENSOR_LIMIT' <<<"$err")" '0 1'
capture "$top_builddir/pintensor" run --limit=8Q -- true
is 'run refuses it before it starts' "$status" 2
has 'with the same words' "$err" 'is not a limit such as 8G'
job '' 'for _ in range(20): collect(1 << 20)'
is 'an empty one is none' "$status $(grep -c 'LIMIT' <<<"$err")" '0 0'

job 1% 'total = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal")) * 1024' \
    'collect(total // 90)'
has 'percent of all memory' "$err" '(PINTENSOR_LIMIT=1%)'

# --- the node: each process says what it has and waits for a line ----------------------------

exec 9>"${TMPDIR:-/tmp}/pintensor-node-test.lock"
flock 9 # the file of the node is the user's, not this test's
{ cat "$work/job.py" && echo 'collect(20 << 20); print("locked", flush=True); sys.stdin.readline()'; } >"$work/rank.py"

rank() { # leaves $pid, and its ends in ${rank[@]}
    coproc rank { exec env LD_PRELOAD="$preload" PINTENSOR_LIMIT=node:32M "$python" "$work/rank.py" 2>"$work/rank.err"; }
    pid=$rank_PID
    read -r line <&"${rank[0]}"
}
rank
is 'the first rank has 20 of 32 MiB' "$line" locked
job node:32M 'collect(10 << 20)' 'print("ten", flush=True)' 'collect(10 << 20)'
is 'the second one has 10 of the rest and no 10 more' "$status $out" '1 ten'
has 'it is told who has what' "$err" "this user's processes on this machine may have 32.0 MiB and have 30.0 MiB, of which 10.0 MiB are this one's (PINTENSOR_LIMIT=node:32M). Most of it: $(from "10.0 MiB in 1 block" 5 collect)"
job '' 'collect(30 << 20)'
is 'who has no limit is not asked' "$status" 0
kill -KILL "$pid"
wait "$pid" 2>/dev/null
job node:32M 'collect(30 << 20)'
is 'the share of a rank that was killed comes back' "$status" 0
job node:32M 'collect(30 << 20)'
is 'as does that of one that ended' "$status" 0
# shellcheck disable=SC2012
is 'the file is the user'"'"'s alone' "$(stat -c '%a %u %s' "/dev/shm/pintensor-$EUID-$(stat -Lc %i /proc/self/ns/pid)")" "600 $EUID 16384"
flock -u 9

if unshare -rm mount -t tmpfs -o size=4k none /dev/shm 2>/dev/null; then
    echo 'collect(1 << 20)' | cat "$work/job.py" - >"$work/run.py"
    # shellcheck disable=SC2016
    capture unshare -rm bash -c 'mount -t tmpfs -o size=4k none /dev/shm && exec env LD_PRELOAD="$0" PINTENSOR_LIMIT=node:32M "$@"' \
        "$preload" "$python" "$work/run.py"
    has 'no room in /dev/shm: one line' "$err" 'pintensor: this process keeps no limit for the node (errno 28): it cannot use /dev/shm/pintensor-'
    is 'and it goes on without' "$status $(grep -c 'limit for the node' <<<"$err")" '0 1'
else
    echo '# no namespace of mounts can be had here: /dev/shm is not filled'
fi

# --- DeepSpeed's door ------------------------------------------------------------------------

for ops in "$ops_019" "$ops_018"; do
    if [[ -n $torch_python && -n $ops ]]; then
        run env PINTENSOR_LIMIT=2M "$torch_python" "$pythons/lifetime.py" "$ops" limit
        is "$(basename "$ops"): beyond the limit: an exception, no crash" "$status" 0
        has "$(basename "$ops"): it is a RuntimeError with the holders" "$out" \
            "pintensor: cannot lock 1.0 MiB more memory: this process may have 2.0 MiB and has "
        has "$(basename "$ops"): by the user's line" "$out" "(PINTENSOR_LIMIT=2M). Most of it: 2.0 MiB in 2 blocks from $pythons/lifetime.py:$(line_of lifetime.py "return handle.new_cpu_locked_tensor")  new"
    fi
done
finish
