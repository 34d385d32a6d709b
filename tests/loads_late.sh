#!/usr/bin/env bash
# libpintensor.so is loaded by a program that runs already: every thread has to have room for its thread-local data, of which glibc
# keeps 1664 bytes for all libraries that come late, and 512 of these for those that can do without.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
compile loads_late.c loads_late -pthread -ldl
library=$top_builddir/.libs/libpintensor.so
late=(timeout 60 "$work/loads_late" "$library")
bytes=$((16#$(readelf -lW "$library" | awk '$1 == "TLS" { print substr($6, 3) }')))

if ! nm "$top_builddir/jemalloc.a" | grep -q ' U pt_jemalloc_thread$'; then
    stock "${late[@]}"
    is 'one plain error, and the program goes on' "$status $out" "0 $library: cannot allocate memory in static TLS block"
    stock env GLIBC_TUNABLES=glibc.rtld.optional_static_tls=4096 "${late[@]}"
    is 'a program that left room for that' "$status $out $(grep '^line' <<<"$err")" '0 loaded
0 failures '
    ((failed == 0)) || finish
    skip "loading late: this build has a jemalloc with thread-local storage ($bytes bytes in all), not the one of scripts/jemalloc"
fi

is "$bytes bytes of thread-local storage" "$((bytes <= 512))" 1
stock "${late[@]}"
is 'eight threads, small stacks, signal handlers, children' "$status $out $(grep '^line' <<<"$err")" '0 loaded
0 failures '
has 'its report' "$err" 'HELD       68.4 KiB in 1 block'
stock "$python" - "$library" <<'END_OF_SCRIPT'
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
create, alloc = library.pintensor_manager_create, library.pintensor_alloc
create.restype, alloc.argtypes = ctypes.c_uint64, [ctypes.c_uint64, ctypes.c_size_t, ctypes.c_void_p]
print(alloc(create(), 100000, ctypes.create_string_buffer(24)))
END_OF_SCRIPT
is 'Python, by ctypes' "$status $out" '0 0'
has 'and its report names the line' "$err" 'HELD       97.7 KiB in 1 block'
run "${late[@]}"
is 'where the preload is, that has the calls too' "$status $out $(grep '^line' <<<"$err")" '0 loaded
0 failures '
finish
