#!/usr/bin/env bash
# What the two libraries show to and want from the rest of the process.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
library=$top_builddir/.libs/libpintensor.so

exported() { nm -D --defined-only "$1" | awk '{ print $3 }' | sort; }
named_in() { sed -n 's/^    \([A-Za-z0-9_]*\);$/\1/p' | sort; }
header=$top_srcdir/include/pintensor.h
doors=$top_srcdir/preload/symbols.def

is 'libpintensor exports what the header declares' "$(exported "$library")" \
    "$(sh "$top_srcdir/scripts/gen-exports" "$header" | named_in)"
is 'the preload exports the header and the symbols table' "$(exported "$preload")" \
    "$(sh "$top_srcdir/scripts/gen-exports" "$header" "$doors" | named_in)"
# gen-exports is asked above, so what it prints has to be right by itself.
is 'every call of the header is exported' \
    "$(exported "$library" | wc -l)" "$(grep -c '^PINTENSOR_API ' "$header")"
is 'every line of the symbols table is exported' \
    "$(exported "$preload" | grep -vc '^pintensor_')" "$(grep -c '^X(' "$doors")"

# A door that the table forgot would be defined, hidden, and bind nobody.
shopt -s nullglob
is 'every door is in the symbols table' \
    "$(readelf -sW "$top_builddir"/preload/.libs/*.o "$top_builddir"/preload/bridge/.libs/*.o | awk '$5 == "GLOBAL" && $6 == "DEFAULT" && $7 != "UND" { print $8 }' | sort)" \
    "$(exported "$preload" | grep -v '^pintensor_')"

for object in "$library" "$preload"; do
    name=${object##*/}
    is "$name: no version node, which would keep a preload from binding" "$(readelf -V "$object" | grep -c 'Version definition')" 0
    needs=$(ldd "$object" 2>&1)
    is "$name: direct and indirect dependencies are libc's alone" \
        "$(awk '{ sub(".*/", "", $1); print $1 }' <<<"$needs" | grep -vE '^(linux-vdso|libc|libm|libgcc_s|libdl|libpthread|ld-linux-x86-64)\.so')" ''
    lacks "$name: no dependency is missing" "$needs" 'not found'
    lacks "$name: no runpath" "$(readelf -d "$object")" PATH
    has "$name: stays loaded" "$(readelf -d "$object")" NODELETE
done

# jemalloc's malloc is the one that such a call would reach, and what libc allocated must not be freed by it. The command's
# own objects (pintensor-*.o) are not part of the libraries.
objects=("$top_builddir"/src/*/.libs/*.o "$top_builddir"/preload/.libs/*.o "$top_builddir"/preload/bridge/.libs/*.o)
is 'the objects are there to be looked at' "$((${#objects[@]} >= 20))" 1
is 'no call of the malloc family in our objects' \
    "$(nm -A -u "${objects[@]}" | grep -E ' U (malloc|calloc|realloc|reallocarray|free|posix_memalign|aligned_alloc|memalign|valloc|pvalloc|strn?dup|v?asprintf|getline|getdelim|open_memstream|fopen|opendir|realpath|qsort)(@.*)?$')" ''
finish
