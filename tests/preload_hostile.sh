#!/usr/bin/env bash
# Environments that are against the program: it ends as without the library, and whatever is wrong costs one line.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
compile ends.c ends -ldl -pthread
chmod 755 "$work"
mkdir "$work/empty"
ends=$work/ends

# Lines that are not the report's. A report is one line that tells how long it ran, and those under it.
complaints() { grep -av '^pintensor: .*, ran \|^  ' <<<"$err"; }
ends_well() { # NAME COMPLAINTS [PART…]   as it does without us, with one report
    local name=$1 count=$2 part
    shift 2
    is "$name: it ends as without us, with that many lines and a report" \
        "$status $(complaints | grep -c .) $(reports_in "$err")" "0 $count 1"
    for part in "$@"; do
        has "$name: $part" "$err" "$part"
    done
}

# --- options ---------------------------------------------------------------------------------

long=$(printf '%5000s' '' | tr ' ' A)
run env PINTENSOR_ENABLE=maybe "$ends" return
ends_well 'a value that is none' 1 'PINTENSOR_ENABLE=maybe is not one of on,off; using on'
run env PINTENSOR_STACK= PINTENSOR_IDLE=-1 PINTENSOR_CACHE=5% PINTENSOR_EXITCODE=256 PINTENSOR_FAIL_ON=, \
    PINTENSOR_ON_LIMIT=x PINTENSOR_TORCH=99999999999999999999 PINTENSOR_=x PINTENSOR_report=x "$ends" return
ends_well 'rubbish everywhere: a line each' 9 'PINTENSOR_CACHE=5% is not a whole number from 0 to 100; using 5'
run env PINTENSOR_RECLAIM=$'drop\npintensor: pid 1' PINTENSOR_REUSE=$'\e[31m\xff' $'PINTENSOR_A\nB=1' "$ends" return
ends_well 'what would be several lines, or colour a terminal, is one' 3 'PINTENSOR_RECLAIM=drop?pintensor: pid 1 is not' \
    $'PINTENSOR_REUSE=?[31m? is not one of streams,strict' 'PINTENSOR_A?B ignored'
run env PINTENSOR_STACK="$long" PINTENSOR_"$long"=1 "$ends" return
ends_well 'what is long is cut, the line is not' 2 'AAA... is not one of off,python,full; using python' 'AAA... ignored; did you mean'

# --- where the report goes -------------------------------------------------------------------

cannot='cannot write the report to'
run env PINTENSOR_REPORT="$ends/such/file" "$ends" return
ends_well 'into a directory that cannot be made' 1 "$cannot $ends/such/file, a part of the path is no directory (errno 20): here it is instead"
run env PINTENSOR_REPORT="$work/empty" "$ends" return
ends_well 'into a directory' 1 "$cannot $work/empty, it is a directory (errno 21): here it is instead"
run env PINTENSOR_REPORT=/dev/full "$ends" return
ends_well 'onto a full disk' 1 "$cannot /dev/full, the disk is full (errno 28): here it is instead"
capture bash -c "(ulimit -f 0; LD_PRELOAD='$preload' PINTENSOR_REPORT='$work/file' exec '$ends' return >/dev/null) 2>&1 | cat >&2
    exit \${PIPESTATUS[0]}"
ends_well 'where files may have no bytes' 1 "$cannot $work/file, files may not become that large (errno 27): here it is instead"
run env PINTENSOR_REPORT="/$long" "$ends" return
ends_well 'under a name that is too long' 1 "$cannot /AAA"
mkdir "$work/gone"
cd "$work/gone" && rmdir "$work/gone" || exit 99
run env PINTENSOR_REPORT=file "$ends" return
ends_well 'relative to a directory that is gone' 1 "$cannot file, there is no such directory (errno 2): here it is instead"
cd "$work" || exit 99
run env PINTENSOR_REPORT="$work/empty/%q%%%" "$ends" return
is 'a pattern that is none is a name' "$status $(ls "$work/empty") $err" '0 %q%%% '
run "$ends" return 2>/dev/full
is 'stderr onto a full disk' "$status" 0

# --- the process -----------------------------------------------------------------------------

