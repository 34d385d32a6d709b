#!/usr/bin/env bash
# The way out takes two seconds at most whoever listens, and our words go nowhere but where they belong; a report may be asked
# for anywhere; small stacks are enough.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

compile leaves.c leaves -L"$top_builddir/.libs" -Wl,-rpath,"$top_builddir/.libs" -lpintensor -lpthread -ldl
leaves() { run timeout 60 "$work/leaves" "$@"; }

# --- nobody listens -------------------------------------------------------------------------

for child in pins warns; do
    leaves 'full pipe' "$child"
    is "stderr is a full pipe that nobody reads: $child" "$status" 0
done
mkfifo "$work/fifo"
PINTENSOR_REPORT=$work/fifo leaves pins
is 'the report is a FIFO without a reader' "$status $(reports_in "$err")" '0 1'
sleep 100 <>"$work/fifo" &
reader=$!
"$python" -c 'import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_NONBLOCK)
try:
    while os.write(fd, b"x" * 4096): pass
except BlockingIOError: pass' "$work/fifo"
start=$EPOCHREALTIME
PINTENSOR_REPORT=$work/fifo leaves pins
is 'or a full one' "$status $((${EPOCHREALTIME/./} - ${start/./} < 10000000))" '0 1' # it gives up after 2 s; the rest is for a busy machine
kill "$reader" 2>/dev/null
for where in "$work/report.txt" ''; do
    PINTENSOR_REPORT=$where leaves 'file limit'
    is "RLIMIT_FSIZE, report ${where:+in a file}" "$status" 0
done
leaves 'stopping terminal'
is 'a background process on a terminal under tostop' "$status" 0

# --- fd 2 is somebody's data ----------------------------------------------------------------

for when in early late; do
    leaves "own file $when" "$work/data"
    is "fd 2 closed and reused $when: the file is the user's" "$status $(<"$work/data")" '0 data'
    is 'and stderr is left alone' "$err" ''
    PINTENSOR_REPORT=$work/own.txt leaves "own file $when" "$work/data"
    is 'the report in its file comes out' "$(reports_in "$(<"$work/own.txt")")" 1
    rm -f "$work/own.txt"
done
leaves 'both redirected' "$work/log"
is 'stdout and stderr put into a log: the report is there' "$(reports_in "$(<"$work/log")")" 1
mkdir "$work/started"
(cd "$work/started" && PINTENSOR_REPORT=relative-%p.txt leaves 'changes directory')
is 'a relative PINTENSOR_REPORT lies where the program started' "$(reports_in "$(cat "$work"/started/relative-*.txt)")" 1

# --- reports while others allocate -----------------------------------------------------------

leaves 'reports by timer'
is 'a report in a signal handler a thousand times a second' "$status" 0
leaves 'reports at once'
is 'two threads that report at once: right counts' "$status" 0

# --- small stacks ----------------------------------------------------------------------------

leaves 'small threads'
is 'threads of 16 KiB' "$status" 0
leaves 'first block in a small thread'
is 'a first block in one of them' "$status" 0
capture env -i LD_PRELOAD="$preload" prlimit --stack=16384 "$work/leaves" pins
is 'a first block where all stacks are of 16 KiB' "$status" 0
leaves 'exit on a small stack'
is '_exit() on an alternate stack of 8 KiB' "$status $(reports_in "$err")" '42 1'
leaves 'abort on a small stack'
is 'abort() on an alternate stack of 8 KiB' "$status $(reports_in "$err")" '134 1'
PINTENSOR_REPORT=$work/leaves/there leaves 'exit on a small stack'
is 'the same, with a report that cannot be written' "$status $(reports_in "$err")" '42 1'
# --- after the end ----------------------------------------------------------------------------

cc_=${CC:-cc}
$cc_ -O1 -shared -fPIC -I"$top_srcdir/include" -o "$work/liblate.so" "$programs/late.c" -ldl
$cc_ -o "$work/late" -x c - -L"$work" -llate -Wl,-rpath,"$work" <<<'int late_begins(void); int main(void) { return late_begins(); }'
run "$work/late"
is 'a destructor that runs after ours may free its blocks, once' "$status $out" '0 freed'
is 'and that once is told from twice' "$(grep -c 'warning: free(.*) was freed already' <<<"$err")" 1
run env PINTENSOR_EXITCODE=42 PINTENSOR_FAIL_ON=held "$work/late"
is 'EXITCODE leaves the destructors of others alone' "$status $out" '42 freed'

if "$python" -c 'import _testcapi' 2>"$work/err"; then
    run "$python" "$pythons/subinterpreter.py"
    has "a sub-interpreter's end is not the program's" "$out" 'HELD       3.0 MiB in 2 blocks from 2 sites, alive now'
    has 'and when that comes it is told' "$err" 'HELD       3.0 MiB in 2 blocks from 2 sites, alive when exit began'
else
    echo '# this Python has no _testcapi'
fi

# Any Python of this machine that can be embedded.
libpython=$(ls ${PINTENSOR_TEST_LIBPYTHON-} "$(dirname "$(dirname "$(readlink -f "$python")")")"/lib/libpython3.[0-9]*.so \
    /usr/lib/*/libpython3.[0-9]*.so.1.0 "$HOME"/.pyenv/versions/3.[0-9]*/lib/libpython3.[0-9]*.so 2>/dev/null | tail -n 1)
if [[ -n $libpython ]]; then
    home=${libpython%%/lib/*}
    compile embeds.c embeds -L"$top_builddir/.libs" -Wl,-rpath,"$top_builddir/.libs" -lpintensor -ldl
    embeds() { run env PYTHONHOME="$home" timeout 60 "$work/embeds" "$libpython" "$1"; }
    embeds ends
    is 'a program that ends with its Python' "$status $(reports_in "$err")" '0 1'
    has 'what was alive then is held' "$err" 'HELD       1.0 MiB in 1 block from 1 site, alive when exit began'
    embeds frees
    is 'a program that outlives its Python, and frees all: clean' "$status $(reports_in "$err")" '0 0'
    lacks 'and frees its block: nothing is held' "$err" HELD
    embeds 'goes on'
    is 'a program that goes on, and starts Python again' "$status $(reports_in "$err")" '0 1'
    has 'a report: as of now' "$out" 'HELD       2.0 MiB in 1 block from 1 site, alive now'
    has 'at the end' "$err" 'HELD       2.0 MiB in 1 block from 1 site, alive when exit began'
else
    echo '# no Python here that can be embedded'
fi
finish
