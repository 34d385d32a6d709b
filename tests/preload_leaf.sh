#!/usr/bin/env bash
# Which line allocated, without the GIL: exactly, for every block, whatever the other threads do.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
lockable 64 || skip 'this machine does not let a process lock 64 MiB (ulimit -l unlimited)'
compile frames.c frames.so -std=gnu17 -D_GNU_SOURCE -shared -fPIC -I"$top_srcdir/src" -include base/old_libc.h \
    "$top_srcdir"/src/base/{elf,kept,libraries,linker,old_libc,own_status,sandbox,text,thread,wait,write}.c "$top_srcdir"/src/memory/{owner,pages}.c \
    "$top_srcdir"/src/trace/{code,frames,python}.c

# Each line that called pin(), and how many blocks it keeps: of the table file, which has every caller.
leaf() { # HOW SIZE
    rm -rf "$work/tables"
    PINTENSOR_DIR=$work/tables run timeout 100 "$python" "$pythons/leaf.py" "$1" "$2" "$work/frames.so"
    "$top_builddir/pintensor" report --json "$work/tables" >"$work/tables.json"
    told=$("$python" -c 'if True:
        import collections, json, sys
        lines = collections.Counter()
        for site in json.load(open(sys.argv[1]))["sites"]:
            frames = [(f["file"].rpartition("/")[2], f["function"], f["line"]) for f in site["frames"]]
            if frames[1:] and frames[0][:2] == ("leaf.py", "pin"):
                lines[frames[1][2]] += sum(site[way]["blocks"] for way in ("held", "growing") if way in site)
        for line in sorted(+lines):
            print(line, lines[line])' "$work/tables.json")
}
# The first block of a line may wait 20 ms for an answer and no longer: where something else had the processors meanwhile, which
# is nothing that this is about, the program gets another chance.
exact() { # NAME HOW SIZE
    for _ in {1..8}; do
        leaf "$2" "$3"
        [[ $told != "$out" ]] || break
    done
    is "$1: it runs" "$status" 0
    [[ -n $out ]] || not_ok "$1: it keeps something" "$err"
    is "$1: each line with its blocks" "$told" "$out"
}
for size in 65536 4096; do
    exact "many lines, $size bytes" lines "$size"
    exact "generators, recursion, exec, calls from C, $size bytes" features "$size"

    # Each of these stacks is new: on a busy machine a question may stay without an answer, but no line is taken for another.
    leaf freed_code "$size"
    is "code that is freed, $size bytes: it runs" "$status" 0
    is "code that is freed, $size bytes: no line has more than its blocks" \
        "$(awk 'NR == FNR { kept[$1] = $2; next } $2 > kept[$1]' <(echo "$out") <(echo "$told"))" ''
    has "code that is freed, $size bytes: the lines" "$told" '100'
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
leaf sandboxed 65536
is 'in a sandbox: it runs' "$status" 0
is 'in a sandbox: no line has more than its blocks' \
    "$(awk 'NR == FNR { kept[$1] = $2; next } $2 > kept[$1]' <(echo "$out") <(echo "$told"))" ''
has 'in a sandbox: the lines' "$told" ' 160'
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
