#!/usr/bin/env bash
# Whatever keeps the bridge from being built costs one line that says what to do; torch's own allocator serves.
# shellcheck disable=SC2154
. "$(dirname "$0")/bridge.sh"

fails() { # NAME PART…   of the one line
    local name=$1 part
    shift
    is "$name: torch's own serves, and one line says so" "$status $out $(lines)" "0 torch's 1"
    for part in "there is no bridge to torch" 'PINTENSOR_TORCH=off' "$@"; do
        has "$name: it says $part" "$err" "$part"
    done
}

fresh_cache
run env -u CXX PATH=/nowhere "$work/fake_torch" "$cuda" one
fails 'no compiler' "$version" 'no C++ compiler was found' 'Install g++'
is 'no compiler: nothing is left' "$(cached)" bridge.lock
cp /bin/true "$work/busy"
exec 9>>"$work/busy" # a program that is being written cannot be started
run env CXX="$work/busy" PATH=/nowhere "$work/fake_torch" "$cuda" one
exec 9>&-
fails 'a compiler that cannot be started' 'the C++ compiler could not be started' 'ulimit -u'
is 'a compiler that cannot be started: nothing is left' "$(cached)" bridge.lock
run bash -c "exec '$work/fake_torch' '$cuda' one <&- 2>&-"
is 'no stdin, no stderr' "$status $out" '0 ours'
rm -rf "$work/cache"
run env CXX='/nowhere/g++ -pipe' PATH="$PATH" "$work/fake_torch" "$cuda" one
is 'a CXX that is not there: the usual ones serve' "$status $out" '0 ours'

fresh_cache
printf '#!/bin/sh\necho . >>%s/runs\necho "g++: internal error"\nexit 1\n' "$work" >"$work/broken"
chmod +x "$work/broken"
run env CXX="$work/broken" "$work/fake_torch" "$cuda" one
log=$work/cache/pintensor/$(cached | grep '\.log$')
fails 'a compiler that fails' 'the C++ compiler failed' "see $log" 'Delete that file'
is 'a compiler that fails: the log has what it said' "$(<"$log")" 'g++: internal error'
is 'a compiler that fails: nothing else is left' "$(cached | grep -cv '\.log$')" 1
run env CXX="$work/broken" "$work/fake_torch" "$cuda" one
fails 'the next process' 'failed before' "see $log"
is 'the next process: does not try' "$(runs)" 1
rm "$log"
fake_torch
is 'when the log is deleted it does' "$status $out" '0 ours'

fresh_cache
run env CXX='true --' "$work/fake_torch" "$cuda" one
fails 'a compiler that makes nothing' 'the C++ compiler failed'

fresh_cache
run env -u HOME -u XDG_CACHE_HOME "$work/fake_torch" "$cuda" one
fails 'no home' 'neither XDG_CACHE_HOME nor HOME'
touch "$work/file"
fake_torch XDG_CACHE_HOME="$work/file"
fails 'a home that is none' "$work/file/pintensor cannot be made" 'Set XDG_CACHE_HOME'

# Root without the right to pass over modes, or anybody.
bound=()
[[ $EUID != 0 ]] || bound=(setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-dac_override,-dac_read_search)
fresh_cache
mkdir -p "$work/cache/pintensor" && chmod 500 "$work/cache/pintensor"
run "${bound[@]}" "$work/fake_torch" "$cuda" one
fails 'a directory that is read-only' "$work/cache/pintensor" 'cannot be written'
chmod 700 "$work/cache/pintensor"
fake_torch
chmod 500 "$work/cache/pintensor"
run "${bound[@]}" "$work/fake_torch" "$cuda" one
is 'a directory that is read-only, and has it' "$status $out $(lines)" '0 ours 0'
chmod 700 "$work/cache/pintensor"
if [[ $EUID == 0 ]]; then
    chown 65534 "$work/cache/pintensor"
    fake_torch
    fails "another user's directory" "another user's" 'Remove it'
fi

# A torch that is the same but for what it says of itself.
other=$work/torch
mkdir -p "$other/lib"
ln -s "$torch"/lib/* "$other/lib"
ln -s "$torch/include" "$other/include"
export LD_LIBRARY_PATH=$lib:$other/lib
fresh_cache
for unknown in 2.15.0 2.7.1+cu126 3.0.0 2.99.0a0; do
    echo "__version__ = '$unknown'" | sed '1i __all__ = []' >"$other/version.py"
    fake_torch
    fails "torch $unknown" "torch $unknown" 'was not looked at'
done
is 'an unknown torch: nothing is compiled' "$(runs)$(cached)" ''
rm "$other/version.py"
fake_torch
fails 'a torch without a version' 'version.py'
echo "$version" >"$other/build-version"
fake_torch
is "libtorch without Python" "$status $out" '0 ours'
rm "$other/include"
echo "2.14.0" >"$other/build-version"
fake_torch
fails 'a torch without headers' 'headers'
mkdir "$other/include"
cp -rs "$torch"/include/. "$other/include"
for header in "$other"/include/torch/headeronly/version.h "$other"/include/torch/csrc/api/include/torch/version.h; do
    [[ ! -e $header ]] || sed -i 's/\(TORCH_VERSION_MINOR\) [0-9]*$/\1 15/' "$header"
done
fake_torch
fails 'headers of an unknown torch' 'the C++ compiler failed'
has 'headers of an unknown torch: the log says it' "$(cat "$work"/cache/pintensor/*.log)" 'was not looked at'
finish
