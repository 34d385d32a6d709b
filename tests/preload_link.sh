#!/usr/bin/env bash
# An installed copy, as a program's author meets it: header, pkg-config, library; no preload.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
root=$work/root

# A make of its own: it must not wait for the one that runs the tests.
if ! env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS "${MAKE:-make}" -s -C "$top_builddir" install DESTDIR="$root" >"$work/log" 2>&1; then
    not_ok 'make install DESTDIR' "$(tail "$work/log")"
    finish
fi
ok 'make install DESTDIR'

pc=$(find "$root" -name pintensor.pc)
export PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_PATH=${pc%/*} PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1
read -ra flags <<<"$(pkg-config --cflags --libs pintensor)"
is 'pintensor.pc: the version' "$(pkg-config --modversion pintensor)" \
    "$(sed -n "s/^PACKAGE_VERSION = //p" "$top_builddir/Makefile")"
libdir=$root$(PKG_CONFIG_SYSROOT_DIR='' pkg-config --variable=libdir pintensor)

# The source tree must not help.
cp "$programs/linked.c" "$work/linked.c"
cd "$work" || exit 99
said=$(${CC:-cc} -Wall -Wextra -Werror -pedantic linked.c -o linked "${flags[@]}" 2>&1)
is 'a C program compiles and links' "$said" ''
stock env LD_LIBRARY_PATH="$libdir" ./linked
is 'it runs' "$status $out" "0 version $(PKG_CONFIG_SYSROOT_DIR='' pkg-config --modversion pintensor)"
is 'the report names the symbol of the leak' "$(normalise "$err")" 'pintensor: 293.0 KiB held at exit, none known to be lost; on HOST, linked (pid N), ran N s; peak 1.0 MiB locked for 1.0 MiB asked
  fix: linked +0xN: alive until the end; if it need not be, free it with pintensor_free() when it is done with
  HELD       293.0 KiB in 1 block (296.0 KiB locked) from 1 site, alive when exit began: given back now
             293.0 KiB in 1 block (296.0 KiB locked), bytes[300000] from the C interface, thread N, oldest N s
                 in OBJECT
  The same peak takes 1.0 MiB rounded to powers of two. 1 of 2 blocks came from memory locked before.'
has 'symbol and object' "$err" 'in linked  '

said=$(${CC:-cc} -rdynamic linked.c -o dynamic "${flags[@]}" 2>&1)
stock env LD_LIBRARY_PATH="$libdir" ./dynamic
has 'with -rdynamic the function is named' "$err" 'in dynamic  forgetful+0x'

for standard in c99 c11 gnu17; do
    said=$(echo '#include <pintensor.h>' | ${CC:-cc} -std=$standard -Wall -Wextra -Werror -pedantic -fsyntax-only -xc - "${flags[@]}" 2>&1)
    is "the header is $standard" "$said" ''
done
for standard in c++11 c++20; do
    said=$(echo '#include <pintensor.h>' | "${CXX:-g++}" -std=$standard -Wall -Wextra -Werror -pedantic -fsyntax-only -xc++ - "${flags[@]}" 2>&1)
    is "the header is $standard" "$said" ''
done

installed=$(cd "$root" && find . -type f -o -type l | sed 's#.*/##' | sort)
for file in pintensor.h pintensor.pc libpintensor.so libpintensor_preload.so; do
    has "$file is installed" "$installed" "$file"
done
lacks 'the core alone is not' "$installed" libcore
env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS "${MAKE:-make}" -s -C "$top_builddir" uninstall DESTDIR="$root" >"$work/log" 2>&1
is 'make uninstall leaves no file' "$(find "$root" -type f -o -type l)" ''
finish
