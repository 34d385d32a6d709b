#!/usr/bin/env bash
# Which line allocated, without the GIL: exactly, for every block, whatever the other threads do.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
lockable 64 || skip 'this machine does not let a process lock 64 MiB (ulimit -l unlimited)'
compile frames.c frames.so -std=gnu17 -D_GNU_SOURCE -shared -fPIC -I"$top_srcdir/src" -include base/old_libc.h \
    "$top_srcdir"/src/base/{elf,kept,libraries,linker,old_libc,sandbox,text,thread}.c "$top_srcdir"/src/memory/{owner,pages}.c \
    "$top_srcdir"/src/trace/{code,frames,python}.c

# Of a report: the line that called pin(), and how many blocks it keeps.
told() {
    awk '/ in [0-9,]+ blocks?[ ,]/ { match($0, / in [0-9,]+ block/); count = substr($0, RSTART + 4, RLENGTH - 10) }
        pinned && match($0, /leaf\.py:[0-9]+/) { lines[substr($0, RSTART + 8, RLENGTH - 8)] += count }
        { pinned = /leaf\.py:[0-9]+  pin$/ }
        END { for (line in lines) print line, lines[line] }' <<<"$1" | sort -n
}
# The first block of a line may wait 20 ms for an answer and no longer: where something else had the processors meanwhile, which
# is nothing that this is about, the program gets another chance.
exact() { # NAME HOW SIZE
    for _ in {1..8}; do
        run timeout 100 "$python" "$pythons/leaf.py" "$2" "$3" "$work/frames.so"
        [[ $(told "$err") != "$out" ]] || break
    done
    is "$1: it runs" "$status" 0
    [[ -n $out ]] || not_ok "$1: it keeps something" "$err"
    is "$1: each line with its blocks" "$(told "$err")" "$out"
}
for size in 65536 4096; do
    exact "many lines, $size bytes" lines "$size"
    exact "generators, recursion, exec, calls from C, $size bytes" features "$size"

    # Each of these stacks is new: on a busy machine a question may stay without an answer, but no line is taken for another.
    run timeout 100 "$python" "$pythons/leaf.py" freed_code "$size"
    is "code that is freed, $size bytes: it runs" "$status" 0
    is "code that is freed, $size bytes: no line has more than its blocks" \
        "$(awk 'NR == FNR { kept[$1] = $2; next } $2 > kept[$1]' <(echo "$out") <(told "$err"))" ''
    has "code that is freed, $size bytes: the lines" "$(told "$err")" '100'
done
run timeout 100 "$python" "$pythons/leaf.py" compiled 65536
is 'code that a program compiles again and again is not kept' "$status" 0
has 'and is one place' "$err" ' in 4 blocks'
run timeout 100 "$python" "$pythons/leaf.py" many_compiled 64
is 'more places than are told apart: it runs' "$status" 0
is 'and each block is counted' "$(sed -n 's/^  [A-Z][A-Z]* .* in \([0-9,]*\) blocks.*/\1/p' <<<"$err" | tr -d , | awk '{ n += $1 } END { print n }')" 20000
lacks 'and has a place' "$err" 'no stack was recorded'
exact 'while another thread runs Python' contended 65536
exact 'while another thread looks at the frames' looked_at 65536
exact 'four threads' threads 65536
exact 'under sys.settrace' traced 65536
exact 'in a forked child' child 65536
run timeout 100 "$python" "$pythons/leaf.py" sandboxed 65536
is 'in a sandbox: it runs' "$status" 0
is 'in a sandbox: no line has more than its blocks' \
    "$(awk 'NR == FNR { kept[$1] = $2; next } $2 > kept[$1]' <(echo "$out") <(told "$err"))" ''
has 'in a sandbox: the lines' "$(told "$err")" ' 160'
if "$python" -c 'import greenlet' 2>"$work/err"; then
    exact greenlets greenlets 65536
else
    echo '# no greenlet here'
fi

run timeout 100 "$python" "$pythons/leaf.py" gil_kept 65536 "$work/frames.so"
is 'another thread keeps the GIL: nobody waits for it' "$status" 0
has 'and known stacks are told' "$(grep -A 2 ' in 20 blocks' <<<"$err")" "$out  gil_kept"

run "$python" "$pythons/frames.py" "$work/frames.so"
is 'the memory of this Python is understood' "$status" 0
echo "$out"
finish
