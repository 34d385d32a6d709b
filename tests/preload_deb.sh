#!/usr/bin/env bash
# The Debian package: it builds from the archive that `make dist` makes, holds what `make install` installs, and what is in it works.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
command -v dh dpkg-buildpackage &>/dev/null || skip 'nothing builds Debian packages here (Debian, Ubuntu: apt install debhelper)'

capture env -u MAKEFLAGS -u MFLAGS -u LD_PRELOAD bash "$top_srcdir/scripts/deb" --build="$top_builddir" "$work/dist"
is 'it builds' "$status" 0
[[ $status == 0 ]] || tail -n 20 <<<"$out$err"
package=$(echo "$work"/dist/pintensor_*_amd64.deb)
is 'the source is beside it' "$(cd "$work/dist" && compgen -G 'pintensor_*.dsc' | wc -l)" 1

root=$work/root
dpkg -x "$package" "$root"
make -s -C "$top_builddir" install DESTDIR="$work/make" prefix=/usr libdir="/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)" &>/dev/null
installed() { (cd "$1" && find usr -not -type d -not -name '*.la' -not -path 'usr/share/doc/*' | sed 's/\.gz$//' | sort); }
is 'it holds what `make install` installs' "$(installed "$root")" "$(installed "$work/make")"
is 'and the documents' "$(cd "$root/usr/share/doc/pintensor" && compgen -G 'README.md*' | wc -l)" 1

preload=$(echo "$root"/usr/lib/*/libpintensor_preload.so)
run "$python" "$pythons/pin.py" return
has 'its preload serves and reports' "$err" '; peak '
is 'its command is of this version' "$("$root/usr/bin/pintensor" --version)" "$("$top_builddir/pintensor" --version)"
finish
