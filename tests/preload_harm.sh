#!/usr/bin/env bash
# The host program is never harmed: ends that once hung, crashed or went astray.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

compile harm.c harm -L"$top_builddir/.libs" -Wl,-rpath,"$top_builddir/.libs" -lpintensor -lpthread -ldl

for _ in 1 2 3 4 5; do
    run timeout 10 "$work/harm" 'exit in a handler'
    is 'exit() in a signal handler ends' "$status" 3
done

mkfifo "$work/silence"
sleep 10 >"$work/silence" &
silent=$!
run env PINTENSOR_EXITCODE=7 PINTENSOR_FAIL_ON=held timeout 5 "$work/harm" 'a thread reads' <"$work/silence"
kill "$silent" 2>/dev/null
is 'EXITCODE while a thread waits for input' "$status" 7

run timeout 60 "$work/harm" children
is 'free() in children forked in the middle of things' "$status" 0

(cd "$work" && LD_PRELOAD=$preload PINTENSOR_REPORT="$work/report.txt" ./harm 'writes over its environment')
has 'a program that writes over its environment: the report is where it should be' "$(cat "$work/report.txt" 2>&1)" '; peak '

status=0
LD_PRELOAD=$preload "$work/harm" 2> >(exec true) || status=$?
is 'a closed pipe behind stderr' "$status" 0

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
