#!/usr/bin/env bash
# File and line of C and C++ in `pintensor report`: from the debug information of what ran, if it is still that.
# shellcheck disable=SC2154 # capture() sets status, out and err
. "$(dirname "$0")/lib.sh"
pintensor=$top_builddir/pintensor
[[ $("$pintensor" doctor 2>/dev/null) == *'libdw reads it'* ]] || skip 'built without elfutils/libdwfl.h, or libdw.so.1 is not here'
lockable 8 || skip 'this machine does not let a process lock 8 MiB (ulimit -l unlimited)'
source=$programs/native_lines.cpp
export PINTENSOR_REPORT=/dev/null
line() { grep -n "line: $1 " "$source" | cut -d: -f1; }
build() { # NAME [FLAG…]
    local name=$1
    shift
    compile native_lines.cpp "$name" -O2 -fno-lto "$@" -L"$top_builddir/.libs" "-Wl,-rpath,$top_builddir/.libs" -lpintensor
}
# The report of a run, from the directory of the source, so that names are short; the blocks' lines alone.
places() { # PROGRAM [ARGUMENT]
    rm -rf "$work/tables"
    capture env PINTENSOR_DIR="$work/tables" "$work/$1" ${2+"$2"}
    report_again
}
report_again() {
    capture bash -c 'cd "$1" && exec "$2" report "${@:3}"' - "$programs" "$pintensor" "$work/tables"
    sed -n '/HELD/,/PEAK/s/^                 //p' <<<"$out"
}
wanted="native_lines.cpp:$(line pin)  pin
native_lines.cpp:$(line large)  data::Loader::fill
native_lines.cpp:$(line pin)  pin
native_lines.cpp:$(line small)  data::Loader::fill"

build with
is 'two lines of one function, and what was built into it' "$(places with)" "$wanted"
is 'after a kill' "$(places with kill)" "$wanted"
capture bash -c 'cd "$1" && exec "$2" report --folded "$3"' - "$programs" "$pintensor" "$work/tables"
has 'folded' "$out" "data::Loader::fill (native_lines.cpp:$(line large));pin (native_lines.cpp:$(line pin)) 2097152"
printf 'leak:native_lines.cpp\n' >"$work/suppress"
capture "$pintensor" report --fail-on held --suppressions "$work/suppress" "$work/tables"
is 'suppressed by the name of the file' "$status" 0
capture "$pintensor" report --fail-on held "$work/tables"
is 'which fails without' "$status" 3

# As clang leaves it: no table of which part of the debug information tells of which addresses.
build listless
objcopy --remove-section=.debug_aranges "$work/listless"
is 'without a table of addresses' "$(places listless)" "$wanted"

# The same, told by debug information that lies apart.
build apart
objcopy --only-keep-debug "$work/apart" "$work/apart.debug"
strip "$work/apart"
objcopy --add-gnu-debuglink="$work/apart.debug" "$work/apart"
is 'debug information in a file of its own' "$(places apart)" "$wanted"
ids() { capture "$pintensor" report --json "$work/tables" && grep -o '"id":"[^"]*"' <<<"$out" | sort; }
before=$(ids)
rm "$work/apart.debug"
lacks 'and without that file' "$(report_again)" native_lines.cpp
has 'the object and the symbol' "$(report_again)" 'in apart  '
is 'their ids stay' "$(ids)" "$before"
is 'which are two' "$(sort -u <<<"$before" | wc -l)" 2

# What lies there now is not what ran.
build changed
places changed >/dev/null
build changed -DOTHER -g -Wl,--build-id=0x1234
is 'another program by now: no lines of that' "$(report_again | grep -c native_lines.cpp)" 0
rm "$work/changed"
is 'none at all' "$(report_again | grep -c '^in changed  ')" 2

build without -g0
is 'without debug information' "$(places without | grep -c '^in without  ')" 2
build unmarked -Wl,--build-id=none
is 'without a build ID nothing says that it is the same' "$(places unmarked | grep -c '^in unmarked  ')" 2

# No libdw: a file of that name that is no library.
mkdir "$work/none"
echo >"$work/none/libdw.so.1"
places with >/dev/null
export LD_LIBRARY_PATH=$work/none
is 'no libdw: no lines, and no complaint' "$(report_again | grep -c '^in with  ') $status $err" '2 0 '
capture "$pintensor" doctor
has 'doctor says what to install' "$out" 'libdw1'
finish
