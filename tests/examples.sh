#!/usr/bin/env bash
# The examples, each built against an installed copy as its reader would, and run; and what else is installed for C and
# C++: static library, CMake's files, man pages, headers.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
lockable 16 || skip 'this machine does not let a process lock 16 MiB (ulimit -l unlimited)'
root=$work/root
header=$top_srcdir/include/pintensor.h

is "README's program is the example's" \
    "$(sed -n '/^```c$/,/^```$/{/^```/d;p}' "$top_srcdir/README.md")" "$(<"$top_srcdir/examples/c/pinned.c")"

# A make of its own: it must not wait for the one that runs the tests.
own_make() { env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS "${MAKE:-make}" -s "$@"; }
if ! own_make -C "$top_builddir" install DESTDIR="$root" >"$work/log" 2>&1; then
    not_ok 'make install DESTDIR' "$(tail "$work/log")"
    finish
fi
pc=$(find "$root" -name pintensor.pc)
libdir=${pc%/pkgconfig/*}
prefix=$root$(sed -n 's/^prefix=//p' "$pc")
include=$(dirname "$(find "$root" -name pintensor.h)")
cp -r "$top_srcdir/examples" "$work/examples" # the source tree must not help
chmod -R u+w "$work/examples"

# built NAME COMMAND…   says what went wrong, and whether there is something to run.
built() {
    local name=$1
    shift
    if "$@" >"$work/log" 2>&1; then ok "$name"; else not_ok "$name" "$(tail -n 30 "$work/log")"; return 1; fi
}

# ---- C, with pkg-config and make ----
export PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_PATH=${pc%/*} PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1
if built 'c: make' own_make -C "$work/examples/c" CC="${CC:-cc}"; then
    stock env LD_LIBRARY_PATH="$libdir" "$work/examples/c/pinned"
    is 'c: it runs' "$status $out" '0 3145728 bytes, locked: yes'
fi
if built 'c: make static' own_make -C "$work/examples/c" CC="${CC:-cc}" static; then
    stock "$work/examples/c/pinned-static"
    is 'c: the static one runs by itself' "$status $out" '0 3145728 bytes, locked: yes'
    lacks 'c: and needs no library of ours' "$(ldd "$work/examples/c/pinned-static")" pintensor
fi

# ---- the static library ----
# shellcheck disable=SC2086 # CC may hold flags
built 'static: with -static-libgcc' ${CC:-cc} -static-libgcc -I"$include" "$programs/linked.c" -o "$work/linked" \
    "$libdir/libpintensor.a" -lpthread -ldl
stock "$work/linked"
is 'static: it reports' "$status $(reports_in "$err")" '0 1'
is 'static: the public calls are all that is seen' \
    "$(nm -g --defined-only "$libdir/libpintensor.a" | awk 'NF == 3 { print $3 }' | sort)" \
    "$(sh "$top_srcdir/scripts/gen-exports" "$header" | sed -n 's/^    \(.*\);$/\1/p' | sort)"
is 'static: what it wants is libc'"'s" "$(nm -u "$libdir/libpintensor.a" | grep -E ' U (pt_|je_|jemalloc|malloc|mallocx|_Zn)')" ''

# ---- man pages ----
man=$(dirname "$(find "$root" -name pintensor.3)")
calls=$(sed -n 's/^PINTENSOR_API .*[ *]\(pintensor_[a-z_]*\)(.*/\1/p' "$header")
page=$(sed 's/\\-/-/g' "$man/pintensor.3")
is 'man: each call has a page' "$(cd "$man" && ls pintensor_*)" "$(sed 's/$/.3/' <<<"$calls" | sort)"
missing=''
for call in $calls; do
    [[ $page == *"$call("* && $(<"$man/$call.3") == '.so man3/pintensor.3' ]] || missing+=" $call"
done
is 'man: which shows it' "$missing" ''
is 'man: every error' "$(grep -o '^\.B PINTENSOR_E[A-Z_]* (-[0-9]*)' <<<"$page")" \
    "$(sed -n 's/^ *X(\([A-Z_]*\), \(-[0-9]*\), .*/.B PINTENSOR_E\1 (\2)/p' "$header")"
sections=$(sed -n 's/^\/\* ---- \(.*\) ---- \*\/$/.SH \U\1/p' "$header")
is 'man: the sections of the header' "$(sed -n '1,/^\.SH ERRORS$/d; s/^\.SH/&/p' <<<"$page" | sed '$d')" "$sections"
lacks 'man: no comment marks' "$(grep -v '^\\fB' <<<"$page")" '*/'
if command -v mandoc >/dev/null; then
    is 'man: nothing to complain of' "$(mandoc -T lint -W warning "$man/pintensor.3" | grep -v 'missing date')" ''
fi

# ---- C++, with CMake ----
# shellcheck disable=SC2086
is 'pintensor.hpp is C++17 without torch' "$(echo '#include <pintensor.hpp>' |
    ${CXX:-g++} -std=c++17 -Wall -Wextra -Wshadow -Werror -pedantic -fsyntax-only -xc++ -I"$include" - 2>&1)" ''
