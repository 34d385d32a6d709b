#!/usr/bin/env bash
# What a person reads at the end: one entry a line of theirs, whole blocks however many end at once, names that do nothing to a
# terminal.
# shellcheck disable=SC2154 # run() sets status, out and err
. "$(dirname "$0")/lib.sh"
lockable 8 || skip 'this machine does not let a process lock 8 MiB (ulimit -l unlimited)'
crowd() { run "$python" "$pythons/crowd.py" "$@" </dev/null; }

# --- one line is one entry ------------------------------------------------------------------------

crowd 2 3 train.py
is 'lines: an entry each, whoever called them' "$(grep -c '^ *12.0 KiB in 3 blocks from 3 callers$' <<<"$err")" 2
has 'lines: counted as such' "$err" 'HELD       24.0 KiB in 6 blocks from 2 sites'
is 'lines: the line, once' "$(grep -c '^ *train.py:1  keep0$' <<<"$err")" 1
has 'lines: its callers, with what is theirs' "$err" \
    '4.0 KiB in 1 block, bytes[4096] from the C interface, thread '
is 'lines: from where' "$(sed -n 's/.*, called from \(train.py:[0-9]*  from[0-9]\), from .*/\1/p' <<<"$err" | sort | xargs)" \
    'train.py:10 from2 train.py:11 from2 train.py:4 from0 train.py:5 from0 train.py:7 from1 train.py:8 from1'
has 'lines: the one to look at first' "$err" $'asked\n  fix: train.py:'
has 'lines: called from where' "$err" ', called from 3 places: alive until the end; if it need not be, '
crowd 1 12 train.py
has 'many callers: the rest is counted' "$err" 'and 4 more callers'
lacks 'no DeepSpeed: not a word of it' "$err" DeepSpeed

# --- names -----------------------------------------------------------------------------------------

crowd 1 1 $'a\nb\e[31m\t\xc2\x9b\xc3\xa9.py'
has 'names: one line, and nothing to a terminal' "$err" 'a\nb\x1b[31m\t\xc2\x9bé.py:1  keep0'
is 'names: no byte that does something' "$(LC_ALL=C tr -d '\n -~\303\251' <<<"$err" | wc -c)" 0
cp "$pythons/crowd.py" "$work/"$'job\n\e\xff.py'
run "$python" "$work/"$'job\n\e\xff.py' 1 1 x.py </dev/null
has 'names: the program' "$err" ', job\n\x1b\xff.py (pid '
run "$python" -X dev -W ignore "$pythons/crowd.py" 1 1 x.py </dev/null
has "names: the script behind the interpreter's options" "$err" ', crowd.py (pid '
(cd "$pythons" && PYTHONPATH=. LD_PRELOAD=$preload "$python" -m crowd 1 1 x.py </dev/null >/dev/null 2>"$work/err")
has 'names: a module' "$(<"$work/err")" ', python -m crowd (pid '

# --- many at once ------------------------------------------------------------------------------------

# ends_at_once PIPE NAME…: 16 ranks that end at the same moment, on one pipe.
long=$(printf 'deep/%.0s' {1..40})train.py
mkfifo "$work/go"
ends_at_once() {
    local rank pids=()
    : >"$work/ready"
    for rank in {0..15}; do
        RANK=$rank LD_PRELOAD=$preload "$python" "$pythons/crowd.py" 20 8 "$long" <"$work/go" >>"$work/ready" &
        pids+=($!)
    done
    exec 6>"$work/go"
    for _ in {1..600}; do [[ $(wc -l <"$work/ready") == 16 ]] && break || sleep 0.1; done
    exec 6>&-
    wait "${pids[@]}"
}
# What is not as it should be: a block is the first line of a rank, and all lines that are its own, each whole.
blocks() {
    "$python" - "$work/crowd" <<'END'
import re, sys
frame = r"\S+train\.py:\d+  (keep|from)\d+|\S+\.py:\d+  <module>|(via|in) \S+  \S+|\(no stack was recorded\)"
kind = r"bytes\[4096\] from the C interface(, thread \d+)?"
line = re.compile(rf"""pintensor: .* KiB held at exit, .*; rank \d+ on \S+, crowd\.py \(pid \d+\), ran .* s; peak .* asked
|  fix: \S+train\.py:\d+  keep\d+, called from \d places: .* done with
|  HELD       640\.0 KiB in 160 blocks from 20 sites, alive when exit began: given back now
|             [0-9.]+ KiB in \d blocks? from \d callers
|             4\.0 KiB in 1 block, {kind}, oldest .* s
|                 ({frame})
|                   4\.0 KiB in 1 block, {kind}, called from ({frame})(, from ({frame}))*
|             and \d more sites?
|  The same peak takes .* of 160 blocks came from memory locked before\.""".replace("\n|", "|"))
text = open(sys.argv[1]).read()
blocks = re.split(r"(?m)^(?=pintensor: )", text)[1:]
if text != "".join(blocks):
    print("something before the first")
ranks = sorted(int(re.match(r".*; rank (\d+) on ", block)[1]) for block in blocks)
if ranks != list(range(16)):
    print("ranks", ranks)
for block in blocks:
    lines = block.splitlines()
    print(*("torn: " + l for l in lines if not line.fullmatch(l)), sep="\n", end="")
    if not block.endswith("came from memory locked before.\n") or len(lines) < 20 * 9:
        print("not whole:", len(lines))
if min(map(len, blocks)) < 65536:
    print("too short to prove anything:", min(map(len, blocks)))
END
}
for ((round = 0; round < ${PT_TEST_ROUNDS:-3}; round++)); do
    { ends_at_once 2>&1 >&3 | cat >"$work/crowd"; } 3>/dev/null
    blocks
done >"$work/torn"
is '16 ranks that end at once on one pipe: whole blocks' "$(<"$work/torn")" ''

# Somebody else is at it and does not come to an end: each line says whose it is.
mkfifo "$work/pipe"
cat "$work/pipe" >"$work/late" &
reader=$!
exec 7>"$work/pipe"
"$python" -c 'import fcntl, struct, sys
fcntl.fcntl(7, fcntl.F_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 2**63 - 2, 1, 0))
print(flush=True)
sys.stdin.read()' 7>&7 <"$work/go" >"$work/holds" &
holder=$!
exec 6>"$work/go"
for _ in {1..100}; do [[ -s $work/holds ]] && break || sleep 0.1; done
start=$EPOCHREALTIME
RANK=3 LD_PRELOAD=$preload "$python" "$pythons/crowd.py" 1 2 train.py 2>&7 </dev/null >/dev/null
took=$((${EPOCHREALTIME/./} - ${start/./}))
exec 6>&- 7>&-
wait "$holder" "$reader"
is 'another one does not give way: each line with its rank' "$(grep -c '^\[rank 3\] ' "$work/late") $(grep -vc '^\[rank 3\] ' "$work/late")" \
    "$(wc -l <"$work/late") 0"
has 'and the report is there' "$(<"$work/late")" '[rank 3] pintensor: '
is 'and nobody waits for long' "$((took < 10000000))" 1 # two seconds at most; the rest is for a busy machine
finish
