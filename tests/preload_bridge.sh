#!/usr/bin/env bash
# torch's own pinned memory under the preload, whole processes with a stand-in for torch's CUDA library: the bridge is built
# once, takes over, and does as the interface asks. Its streams and graphs on a device are scripts/gpu-test's.
# shellcheck disable=SC2154
. "$(dirname "$0")/bridge.sh"
fresh_cache

way=facts fake_torch
echo "$out"
is "it ends well, and says nothing but its report and its child's" "$status $(grep -vc '^pintensor: .*, ran \|^  ' <<<"$err")" '0 0'
lacks 'all of it holds' "$out" 'not ok'
is 'the bridge was built' "$(runs)" 1
bridge=$(cached | grep '\.so$')
is 'its name has the version in full' "${bridge%-*}" "bridge-$version"
is 'nothing else is left there' "$(cached | grep -v '\.so$')" bridge.lock
is 'nobody else may write to it' "$(stat -c %a "$work/cache/pintensor" "$work/cache/pintensor/$bridge" | xargs)" '700 700'
is 'it shows two symbols' "$(nm -D --defined-only "$work/cache/pintensor/$bridge" 2>/dev/null | awk '$2 == "T" { print $3 }' | xargs)" \
    'pintensor_bridge_start pintensor_bridge_try'

fake_torch
is 'the next process finds it' "$status $out $(runs)" '0 ours 1'
way=keep fake_torch PINTENSOR_RECLAIM=exit
is 'a dropped tensor of torch is nothing lost' "$status $(grep -c RECLAIMED <<<"$err")" '0 0'
has 'a kept one is held, once' "$err" 'HELD       1.0 MiB in 1 block from 1 site'
has 'and whose it is' "$err" 'from torch,'

way=registry fake_torch
echo "$out"
is "torch's registry" "$status $(grep -c '^ok' <<<"$out")" '0 3'
way=before fake_torch
echo "$out"
is 'memory that was locked before CUDA came' "$status $(grep -c '^ok' <<<"$out")" '0 5'
way=context fake_torch
is 'where a context is, torch is not asked for one' "$status $out" '0 ok - where a context is, torch is not asked for one'

for code in 801 800 1 304 2; do
    way=refused fake_torch FAKE_CUDA_FAIL="1:$code"
    is "a driver that registers nothing (error $code): torch's serves, nothing stays locked" "$status $out" "0 torch's torch's 0 0"
    is "it costs one line (error $code)" "$(grep -vc '^pintensor: .*, ran \|^  ' <<<"$err") $(grep -c "registers no memory (its error $code)" <<<"$err")" '1 1'
done
if [[ $EUID == 0 ]] && command -v prlimit setpriv >/dev/null; then
    capture limited 65536:65536 env LD_PRELOAD="$preload" FAKE_CUDA_FAIL=1:801 "$work/fake_torch" "$cuda" refused
    is "the same with little memlock" "$status $out" "0 torch's torch's 0 0"
fi
way=refused fake_torch FAKE_CUDA_MOST=4194304
is "too much for the driver: torch's serves, nothing stays locked" "$status $out" "0 torch's torch's 0 0"
way=refused fake_torch FAKE_CUDA_ADDRESSES=2
is "a device with other addresses: torch's serves" "$status $out" "0 torch's torch's 0 0"
is 'it costs one line' "$(grep -c . <<<"$err") $(grep -c 'cannot use registered memory' <<<"$err")" '1 1'

way=limited fake_torch FAKE_CUDA_MOST=4194304 PINTENSOR_LIMIT=12M
has "beyond PINTENSOR_LIMIT: an error, and not torch's" "$status $out" "0 ours torch's
pintensor: cannot lock 7.0 MiB more memory: this process may have 12.0 MiB and has 6.0 MiB (PINTENSOR_LIMIT=12M). Most of it: 6.0 MiB in 6 blocks from "

compile linker.c plugin.so -D_GNU_SOURCE -DPLUGIN -shared -fPIC -pthread
way=loading plugin=$work/plugin.so fake_torch timeout 60
is "while a library is loaded that waits for a pin, torch's own serves; afterwards ours does" "$status $out $(lines)" \
    "0 ok - something is locked
torch's
ours 0"

stock "$work/fake_torch" "$cuda" one
is 'without the preload' "$status $out" "0 torch's"
fake_torch PINTENSOR_TORCH=off
is 'PINTENSOR_TORCH=off' "$status $out $err" "0 torch's "
fake_torch PINTENSOR_ENABLE=off
is 'PINTENSOR_ENABLE=off' "$status $out $err" "0 torch's "

