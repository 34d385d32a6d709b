#!/usr/bin/env bash
# The report comes out exactly once, whichever way a process ends that pinned memory, and nowhere else; the program's own
# status and output stay what they were.
# shellcheck disable=SC2154 # run() sets status, out and err
. "$(dirname "$0")/lib.sh"
compile ends.c ends -ldl -pthread
compile terminate.cpp terminate -ldl

ends_with() { # NAME STATUS COMMAND…
    local name=$1 wanted=$2
    shift 2
    run "$@"
    is "$name: status" "$status" "$wanted"
    is "$name: one report" "$(reports_in "$err")" 1
    has "$name: the block is held" "$err" 'HELD       1.0 MiB in 1 block from 1 site, alive when exit began'
}

ends_with 'return from main' 0 "$work/ends" return
ends_with 'return from main, failed' 3 "$work/ends" 'return 3'
is 'return from main: output' "$out" 'not flushed'
ends_with exit 3 "$work/ends" exit
is 'exit: output' "$out" 'not flushed'
ends_with _exit 3 "$work/ends" _exit
ends_with _Exit 3 "$work/ends" _Exit
ends_with quick_exit 3 "$work/ends" quick_exit
ends_with abort 134 "$work/ends" abort
ends_with assert 134 "$work/ends" assert
has 'assert: its own words are left' "$err" "Assertion \`block == NULL' failed"
ends_with 'exit in a thread' 3 "$work/ends" thread
ends_with '_exit in a signal handler' 3 "$work/ends" 'signal handler'
ends_with 'std::terminate in an exit handler' 134 "$work/terminate"
has 'std::terminate: its own words are left' "$err" 'out of an exit handler'

