#!/usr/bin/env bash
# Where the preload meets an older libc, or another one: no program may fail to start.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"

for object in "$top_builddir/.libs/libpintensor.so" "$preload"; do
    name=${object##*/}
    newest=$(objdump -T "$object" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -1)
    is "$name asks for nothing newer than glibc 2.17" "$(printf '%s\n' GLIBC_2.17 "$newest" | sort -V | tail -1)" GLIBC_2.17
    is "$name needs libc and nothing else" "$(readelf -d "$object" | grep -o '(NEEDED).*')" \
        "$(readelf -d "$object" | grep -o '(NEEDED).*\[libc.so.6\]')"
    has "$name: and there are versions to be looked at" "$newest" GLIBC_2
    # Each would stop a program that has it not.
    for function in $(sed -n 's/^X(\(.*\))$/\1/p' "$top_srcdir/src/base/old_libc.def"); do
        lacks "$name does not ask for $function" " $(nm -D -u "$object" | awk '{ sub("@.*", "", $2); print $2 }' | tr '\n' ' ') " " $function "
    done
done

if ! command -v musl-gcc >/dev/null; then
    echo '# no musl-gcc here (Debian, Ubuntu: apt install musl-tools)'
    finish
fi
musl-gcc -w -D_GNU_SOURCE -I"$top_srcdir/include" "$programs/linker.c" -o "$work/linker" -rdynamic || exit 99
for how in exit _exit quick_exit abort assert; do
    stock "$work/linker" end "$how"
    stocks="$status $err"
    run timeout 60 "$work/linker" end "$how"
    is "musl: $how" "$status $err" "$stocks"
done
run timeout 60 "$work/linker" walk mlock
is 'musl: mlock()' "$status $out$err" '0 locked 0'
run timeout 60 "$work/linker" walk pin
is 'musl: pinning is refused' "$status $out" '0 pinned -1'
is 'in one line' "$(grep -c . <<<"$err")" 1
has 'which says why' "$err" 'this libc'
finish
