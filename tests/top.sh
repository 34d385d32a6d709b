#!/usr/bin/env bash
# `pintensor top`: what ranks hold while they run, from their tables alone.
# shellcheck disable=SC2154 # capture() sets status, out and err
. "$(dirname "$0")/lib.sh"
lockable 64 || skip 'this machine does not let a process lock 64 MiB (ulimit -l unlimited)'
compile keeps.c keeps -rdynamic -fno-optimize-sibling-calls -ldl
command=$top_builddir/pintensor
export PINTENSOR_REPORT=/dev/null TMPDIR=$work
dir=$work/tables

ranks=()
starts() { # RANK   waits until $work/go is closed
    PINTENSOR_DIR=$dir RANK=$1 LD_PRELOAD=$preload "$work/keeps" waits <"$work/go" >"$work/there$1" 2>&1 &
    ranks[$1]=$!
}
until_true() { # COMMAND…
    for _ in {1..200}; do "$@" && return || sleep 0.05; done
    not_ok "never: $*"
}
has_begun() { [[ -s $work/there$1 ]]; }
shows() { grep -q -- "$1" "$work/lines"; }
blocks() { [[ $(grep -c '^pintensor top ' "$work/lines") -ge $1 ]]; }

mkfifo "$work/go"
for rank in 1 0; do starts $rank; done
exec 5<>"$work/go"
for rank in 0 1; do until_true has_begun $rank; done

# --- once ----------------------------------------------------------------------------------------

row() { sed -n "s/^ *$1 *$2 //p" <<<"$out"; } # RANK PID
capture "$command" top --once "$dir"
is 'once' "$status $err" '0 '
has 'once: the sum' "$(head -n 1 <<<"$out")" ': 2 running, live 4.0 MiB, locked 44.0 MiB'
is 'once: the columns' "$(sed -n 2p <<<"$out" | xargs)" 'rank pid program live locked cached peak others top line'
is 'once: by rank' "$(tail -n +3 <<<"$out" | awk '{ print $1, $2 }')" "0 ${ranks[0]}
1 ${ranks[1]}"
has 'once: a rank' "$(row 0 "${ranks[0]}" | xargs)" 'keeps 2.0 MiB 22.0 MiB 20.0 MiB 22.0 MiB 0 B until_the_end+'
rows=$(tail -n +3 <<<"$out")
PINTENSOR_DIR=$dir capture "$command" top --once
is 'where PINTENSOR_DIR says' "$status $(tail -n +3 <<<"$out")" "0 $rows"
capture "$command" top --once "${ranks[1]}"
is 'by the PID of one' "$status $(tail -n +3 <<<"$out")" "0 $rows"
capture "$command" top --once $$
is 'by the PID of what started them' "$status $(tail -n +3 <<<"$out")" "0 $rows"

# --- over and over, in plain lines ------------------------------------------------------------------

head -c 3000 "$(echo "$dir"/*-"${ranks[0]}"-*.table)" >"$dir/cut.table"
echo text >"$dir/text.table"
mkfifo "$dir/fifo.table"
: >"$work/lines"
"$command" top --interval=0.05 "$dir" >"$work/lines" 2>"$work/said" &
top=$!
until_true blocks 3
lacks 'plain: nothing for a terminal' "$(<"$work/lines")" $'\033'
is 'plain: what is no table is passed over' "$(sed -n '3,4p' "$work/lines")" "$rows"
starts 2
until_true has_begun 2
until_true shows "^ *2 *${ranks[2]} keeps .*until_the_end"
ok 'plain: a rank that comes later'
{ kill -KILL "${ranks[1]}" && wait "${ranks[1]}"; } 2>/dev/null
until_true shows "^ *1 *${ranks[1]} .*(killed, or ended by a crash)"
ok 'plain: a rank that was killed'
for table in "$dir"/*-"${ranks[2]}"-*.table; do cp "$table" "$work/whole"; : >"$table"; done
until_true shows "^ *2 *${ranks[2]} .*(killed, or ended by a crash)"
ok 'plain: a table that was cut off'
{ kill -KILL "${ranks[2]}" && wait "${ranks[2]}"; } 2>/dev/null # it may not run on into what is not there any more
echo >&5
until_true shows "^ *0 *${ranks[0]} .*(ended)"
ok 'plain: a rank that ended'
kill -INT "$top" 2>/dev/null # ignored, as it was when it began: a background process of a shell
kill -TERM "$top"
wait "$top" 2>/dev/null
is 'plain: ended by a signal' "$? $(<"$work/said")" '143 '
exec 5>&-

# --- on a terminal ----------------------------------------------------------------------------------

terminal() { "$python" "$pythons/top_terminal.py" "$command" "$dir" "$1"; }
is 'terminal: q' "$(terminal q)" 'True True True
0 True True True'
is 'terminal: Ctrl-C' "$(terminal interrupt)" 'True True True
-2 True True True'
is 'terminal: SIGTERM' "$(terminal terminate)" 'True True True
-15 True True True'
is 'terminal: Ctrl-Z, and on' "$(terminal stop)" 'True True True
True True False
True True
0 True True True'
small=$(terminal small)
is 'terminal: a small one' "$(head -n 2 <<<"$small")" 'True True True
0 True True True'
rows=$(tail -n 1 <<<"$small")
[[ ${rows% *} -le 3 && ${rows#* } -le 30 ]] && ok 'terminal: cut to its size' || not_ok 'terminal: cut to its size' "$rows"

# --- what is in the way -------------------------------------------------------------------------------

capture "$command" top --once "$dir"
is 'nobody runs' "$status $out$err" "1 pintensor: $dir: no process with a table here runs on this machine"
capture "$command" top --once "$work/none"
is 'nothing there' "$status $err" "1 pintensor: $work/none: No such file or directory"
sleep 100 &
capture "$command" top --once $!
has 'a process without a table' "$status $err" "1 pintensor: $!: neither that process nor one it started keeps a table"
kill $!
capture "$command" top --once
has 'nothing named' "$status $err" '1 pintensor: top of what?'
PINTENSOR_DIR=$dir/%r capture "$command" top --once
has 'a directory for each' "$status $err" 'PINTENSOR_DIR is another directory for each process'
capture "$command" top --intreval=1 "$dir"
is 'a wrong option' "$status $err" '2 pintensor: --intreval=1 is wrong here; usage: pintensor top [--once] [--interval=SECONDS] [PID|DIRECTORY]'
capture "$command" top --interval=0 "$dir"
is 'a wrong interval' "$status $err" '2 pintensor: --interval=0 is not a number of seconds from 0.01 to 3600'
finish