ends_with 'end of a Python script' 0 "$python" "$pythons/pin.py" return
is 'end of a Python script: output' "$out" started
is 'the whole report' "$(normalise "$err")" 'pintensor: 1.0 MiB held at exit, none known to be lost; on HOST, pin.py (pid N), ran N s; peak 1.0 MiB locked for 1.0 MiB asked
  fix: pin.py:'"$(grep -n 'lib.pintensor_alloc(manager' "$pythons/pin.py" | cut -d: -f1)"'  pin, called from pin.py:'"$(grep -n 'block = pin(1 << 20)' "$pythons/pin.py" | cut -d: -f1)"'  main: alive until the end; if it need not be, free it with pintensor_free() when it is done with
  HELD       1.0 MiB in 1 block from 1 site, alive when exit began: given back now
             1.0 MiB in 1 block, bytes[1048576] from the C interface, thread N, oldest N s
                 pin.py:'"$(grep -n 'lib.pintensor_alloc(manager' "$pythons/pin.py" | cut -d: -f1)"'  pin
                 pin.py:'"$(grep -n 'block = pin(1 << 20)' "$pythons/pin.py" | cut -d: -f1)"'  main
  The same peak takes 1.0 MiB rounded to powers of two. 0 of 1 block came from memory locked before.'
ends_with sys.exit 3 "$python" "$pythons/pin.py" sys.exit
ends_with 'uncaught exception' 1 "$python" "$pythons/pin.py" exception
has 'uncaught exception: its own words are left' "$err" 'ValueError: uncaught'
ends_with os._exit 3 "$python" "$pythons/pin.py" os._exit
ends_with 'sys.exit in a thread' 0 "$python" "$pythons/pin.py" 'SystemExit in a thread'
ends_with os.abort 134 "$python" "$pythons/pin.py" os.abort

# --- who stays silent -----------------------------------------------------------------------

for command in "$work/ends never" "/bin/true" "$python -c pass" "$python $pythons/pin.py never" "$work/ends kill" "$work/ends exec"; do
    # shellcheck disable=SC2086 # words
    run $command
    is "${command##*/}: silent" "$err" ''
done
run "$work/ends" children
is 'forked and vforked children are silent' "$status $(reports_in "$err")" '3 1'
has "and do not take their parent's report away" "$err" 'HELD       3.0 MiB in 2 blocks'
is "children: their own status" "$out" 'not flushedchild 0
child 1
child 2
child -6
child 4
child 1'
ends_with "Python's children are silent" 0 "$python" "$pythons/pin.py" children
run "$work/ends" 'a child that pins'
is 'a child that pins reports for itself' "$(grep -o '; peak .* locked' <<<"$err")" $'; peak 2.0 MiB locked\n; peak 1.0 MiB locked'
is 'a child that pins: its status' "$out" 'not flushedchild 5'
run "$python" "$pythons/pin.py" 'a child that pins'
is "Python's child that pins reports for itself" "$(reports_in "$err")" 2
run env PINTENSOR_ENABLE=off "$work/ends" return
is 'switched off: nothing is pinned, nothing said' "$err" 'nothing is pinned'
if unshare -rpf true 2>/dev/null; then
    run unshare -rpf "$work/ends" "a child with its parent's pid"
    is "a vforked child with its parent's pid, in a namespace of its own, is silent" "$status $(reports_in "$err")" '3 1'
    has 'and the report knows of what came after' "$err" 'HELD       3.0 MiB in 2 blocks'
fi

# --- sections, stacks ------------------------------------------------------------------------

run "$python" "$pythons/pin.py" free
is 'nothing lost: not a word' "$status $err" '0 '
run env PINTENSOR_REPORT="$work/clean.txt" "$python" "$pythons/pin.py" free
is 'nothing lost: the file that was asked for is written' "$err$(reports_in "$(<"$work/clean.txt")")" 1
run env PINTENSOR_VERBOSE=1 "$python" "$pythons/pin.py" free
is 'nothing lost, PINTENSOR_VERBOSE: one line and the comparison' "$(normalise "$err")" 'pintensor: no pinned memory lost; on HOST, pin.py (pid N), ran N s; peak 1.0 MiB locked for 1.0 MiB asked
  The same peak takes 1.0 MiB rounded to powers of two. 0 of 1 block came from memory locked before.'
run "$python" "$pythons/pin.py" misuse
has 'misuse: the wrong call is named' "$err" 'MISUSED    1 time: free() of an address that points into a block, not to its start; nothing was changed'
is 'misuse: said when it happened' "$(grep -c '^pintensor: warning: free(0x' <<<"$err")" 1
run env PINTENSOR_STACK=off "$python" "$pythons/pin.py" return
has 'PINTENSOR_STACK=off: no stack' "$err" '(no stack was recorded)'
lacks 'PINTENSOR_STACK=off: no line' "$err" 'pin.py:'
run env PINTENSOR_STACK=full "$python" "$pythons/pin.py" return
has 'PINTENSOR_STACK=full: Python lines' "$err" '  main'
is 'PINTENSOR_STACK=full: native frames, and not only the nearest' "$(($(grep -c '^ *in ' <<<"$err") > 3))" 1

if lockable 2048; then
    # Locking 256 MiB takes as long as a pause between two visits of a site.
    run "$python" "$pythons/pin.py" start
    lacks 'a loop that makes large buffers at the start is not growing' "$err" GROWING
fi

run "$python" "$pythons/pin.py" grow
has 'a run of less than a second, growing: the first line' "$err" 'pintensor: lost 12.0 MiB growing; on '
has 'what was freed once exit began is not called freed' "$err" \
    'GROWING    12.0 MiB in 12 blocks, 1.0 MiB more each time, none freed; rose 12 times, last 0.'
has 'growing: its line' "$err" "pin.py:$(grep -n '# marker: grows$' "$pythons/pin.py" | cut -d: -f1)  grow"
run "$python" "$pythons/pin.py" 'grow, then rest'
has 'growing, and resting at the end' "$err" \
    'GROWING    40.0 MiB in 40 blocks, 1.0 MiB more each time, none freed; rose 40 times, last 0.'
run "$python" "$pythons/pin.py" 'start, then rest'
lacks 'buffers of a start are not growing' "$err" GROWING
has 'buffers of a start: how often and when they rose' "$err" '; rose 16 times, last 0.'
has 'buffers of a start: nothing more is promised than is known' "$err" ' held at exit, no line was losing any at the end; on '

# --- PINTENSOR_EXITCODE ----------------------------------------------------------------------

code() { # NAME STATUS FAIL_ON COMMAND…
    local name=$1 wanted=$2 on=$3
    shift 3
    run env PINTENSOR_VERBOSE=1 PINTENSOR_EXITCODE=42 ${on:+PINTENSOR_FAIL_ON="$on"} "$@"
    is "EXITCODE, FAIL_ON=${on:-default}, $name" "$status $(reports_in "$err")" "$wanted 1"
}
code 'return from main' 42 held "$work/ends" return
is 'EXITCODE loses no output' "$out" 'not flushed'
code 'failed already' 3 held "$work/ends" exit
code 'end of a Python script' 42 growing,held "$python" "$pythons/pin.py" return
code 'sys.exit(3)' 3 held "$python" "$pythons/pin.py" sys.exit
code 'growing' 42 '' "$python" "$pythons/pin.py" grow
code 'only held' 0 '' "$work/ends" return
code 'nothing held' 0 held "$python" "$pythons/pin.py" free
code 'misused' 42 misused "$python" "$pythons/pin.py" misuse
code 'abort' 134 held "$work/ends" abort
run env PINTENSOR_EXITCODE=42 PINTENSOR_FAIL_ON=held "$work/ends" never
is 'EXITCODE, nothing pinned' "$status" 0

# --- PINTENSOR_REPORT ------------------------------------------------------------------------

RANK=5 PINTENSOR_REPORT="$work/report-%r-%p-%q.txt" run "$work/ends" return
files=("$work"/report-*)
is 'REPORT: stderr is left alone' "$err" ''
has 'REPORT: rank and pid in the name' "${files[0]##*/}" 'report-5-'
pid=$(sed -n 's/^pintensor: .*; rank 5 on [^ ]*, ends (pid \([0-9]*\)), ran .*/\1/p' "${files[0]}")
is 'REPORT: one file' "${files[*]##*/}" "report-5-$pid-%q.txt"
is 'REPORT: one report' "$(reports_in "$(<"${files[0]}")")" 1
PINTENSOR_REPORT=$work/made/%h/deep/there run "$work/ends" return
is 'REPORT: directories are made' "$status $err $(reports_in "$(cat "$work"/made/*/deep/there)")" '0  1'
is 'REPORT: the host is in the name' "$(basename "$work"/made/*)" "$(uname -n | sed 's/\..*//')"
PINTENSOR_REPORT=$work/ends/there run "$work/ends" return
is 'REPORT: unwritable costs one line' "$(grep "^pintensor: cannot" <<<"$err")" \
    "pintensor: cannot write the report to $work/ends/there, a part of the path is no directory (errno 20): here it is instead"
is 'REPORT: unwritable goes to stderr' "$(reports_in "$err")" 1
is 'REPORT: unwritable leaves the status' "$status" 0
run env PINTENSOR_REPROT=x PINTENSOR_IDLE=soon "$work/ends" return
is 'bad options cost one line each' "$(head -n 2 <<<"$err")" 'pintensor: unknown option PINTENSOR_REPROT ignored; did you mean PINTENSOR_REPORT?
pintensor: PINTENSOR_IDLE=soon is not a whole number from 0 to 86400; using 10'

# --- the kernel's view -----------------------------------------------------------------------

if strace -o /dev/null /bin/true 2>/dev/null; then
    capture strace -f -E LD_PRELOAD="$preload" -e trace=mlock,munlock -o "$work/trace" "$work/ends" return
    locked=$(sed -n 's/.* mlock(\(0x[0-9a-f]*, [0-9]*\)) *= 0/\1/p' "$work/trace")
    unlocked=$(sed -n 's/.* munlock(\(0x[0-9a-f]*, [0-9]*\)) *= 0/\1/p' "$work/trace")
    has 'a held block was locked' "$locked" ', 1048576'
    has 'a held block is unlocked at the end' "$unlocked" "$locked"
    compile memory.c memory -ldl
    unlocks() { # OPTION   how often a process that holds 97 MiB unlocks so much
        capture strace -f -E LD_PRELOAD="$preload" -E PINTENSOR_AT_EXIT="$1" -e trace=munlock -o "$work/trace" "$work/memory" asks 97
        echo "$out $(grep -c "munlock(0x[0-9a-f]*, $((97 << 20)))" "$work/trace") $(grep -c 'HELD       97.0 MiB' <<<"$err")"
    }
    if [[ $("$work/memory" asks 97 2>/dev/null) == pinned ]]; then
        is 'what takes long is left to the kernel at the end' "$(unlocks quick)" 'pinned 0 1'
        is 'unless that is asked for' "$(unlocks unlock)" 'pinned 1 1'
    fi
    capture strace -f -E LD_PRELOAD="$preload" -e trace=munlock,munmap -o "$work/trace" "$work/ends" children
    lacks "a child unlocks nothing of its parent's" "$(grep -v "^$(head -n1 "$work/trace" | cut -d' ' -f1) " "$work/trace")" 'munlock('
else
    echo '# strace may not trace here: the kernel was not asked'
fi
finish
