#!/usr/bin/env bash
# The dynamic linker's locks: whoever pins, locks or ends waits for none of them, whichever thread or parent holds them. And
# other preloads that stand before its functions.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
compile linker.c linker -D_GNU_SOURCE -rdynamic -pthread -ldl
compile linker.c plugin.so -D_GNU_SOURCE -DPLUGIN -shared -fPIC -pthread
compile fake_cuda.c libcuda.so.1 -shared -fPIC -pthread
compile wraps_dlsym.c wraps.so -D_GNU_SOURCE -shared -fPIC -ldl
compile locking_malloc.c locking_malloc -fno-builtin
export LD_LIBRARY_PATH=$work
linker=(timeout 60 "$work/linker")

run "${linker[@]}" load "$work/plugin.so" pin
is 'a constructor waits for a thread that pins' "$status $out" '0 pinned 0
loaded'
has 'and its site is named' "$err" 'in linker  '
run env PINTENSOR_STACK=full "${linker[@]}" load "$work/plugin.so" pin
is 'the same, which records native stacks' "$status $out" '0 pinned 0
loaded'
run "${linker[@]}" load "$work/plugin.so" mlock
is 'a constructor waits for a thread that calls mlock()' "$status $out" '0 locked 0
loaded'
run "${linker[@]}" walk pin
is 'who walks the list of objects waits for a thread that pins' "$status $out" '0 pinned 0'
run "${linker[@]}" walk mlock
is 'or calls mlock()' "$status $out" '0 locked 0'
run "${linker[@]}" driver "$work/plugin.so" "$work/libcuda.so.1"
is 'a constructor waits for a thread that pins, with CUDA: registered afterwards' "$status $out" '0 pinned 0
loaded
pinned 0, 1 registered'

for how in exit _exit quick_exit abort assert; do
    wanted=$([[ $how == a* ]] && echo 134 || echo 7)
    run "${linker[@]}" end "$how"
    is "$how without a pin" "$status" "$wanted"
    if [[ $how != exit ]]; then # which itself waits for the linker
        run "${linker[@]}" load "$work/plugin.so" "$how"
        is "$how while a constructor waits" "$status" "$wanted"
    fi
    for place in fork\ "$work/plugin.so" fork-walk; do
        # shellcheck disable=SC2086 # two words
        stock "${linker[@]}" $place "$how"
        stocks="$status $out"
        # shellcheck disable=SC2086
        run "${linker[@]}" $place "$how"
        is "$how in a child forked meanwhile (${place%% *})" "$status $out" "$stocks"
    done
    for order in "$work/wraps.so $preload" "$preload $work/wraps.so"; do
        for nothing in '' 1; do
            capture env LD_PRELOAD="$order" ${nothing:+WRAP_NOTHING=1} "${linker[@]}" end "$how"
            is "$how with a preload that wraps dlsym ($(basename "${order%% *}") first${nothing:+, finds nothing})" "$status" "$wanted"
        done
    done
done
for act in pin mlock; do
    for place in fork\ "$work/plugin.so" fork-walk; do
        # shellcheck disable=SC2086
        run "${linker[@]}" $place "$act"
        has "$act in a child forked meanwhile (${place%% *})" "$status $out" "ed 0"
        has 'it ends' "$out" 'child 7'
    done
done

run timeout 60 "$work/locking_malloc"
is 'a malloc that calls mlock()' "$status $err" '0 '
finish