fresh_cache
fake_torch PINTENSOR_TORCH=off
library=- fake_torch
is 'a build without CUDA: nothing is compiled' "$status $err$(runs)$(cached)" '0 '

# --- eight ranks at once ---------------------------------------------------------------------

fresh_cache
for rank in 1 2 3 4 5 6 7 8; do
    RANK=$rank CXX=$work/counting LD_PRELOAD=$preload "$work/fake_torch" "$cuda" one >"$work/rank$rank" 2>"$work/err$rank" &
done
wait
is 'eight ranks: all are served' "$(sort "$work"/rank? | uniq -c | xargs)" '8 ours'
is 'eight ranks: one builds' "$(runs)" 1
is 'eight ranks: no complaint' "$(grep -h 'no bridge' "$work"/err?)" ''

# --- a cache that is not as it was -----------------------------------------------------------

file=$work/cache/pintensor/$(cached | grep '\.so$')
truncate -s 20000 "$file"
fake_torch
is 'a file cut short is built anew' "$status $out $(runs)" '0 ours 2'
printf X | dd of="$file" bs=1 seek=9000 conv=notrunc status=none
fake_torch
is 'so is one with a wrong byte' "$status $out $(runs)" '0 ours 3'
chmod g+w "$file"
fake_torch
is 'what others may write to is not loaded' "$status $out $(lines) $(runs)" "0 torch's 1 3"
has 'and it is named' "$err" "others may write to $file"
chmod g-w "$file"
chmod o+w "$work/cache/pintensor"
fake_torch
is 'nor from where others may write to' "$status $out $(lines)" "0 torch's 1"
chmod o-w "$work/cache/pintensor"
fake_torch
is 'then all is well again' "$status $out $(lines)" '0 ours 0'

# Headers of another torch, first in all that steers a compiler; and what else would get into it.
other=$work/other
mkdir -p "$other/c10/core"
sed 's/^  virtual DataPtr allocate(size_t n) = 0;/  virtual void other_torch() const {}\n&/' "$torch/include/c10/core/Allocator.h" >"$other/c10/core/Allocator.h"
fresh_cache
fake_torch CPATH="$other" CPLUS_INCLUDE_PATH="$other" C_INCLUDE_PATH="$other" LIBRARY_PATH="$other" COMPILER_PATH="$other" \
    GCC_EXEC_PREFIX="$other/" CCACHE_PREFIX=/nowhere/wrapper
is 'what steers a compiler does not reach it' "$status $out $(runs) $(lines)" '0 ours 1 0'
fresh_cache
fake_torch CXX="$work/counting -I$other"
is "one that does not fit all the same: torch's serves" "$status $out $(lines)" "0 torch's 1"
has 'and the line says so' "$err" "what the C++ compiler made does not fit it: see $work/cache/pintensor/bridge-$version"
is 'it is not kept' "$(cached | sed 's/.*\.//' | sort | xargs)" 'lock log'
fake_torch
is 'and not made again' "$status $out $(lines) $(runs)" "0 torch's 1 1"
mkdir -p "$other/torch/headeronly"
cp "$torch/include/torch/headeronly/version.h" "$other/torch/headeronly" 2>/dev/null &&
    sed -i 's/"\([0-9.]*\)\.[0-9]*"/"\1.99"/' "$other/torch/headeronly/version.h"
if [[ -e $other/torch/headeronly/version.h ]]; then
    fresh_cache
    fake_torch CXX="$work/counting -I$other"
    is "headers of another version: torch's serves" "$status $out $(lines)" "0 torch's 1"
    has 'and the log says why' "$(cat "$work"/cache/pintensor/*.log)" 'headers of another torch than the one loaded'
fi

fresh_cache
way=threads fake_torch
is 'eight threads at once' "$status $out $(runs) $(lines)" '0 ours 1 0'
fresh_cache
way=ignore fake_torch
is 'a program that ignores SIGCHLD' "$status $out $(runs)" '0 ours 1'
fresh_cache
fake_torch XDG_CACHE_HOME= HOME="$work/cache/home"
is 'HOME is enough' "$status $out" '0 ours'
is 'and what was missing of it is made' "$(cd "$work/cache/home" && echo .cache/pintensor/*.so)" ".cache/pintensor/$bridge"
finish
