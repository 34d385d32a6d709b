#!/usr/bin/env bash
# A process that a signal ends reports first and then ends by it, as it does without us; signals that the program uses itself are
# its own, and it sees nothing of ours.
# shellcheck disable=SC2154 # run() sets status, out and err
. "$(dirname "$0")/lib.sh"
compile signals.c signals -ldl -pthread
signals() { run timeout -s KILL 20 "$work/signals" "$@"; }

# How the kernel says that a command ended: the signal, and whether there was a core file, or the status.
ended() {
    "$python" -c '
import os, sys
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
status = os.waitpid(child, 0)[1]
print("signal", status & 0x7f, "core" if status & 0x80 else "") if status & 0x7f else print("status", status >> 8)
' "$@"
}

# How often each; more by hand.
rounds=${SIGNAL_ROUNDS:-2}
ends() { # NAME COMMAND…   as without the preload, and with one report, each time
    local name=$1 stocks all='' i
    shift
    stocks=$(cd "$work" && ended "$@" 2>/dev/null)
    has "$name: by a signal" "$stocks" signal
    for ((i = 0; i < rounds; i++)); do
        all+="$(cd "$work" && ended env LD_PRELOAD="$preload" "$@" 2>"$work/err") $(reports_in "$(<"$work/err")") "
        err=$(<"$work/err")
    done
    is "$name: ends as without us, after one report" "${all% }" "$(for ((i = 0; i < rounds; i++)); do echo -n "$stocks 1 "; done | sed 's/ $//')"
    has "$name: what was held" "$err" 'HELD       1.0 MiB in 1 block from 1 site, alive when exit began'
}

# --- the endings ------------------------------------------------------------------------------

names=(HUP INT QUIT ILL ABRT BUS FPE SEGV TERM)
for name in "${names[@]}"; do
    ends "SIG$name" "$work/signals" kill "$(kill -l "$name")"
done
for name in ILL BUS FPE SEGV; do
    ends "a fault, SIG$name" "$work/signals" fault "$(kill -l "$name")"
done
ends 'raise()' "$work/signals" raise 15
ends "libc's own abort" "$work/signals" heap
has "libc's own abort: its words are left" "$err" 'free(): double free'
ends 'a signal to a thread' "$work/signals" thread 15
ends 'a signal to a thread of 16 KiB' "$work/signals" 'small thread' 15
ends 'a signal to a thread that was cancelled' "$work/signals" cancelled 15
ends 'a stack that is overrun, with an alternate one of 8 KiB' "$work/signals" overrun
ends 'a handler that cleans up and goes back to the default' "$work/signals" 'default again' 15
rounds=$((15 * rounds)) ends 'a signal that comes a hundred times, to five threads' "$work/signals" several 15

python_ends() { # NAME SIGNAL STATEMENT…
    ends "$1" "$python" -c "
import ctypes, os, signal, sys
sys.path.insert(0, '$pythons')
if 'LD_PRELOAD' in os.environ:
    import pin
    block = pin.pin(1 << 20)
$3
os.kill(os.getpid(), signal.SIG$2)
while True:
    pass"
}
python_ends 'Python, SIGTERM' TERM ''
python_ends 'Python, SIGINT' INT ''
has 'Python, SIGINT: its own words are left' "$err" KeyboardInterrupt
python_ends 'Python, SIGHUP after a handler of its own' HUP 'signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGHUP))'
python_ends 'Python, a fault under faulthandler' SEGV 'import faulthandler; faulthandler.enable()'
has 'Python, a fault under faulthandler: its words are left' "$err" 'Fatal Python error: Segmentation fault'

for ((i = 0; i < 10 * rounds; i++)); do
    signals allocating 15
    endings+="$status $(reports_in "$err") "
done
is 'a signal while two threads allocate' "$(tr ' ' '\n' <<<"$endings" | sort | uniq -c | xargs)" "1 $((10 * rounds)) 1 $((10 * rounds)) 143"