is 'dlpack.h is C99' "$(echo '#include <pintensor/dlpack.h>' |
    ${CC:-cc} -std=c99 -Wall -Wextra -Werror -pedantic -fsyntax-only -xc -I"$include" - 2>&1)" ''
cmake_builds() { # NAME PREFIXES
    local dir=$work/examples/$1
    built "$1: cmake" cmake -S "$dir" -B "$dir/build" -DCMAKE_PREFIX_PATH="$2" &&
        built "$1: build" own_make -C "$dir/build"
}
if ! cmake --version >/dev/null 2>&1; then
    echo '# no cmake: its examples are not built'
else
    if cmake_builds cmake "$prefix"; then
        for program in pinned_copy pinned_copy_static; do
            stock "$work/examples/cmake/build/$program" "$libdir/libpintensor.a"
            size=$(stat -c %s "$libdir/libpintensor.a")
            blocks=$((size / 65536 + 1 + (size % 65536 > 0)))
            is "cmake: $program" "$status $out" "0 $size bytes in $blocks blocks, $blocks alive"
        done
    fi
    accepts() { # VERSION
        mkdir -p "$work/version"
        printf 'cmake_minimum_required(VERSION 3.16)\nproject(x LANGUAGES NONE)\nset(pintensor_FIND_QUIETLY 1)\nadd_library(pintensor::pintensor INTERFACE IMPORTED)\nfind_package(pintensor %s REQUIRED)\n' \
            "$1" >"$work/version/CMakeLists.txt"
        cmake -S "$work/version" -B "$work/version/build" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null 2>&1
    }
    version=$(sed -n 's/^PACKAGE_VERSION = //p' "$top_builddir/Makefile")
    said=''
    for asked in '' "${version%.*}" "$version" 0.0 "${version%.*}.99" 9.0; do
        accepts "$asked" && said+=" '$asked'"
    done
    is 'cmake: the versions that fit' "$said" " '' '${version%.*}' '$version'"
fi

# ---- numpy and torch ----
if [[ ! -x $torch_python ]]; then
    echo '# PINTENSOR_TEST_PYTHON is not set: the examples with torch and numpy are not run'
    finish
fi
run "$torch_python" "$work/examples/numpy/pinned.py"
is 'numpy: it runs' "$status $out" '0 (10, 300) float32 1500.0 True'
stock "$torch_python" "$work/examples/numpy/pinned.py"
is 'numpy: without the preload it says so' "$status $err" '1 try: pintensor run -- python pinned.py'
run "$torch_python" "$pythons/dlpack.py" "$work/examples/numpy"
echo "$out"
is 'dlpack: to the last one' "$status $(tail -n 1 <<<"$out")" '0 ok - at the end nothing is alive'
lacks 'dlpack: no leak is told of' "$err" RECLAIMED
lacks 'dlpack: and no misuse' "$err" 'warning: free('

torch=$("$torch_python" -c 'import os, torch; print(os.path.dirname(torch.__file__))')
if cmake --version >/dev/null 2>&1 && cmake_builds torch "$prefix;$torch/share/cmake"; then
    stock "$work/examples/torch/build/pinned_tensors"
    is 'torch: it runs' "$status $out" '0 sum 8000, locked: yes'
fi

# A module as Python loads it: compiled as DeepSpeed's ops are, with our folder first, and not linked with pintensor.
python_h=$("$torch_python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
# shellcheck disable=SC2086
built 'drop-in: build' ${CXX:-g++} -std=c++20 -shared -fPIC -Wall -Wextra -isystem "$torch/include" \
    -isystem "$torch/include/torch/csrc/api/include" -isystem "$python_h" -I"$include" -I"$include/pintensor" \
    "$programs/drop_in.cpp" -o "$work/drop_in.so" -L"$torch/lib" -ltorch -ltorch_cpu -lc10
run "$torch_python" "$pythons/drop_in.py" "$work/drop_in.so"
echo "$out"
is 'drop-in: to the last one' "$status $(tail -n 1 <<<"$out")" '0 ok - who drops without free() is told of'
finish
