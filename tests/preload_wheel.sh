#!/usr/bin/env bash
# The wheel as somebody installs it: pip, an empty environment, no compiler, no network. Its bridges are preload_prebuilt.sh's,
# its pytest plugin preload_pytest.sh's.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
system=$(PATH=/usr/bin:/bin command -v python3 || echo "$python") # a venv of a venv lacks pip
"$system" -c 'import ensurepip, venv' 2>/dev/null || skip 'Python has no venv to install into (Debian, Ubuntu: apt install python3-venv)'
lockable 4 || skip 'this machine does not let a process lock 4 MiB (ulimit -l unlimited)'

build() { # DIR [OPTION…]
    capture env PINTENSOR_CACHE="$work/setup" bash "$top_srcdir/scripts/wheel" --build="$top_builddir" --bridges= "${@:2}" "$1"
}
build "$work/dist"
is 'it builds' "$status" 0
wheel=$out
build "$work/again"
is 'and again, the same bytes' "$(sha256sum <"$wheel")" "$(sha256sum <"$out")"

"$system" -m venv "$work/venv"
alone() { capture env -i HOME="$work" PATH="$work/venv/bin" "$@"; }
alone pip install --no-index --no-cache-dir --disable-pip-version-check "$wheel"
is 'pip installs it' "$status" 0
package=$(cd "$work/venv" && echo "$PWD"/lib/python3*/site-packages/pintensor)

# The name promises what the files need.
newest=$(find "$package" "$work/venv/bin/pintensor" -type f -exec objdump -T {} + 2>/dev/null | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
level=$(sed -E 's/.*manylinux_([0-9]+)_([0-9]+)_.*/GLIBC_\1.\2/' <<<"$wheel")
is "$newest is what its name promises" "$(printf '%s\n' "$newest" "$level" GLIBC_2.28 | sort -V | tail -n 1)" "$level"
is 'which is that of torch' "$level" GLIBC_2.28
build "$work/strict" --strict
is '--strict has nothing against it' "$status" 0
cat >"$work/newer" <<END
#!/bin/sh
${OBJDUMP:-objdump} "\$@" | sed 's/GLIBC_2.2.5) malloc\$/GLIBC_2.33) malloc/; s/GLIBC_2.2.5) memset\$/GLIBC_2.33) memset/'
END
chmod +x "$work/newer"
OBJDUMP=$work/newer build "$work/newer.d"
is 'one that needs more has a name that says so' "$status ${out##*/}" "0 $(basename "${wheel/2_28/2_33}")"
has 'and a line says why' "$err" 'lib/libpintensor_preload.so needs GLIBC_2.33: memset'
OBJDUMP=$work/newer build "$work/strict" --strict
is '--strict fails then' "$status $out" '1 '
has 'and says so' "$err" 'this is more than manylinux_2_28 has: no wheel'

alone pintensor --version
is 'the command' "$status $out" "0 pintensor $(sed -n 's/^PACKAGE_VERSION = //p' "$top_builddir/Makefile")"
alone python -m pintensor --version
is 'by its module' "$status" 0
alone pintensor run -- sh -c 'exit 3'
is 'PROGRAM cannot be found: its own status, and a line' "$status ${err%%:*}" '127 pintensor'
alone pintensor run -- /bin/sh -c 'exit 3'
is "the program's status" "$status" 3

alone pintensor run -- python "$pythons/module.py"
echo "$out"
is 'the module' "$status $(grep -vc '^ok' <<<"$out")" '0 0'
has 'the report at exit' "$err" 'HELD       100 B in 1 block'
has 'names the line' "$err" 'module.py:'
alone python "$pythons/module.py"
echo "$out"
is 'without the preload' "$status $(grep -vc '^ok' <<<"$out") $err" '0 0 '
alone pintensor run --enable=off -- python -c 'import pintensor as p; print(p.stats().live_blocks, p.report(), p.trim(), p.mark().lost)'
is 'switched off' "$status $out" '0 0  0 0'

is 'its counters are those of the header' \
    "$(sed -n '/^typedef struct pintensor_stats/,/^}/s/^ *uint64_t \([^;]*\);.*/\1/p' "$package/include/pintensor.h" | tr -d , | xargs)" \
    "$("$work/venv/bin/python" -c 'import pintensor; print(*pintensor.Stats._fields)')"
is 'pytest finds the plugin' pintensor.pytest_plugin "$("$work/venv/bin/python" -c '
from importlib.metadata import distribution
print(*(entry.value for entry in distribution("pintensor").entry_points if entry.group == "pytest11"))')"
for file in "$top_srcdir"/python/pintensor/*.py; do
    said=$("$work/venv/bin/python" -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), feature_version=(3, 9))' "$file" 2>&1)
    is "Python 3.9 reads ${file##*/}" "$said" ''
done

# A C program against what the wheel brings.
export PKG_CONFIG_PATH=$package/lib/pkgconfig
if command -v pkg-config >/dev/null; then
    read -ra flags <<<"$(pkg-config --cflags --libs pintensor)"
    # shellcheck disable=SC2086 # CC may hold flags
    said=$(cd "$work" && ${CC:-cc} -Wall -Werror "$programs/linked.c" -o linked "${flags[@]}" 2>&1)
    is 'a C program links' "$said" ''
    stock env LD_LIBRARY_PATH="$package/lib" "$work/linked"
    is 'and runs' "$status $out" "0 version $(pkg-config --modversion pintensor)"
fi

if nm "$top_builddir/jemalloc.a" | grep -q ' U pt_jemalloc_thread$'; then
    alone python -c 'import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).pintensor_trim())' "$package/lib/libpintensor.so.0"
    is 'Python loads the library late' "$status $out" '0 0'
fi

rm "$package/bin/pintensor"
alone pintensor --version
is 'a file that is gone costs one line' "$status $(grep -c . <<<"$err")" '1 1'
has 'that says what to do' "$err" 'install the wheel again'
finish
