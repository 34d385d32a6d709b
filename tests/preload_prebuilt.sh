#!/usr/bin/env bash
# Bridges that lie beside the preload, as the wheel has them: loaded without a compiler and without a cache, once they have been
# seen to fit; and what happens where they do not.
# shellcheck disable=SC2154
. "$(dirname "$0")/bridge.sh"

capture env PINTENSOR_CACHE="$work/setup" bash "$top_srcdir/scripts/wheel" --build="$top_builddir" --bridges="$torch" "$work/dist"
is 'the wheel builds' "$status" 0
"$python" -m zipfile -e "$out" "$work/wheel"
library_dir=$work/wheel/pintensor/lib beside=$work/wheel/pintensor/lib/pintensor
chmod +x "$beside/try-bridge"
preload=$library_dir/libpintensor_preload.so
bridge=$(cd "$beside" && echo bridge-torch-*.so)
minor=$(cut -d. -f1,2 <<<"$version")
is 'one bridge, for this torch' "${bridge%-*}" "bridge-torch-$minor"
mv "$beside/try-bridge" "$beside/trying"
printf '#!/bin/sh\necho . >>%s/tries\nexec %s/trying "$@"\n' "$work" "$beside" >"$beside/try-bridge"
chmod +x "$beside/try-bridge"
tries() { cat "$work/tries" 2>/dev/null | grep -c .; }
fresh() { fresh_cache && rm -f "$work/tries"; }

bare() { run env -u CXX "$@" PATH=/nowhere "$work/fake_torch" "$cuda" "${way:-one}"; } # no compiler is found there
fresh
bare
is 'it serves, without a compiler' "$status $out $(lines) $(tries)" '0 ours 0 1'
is 'that it fits is all that is kept' "$(cached | sed 's/.*\.//')" fits
bare
is 'the next process tries nothing' "$status $out $(lines) $(tries)" '0 ours 0 1'
way=facts bare
is 'all that is asked of a bridge holds' "$status $(grep -c '^not ok' <<<"$out")" '0 0'
touch -d '1 hour ago' "$beside/$bridge"
bare
is 'another file is tried' "$status $out $(tries)" '0 ours 2'
chmod g+w "$work"/cache/pintensor/*.fits
bare
is 'what others may have written is not believed' "$status $out $(tries)" '0 ours 3'

fresh
bare -u HOME -u XDG_CACHE_HOME
is 'no cache is needed' "$status $out $(lines) $(tries)" '0 ours 0 1'
fresh
mkdir "$work/mine" && chmod 777 "$work/mine"
mkdir "$work/mine/pintensor" && chmod 777 "$work/mine/pintensor"
bare XDG_CACHE_HOME="$work/mine"
is 'nor one that others may write to' "$status $out $(lines) $(tries) $(ls "$work/mine/pintensor")" '0 ours 0 1 '
mkdir "$work/links" && ln -s "$preload" "$work/links/preload.so"
run env -u CXX PATH=/nowhere LD_PRELOAD="$work/links/preload.so" "$work/fake_torch" "$cuda" one
is 'a link to the preload' "$status $out $(lines)" '0 ours 0'

fresh
for rank in 1 2 3 4 5 6 7 8; do
    RANK=$rank PATH=/nowhere LD_PRELOAD=$preload "$work/fake_torch" "$cuda" one >"$work/rank$rank" 2>"$work/err$rank" &
done
wait
is 'eight ranks at once' "$(sort "$work"/rank? | uniq -c | xargs) $(cat "$work"/err? | grep -c 'no bridge')" '8 ours 0'
is 'and nothing is left over' "$(cached | sed 's/.*\.//')" fits

# --- one that will not do: the compiler is asked, as if there were none ------------------------

compiled() { # NAME
    fake_torch
    is "$1: one is compiled" "$status $out $(lines) $(runs)" '0 ours 0 1'
    fake_torch
    is "$1: and found again" "$status $out $(lines) $(runs)" '0 ours 0 1'
}
cp "$beside/$bridge" "$work/good"
fresh
truncate -s 20000 "$beside/$bridge"
compiled 'cut short'
is 'cut short: it was not even tried' "$(tries)" 0
bare
is 'cut short: what was compiled is found without a compiler' "$status $out $(lines)" '0 ours 0'

fresh
echo 'void nowhere(void); __attribute__((constructor)) static void start(void) { nowhere(); }' >"$work/nowhere.c"
${CC:-cc} -shared -fPIC "$work/nowhere.c" -o "$beside/$bridge"
"$python" "$top_srcdir/scripts/wheel.d/bridge.py" seal "$beside/$bridge"
compiled 'what cannot be loaded'
fresh
bare
is 'what cannot be loaded, and no compiler' "$status $out $(lines)" "0 torch's 1"

cp "$work/good" "$beside/$bridge"
fresh
printf '#!/bin/sh\necho torch does not come to its functions\nexit 1\n' >"$beside/try-bridge"
compiled 'what does not fit'
fresh
rm "$beside/try-bridge"
bare
is 'where programs cannot be started nothing speaks against it' "$status $out $(lines)" '0 ours 0'
mv "$beside/trying" "$beside/try-bridge"

# The headers of what is no release may be any.
mkdir "$work/other"
ln -s "$torch/lib" "$torch/include" "$work/other"
sed "s/^__version__ = .*/__version__ = '${version%%+*}a0+git1234'/" "$torch/version.py" >"$work/other/version.py"
fresh
LD_LIBRARY_PATH=$lib:$work/other/lib bare
is 'a torch that is no release' "$status $out $(lines)" "0 torch's 1"
has 'is compiled for' "$err" "a0+git1234, whose pinned memory stays its own: no C++ compiler was found"
finish