slowly() { # NAME SIGNALS THREADS HOW
    capture "$python" "$pythons/ends_slowly.py" "$2" "$3" env LD_PRELOAD="$preload" "$work/signals" "$4" 17
    is "signals that come while a report waits for room, $1: it comes out whole, and the first one ends it" "$out$err" '-15 before.'
}
slowly 'to a program of one thread' '15 2 1 15' 1 kill
slowly 'to one of several threads' '15 15 15 15' 5 several
slowly 'to one that ends already' '0 15' 1 'goes on'

# --- who stays silent, and whose signals are whose ----------------------------------------------

signals children
is 'children that pinned nothing die in silence, others report' "$status $(reports_in "$err")
$out" '0 2
forked -15
vforked -15
pinning -15
system 15'
for when in own 'own before'; do
    signals "$when" 15
    is "a handler of the program's own, $when: it runs" "$status $(reports_in "$err")" '7 1'
done
signals 'overrun alone'
is 'a stack that is overrun, with no room for a handler: as without us' "$status $err" '139 '
if unshare -rpf true 2>/dev/null; then
    for sig in 2 15 11; do
        run timeout -s KILL 20 unshare -r "$work/signals" first "$sig"
        is "a child that is the first of a namespace: signal $sig does not end it" "$status $(reports_in "$err")" '3 1'
    done
    run timeout -s KILL 20 unshare -rpf "$work/signals" 'goes on' 15
    is 'the first process of a container does not end by SIGTERM, which the kernel spares it' "$status $(reports_in "$err")" '3 1'
fi
signals waits 15
is 'a program that waits for a signal gets it' "$status $(reports_in "$err")" '0 1'
run timeout 20 nohup "$work/signals" 'goes on' 1
is 'under nohup SIGHUP stays ignored' "$status $(reports_in "$err")" '3 1'
signals asks
is 'the program sees the actions it has set, and no other' "$status $out" '0 '
stock "$work/signals" executes
stocks=$out
signals executes
is 'another program starts with the default actions' "$status $out" "0 $stocks"
run env PINTENSOR_AT_SIGNAL=leave "$work/signals" kill 15
is 'AT_SIGNAL=leave: no report' "$status $err" '143 '
run env PINTENSOR_EXITCODE=42 PINTENSOR_FAIL_ON=held "$work/signals" kill 15
is 'EXITCODE leaves the signal alone' "$status $(reports_in "$err")" '143 1'

# --- on demand ----------------------------------------------------------------------------------

signals 'goes on' 12
is 'nobody asked for USR2: it ends the process, as ever' "$status $err" '140 '
run env PINTENSOR_SIGNAL=USR2 "$work/signals" 'goes on' 12
is 'PINTENSOR_SIGNAL: a report each time, and one at the end' "$status $(reports_in "$err")" '3 4'
is 'PINTENSOR_SIGNAL: as of now' "$(grep -c 'HELD .*, alive now' <<<"$err")" 3
run env PINTENSOR_SIGNAL=USR2 PINTENSOR_REPORT="$work/demand.txt" "$work/signals" 'goes on' 12
is 'PINTENSOR_SIGNAL: into the file of the last one' "$status $(reports_in "$(<"$work/demand.txt")") $err" '3 4 '
run env PINTENSOR_SIGNAL=USR2 "$work/signals" 'own before' 12
is 'PINTENSOR_SIGNAL: a signal of the program stays its own' "$status $(reports_in "$err")" '7 1'
has 'PINTENSOR_SIGNAL: and that is said' "$err" 'pintensor: no report by PINTENSOR_SIGNAL=USR2: the program uses that signal itself'
run env PINTENSOR_SIGNAL=USR1 "$work/signals" asks
is 'PINTENSOR_SIGNAL: not seen by the program' "$status $out" '0 '
PINTENSOR_EVERY=1 PINTENSOR_REPORT="$work/every.txt" run timeout 20 "$work/signals" reads 2 <<<"$work/every.txt"
is 'PINTENSOR_EVERY: one report after the other' "$status $err" '0 '
is 'PINTENSOR_EVERY: and one at the end' "$(grep -c 'HELD .*, alive when exit began' "$work/every.txt")" 1
finish