run env -i LD_PRELOAD="$preload" "$ends" return
ends_well 'no environment at all' 0
run env HOME= XDG_CACHE_HOME= TMPDIR=/nowhere PATH= LANG=xx_YY.KOI8 LC_ALL=zz LANGUAGE=x MALLOC_CONF=rubbish:1 MALLOC_PERTURB_=90 "$ends" return
ends_well 'no home, no path, an odd language' 0
run bash -c "exec <&- >&- 2>&-; '$ends' return"
is 'no files at all' "$status" 0
run bash -c "ulimit -n 4; exec '$ends' return"
ends_well 'one file at most beside the three' 0
run bash -c "ulimit -s 64; exec '$ends' return"
ends_well 'a stack of 64 KiB' 0
if [[ $EUID == 0 ]] && command -v setpriv >/dev/null; then
    cp "$preload" "$work/preload.so"
    capture setpriv --reuid=1 --regid=1 --clear-groups bash -c "ulimit -u 1; LD_PRELOAD='$work/preload.so' exec '$ends' return"
    ends_well 'no second process or thread' 0
    capture setpriv --reuid=1 --regid=1 --clear-groups env LD_PRELOAD="$work/preload.so" PINTENSOR_REPORT="$work/empty/x" "$ends" return
    ends_well 'into a directory of others' 1 "$cannot $work/empty/x, this process may not (errno 13): here it is instead"
fi
if unshare -m mount -t tmpfs none /proc 2>/dev/null; then
    run unshare -m bash -c "mount -t tmpfs none /proc; exec '$ends' return"
    ends_well 'no /proc' 0
fi

# --- a clock that stands still, or flies -------------------------------------------------------

# Nobody reads stderr, which is a full pipe ("full"), or somebody else has its turn and keeps it ("turn").
ends_bounded() { # full|turn PRELOAD
    "$python" - "$@" "$ends" <<'END'
import fcntl, os, struct, subprocess, sys
what, preload, ends = sys.argv[1:]
reader, writer = os.pipe()
if what == "full":
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, bytes(4096))
    except BlockingIOError:
        os.set_blocking(writer, True)
else:
    last_byte = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 2**63 - 2, 1, 0)
    fcntl.fcntl(writer, fcntl.F_SETLK, last_byte)
try:
    print(subprocess.run([ends, "return"], stdout=subprocess.DEVNULL, stderr=writer, timeout=60, env={**os.environ, "LD_PRELOAD": preload}).returncode)
except subprocess.TimeoutExpired:
    print("never")
END
}
compile frozen_clock.c frozen_clock.so -shared -fPIC
for what in full turn; do
    is "it ends: $what" "$(ends_bounded "$what" "$work/frozen_clock.so:$preload")" 0
    is "it ends, with ours first: $what" "$(ends_bounded "$what" "$preload:$work/frozen_clock.so")" 0
done

compile harm.c harm -L"$top_builddir/.libs" -Wl,-rpath,"$top_builddir/.libs" -lpintensor -lpthread -ldl
compile frozen_clock.c flying_clock.so -shared -fPIC -DSTEP=700
for both in "$work/"{frozen,flying}"_clock.so:$preload" "$preload:$work/frozen_clock.so"; do
    out=$(LD_PRELOAD=$both "$work/harm" 'much waits' 2>"$work/err") && status=0 || status=$?
    [[ $both == *flying* ]] || is 'our thread is there' "$out" '2 threads' # where the time flies nothing waits for long
    [[ $status -lt 200 ]] && ok "and sleeps: $status ms of CPU in a second" || not_ok "our thread keeps a core busy: $status ms or more of a second"
    LD_PRELOAD=$both PINTENSOR_EVERY=1 "$work/harm" 'much waits' 2>"$work/err" >/dev/null || true
    is 'a report each second, and the last' "$(grep -c '; peak ' "$work/err")" 2
done

# --- the address sanitizer of gcc, as the README has it --------------------------------------

asan=$(gcc -print-file-name=libasan.so 2>/dev/null)
if [[ $asan == /* ]] && gcc -O1 -fsanitize=address "$programs/ends.c" -I"$top_srcdir/include" -o "$work/asan" -ldl -pthread 2>/dev/null; then
    run "$work/asan" return
    is 'under any preload it refuses to start' "$status" 1
    has 'and says why' "$err" 'ASan runtime does not come first in initial library list'
    run env ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 "$work/asan" return
    ends_well 'unless it does not look' 0
    run env ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD="$asan:$preload" "$work/asan" return
    ends_well 'or comes first' 0
fi
finish
