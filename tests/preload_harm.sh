#!/usr/bin/env bash
# The host program is never harmed: ends that once hung, crashed or went astray.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

compile harm.c harm -L"$top_builddir/.libs" -Wl,-rpath,"$top_builddir/.libs" -lpintensor -lpthread -ldl

for _ in 1 2 3 4 5; do
    run timeout 60 "$work/harm" 'exit in a handler'
    is 'exit() in a signal handler ends' "$status" 3
done

mkfifo "$work/silence"
sleep 100 >"$work/silence" &
silent=$!
run env PINTENSOR_EXITCODE=7 PINTENSOR_FAIL_ON=held timeout 60 "$work/harm" 'a thread reads' <"$work/silence"
kill "$silent" 2>/dev/null
is 'EXITCODE while a thread waits for input' "$status" 7

run timeout 60 "$work/harm" children
is 'free() in children forked in the middle of things' "$status" 0

(cd "$work" && LD_PRELOAD=$preload PINTENSOR_REPORT="$work/report.txt" ./harm 'writes over its environment')
has 'a program that writes over its environment: the report is where it should be' "$(cat "$work/report.txt" 2>&1)" '; peak '

status=0
LD_PRELOAD=$preload "$work/harm" 2> >(exec true) || status=$?
is 'a closed pipe behind stderr' "$status" 0

# libc ends such a process with its last thread: ours are none that it has to wait for.
for options in PINTENSOR_IDLE=1000 'PINTENSOR_IDLE=1000 PINTENSOR_EVERY=1000'; do
    for who in main child; do
        # shellcheck disable=SC2086 # words
        run env $options PINTENSOR_VERBOSE=1 timeout -s KILL 60 "$work/harm" "$who leaves"
        is "$options: the thread that began it is gone, and then the last: $who" "$status $out" '0 an exit handler'
        has "$options: and there is a report: $who" "$err" '; peak '
    done
done

compile fork_meets.c fork_meets -rdynamic -L"$top_builddir/.libs" -Wl,-rpath,"$top_builddir/.libs" -lpintensor -lpthread -ldl
for moment in 'first block' handler; do
    run timeout -s KILL 60 "$work/fork_meets" "$moment"
    is "a fork that meets an allocation: $moment" "$status" 0
done

run timeout 60 "$work/harm" 'two frees'
is 'a thread is there once much waits, and not for little' "$status" 12
run env PINTENSOR_IDLE=10 timeout 60 "$work/harm" 'two frees'
is 'nor without being asked' "$status" 22

compile sandbox.c sandbox -D_GNU_SOURCE -L"$top_builddir/.libs" -Wl,-rpath,"$top_builddir/.libs" -lpintensor
for how in early late; do
    run env PINTENSOR_VERBOSE=1 PINTENSOR_IDLE=1 timeout 60 "$work/sandbox" $how
    is "a program that may do nothing but allocate, $how: it ends" "$status" 3
    has 'and has a report' "$err" '1,000 of 1,001 blocks'
done
for how in forks 'forks early'; do
    run env PINTENSOR_VERBOSE=1 PINTENSOR_IDLE=1 timeout 60 "$work/sandbox" "$how"
    is "a child that it makes pins, $how" "$status" 3
    has 'and has a report' "$err" ' of 101 blocks'
done
run timeout 60 "$work/sandbox" thread
is 'the first block, by another thread' "$status" 3
# SIGSYS would end it for a look at the limits, or for raising one.
capture limited $((2 << 20)):$((4 << 20)) env LD_PRELOAD="$preload" timeout 60 "$work/sandbox" refused
is 'more than may be locked: an error' "$status" 3
has 'with what can be said' "$out" 'cannot lock 1.0 GiB more memory'
run env PINTENSOR_IDLE=1 PINTENSOR_REPORT="$work/sandbox.txt" timeout 60 "$work/sandbox" late
is 'the same with a report in a file' "$status" 3
has 'which is there' "$(cat "$work/sandbox.txt" 2>&1)" '1,000 of 1,001 blocks'
run env PINTENSOR_IDLE=1 PINTENSOR_REPORT="$work/early.txt" timeout 60 "$work/sandbox" early
is 'where none may be opened' "$status" 3
has 'it comes all the same' "$err" '1,000 of 1,001 blocks'
run env PINTENSOR_IDLE=1 timeout 60 "$work/sandbox" closes
is 'and where others have the numbers of what was open' "$status" 3
is 'nothing is in their files' "$(wc -c <"$out")" 0
rm -f "$out"

cc_=${CC:-cc}
$cc_ -shared -fPIC -o "$work/libaborts_early.so" "$programs/aborts_early.c"
$cc_ -o "$work/early" -x c - -Wl,--no-as-needed -L"$work" -laborts_early -Wl,-rpath,"$work" <<<'int main(void) { return 0; }'
run env ABORT_EARLY=1 "$work/early"
is 'abort() before the preload is set up' "$status" 134
run "$work/early"
is 'and without it' "$status" 0

if [[ -n $torch_python && -n $ops_019 ]]; then
    run timeout 60 "$torch_python" "$pythons/gil.py" "$ops_019"
    is 'async_io in two threads: no deadlock over the GIL' "$status" 0
    has 'and its blocks have Python lines' "$err" 'gil.py:'
fi
finish
