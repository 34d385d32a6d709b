#!/usr/bin/env bash
# The table in a file (PINTENSOR_DIR): who held memory, while a process runs, after it has ended, and after it was killed.
# shellcheck disable=SC2154 # run() sets status, out and err
. "$(dirname "$0")/lib.sh"
lockable 64 || skip 'this machine does not let a process lock 64 MiB (ulimit -l unlimited)'
compile keeps.c keeps -rdynamic -fno-optimize-sibling-calls -ldl -g0
pintensor=$top_builddir/pintensor
export PINTENSOR_REPORT=/dev/null
dir=$work/tables

# keeps NAME HOW…: in a directory of its own, which is $dir/NAME
keeps() {
    local name=$1
    shift
    PINTENSOR_DIR=$dir/$name run "$work/keeps" "$@"
}
report() { capture "$pintensor" report "$@"; }
mkdir "$dir"

keeps killed killed
is 'killed: by SIGKILL' "$status" 137
report "$dir/killed"
is 'killed: it is read' "$status $err" '0 '
has 'killed: it says so' "$out" 'keeps on '
has 'killed: how it ended' "$out" ', killed, or ended by a crash'
has 'killed: what was alive' "$out" 'HELD       2.0 MiB in 2 blocks from 2 sites, alive when it was killed'
has 'killed: where' "$out" 'until_the_end+'
has 'killed: what was there at the peak' "$out" 'PEAK       22.0 MiB in 3 blocks from 3 sites, when most was alive'
has 'killed: who had it' "$(sed -n '/PEAK/,$p' <<<"$out")" 'at_the_peak+'

keeps ended returns
report "$dir/ended"
has 'ended' "$out" ', ended'
has 'ended: what was held' "$out" 'HELD       2.0 MiB in 2 blocks from 2 sites, alive when exit began'

mkfifo "$work/go"
PINTENSOR_DIR=$dir/running LD_PRELOAD=$preload "$work/keeps" waits <"$work/go" >"$work/there" 2>&1 &
exec 5>"$work/go"
for _ in {1..100}; do [[ -s $work/there ]] && break || sleep 0.1; done
report "$dir/running"
has 'running' "$out" ', running'
has 'running: what is alive' "$out" 'HELD       2.0 MiB in 2 blocks from 2 sites, alive now'
exec 5>&-
wait

# A child that pins has a file of its own.
keeps children children
is 'a child that pins has a table, others have none' "$(find "$dir/children" -name '*.table' | wc -l)" 2
is 'a child writes nothing into the table of its parent' "$out" 0

(cd "$work" && PINTENSOR_DIR=here/%r RANK=3 run "$work/keeps" returns)
is 'a relative one, by rank, whose directories are made' "$(find "$work/here/3" -name '*.table' | wc -l)" 1

# --- what is in the way --------------------------------------------------------------------------

PINTENSOR_DIR=/dev/null/x run "$work/keeps" returns
is 'no directory: the program goes on' "$status" 0
is 'no directory: one line' "$(grep -c '^pintensor: no table is kept in /dev/null/x (errno 20): make it a directory' <<<"$err")" 1

PINTENSOR_DIR=$dir/limited capture env LD_PRELOAD="$preload" prlimit --fsize=1000000 "$work/keeps" many
is 'a limit for files: the program goes on, and no signal comes' "$status" 0
has 'a limit for files: a line' "$err" 'is cut short (errno 27)'

for kib in 4 16 96; do
    PINTENSOR_DIR=$dir/tiny$kib capture env LD_PRELOAD="$preload" prlimit --fsize=$((kib << 10)) "$work/keeps" children
    is "a limit of $kib KiB: the program goes on, with children" "$status $out" '0 0'
    is "a limit of $kib KiB: no file is left that cannot be read" "$(find "$dir/tiny$kib" -name '*.table')" ''
done

if mkdir "$work/small" && mount -t tmpfs -o size=400k none "$work/small" 2>/dev/null; then
    PINTENSOR_DIR=$work/small/t run "$work/keeps" many
    is 'no room: the program goes on, and no signal comes' "$status" 0
    is 'no room: one line' "$(grep -c 'is cut short (errno 28)' <<<"$err")" 1
    report "$work/small/t"
    has 'no room: what is there is read' "$out" 'The file had no room for all of it'
    umount "$work/small"
else
    echo '# no tmpfs can be mounted here'
fi

keeps closed closes
is 'closed by the program: it goes on' "$status" 0

# --- what is no table ----------------------------------------------------------------------------

report "$work"
is 'no tables there: said' "$status $err" "1 pintensor: $work: no tables here; PINTENSOR_DIR=$work makes them"
echo text >"$work/text.table"
report "$work/text.table"
is 'no table: said' "$status $err" "1 pintensor: $work/text.table: no table of pintensor's; PINTENSOR_DIR makes such files"
report "$work/none"
is 'nothing there: said' "$status $err" "1 pintensor: $work/none: No such file or directory"
table=$(echo "$dir"/killed/*.table)
head -c 3000 "$table" >"$work/cut.table"
report "$work/cut.table"
has 'cut off in its header: said' "$status $err" "1 pintensor: $work/cut.table: "
{ head -c 8 "$table"; printf '\377\377\377\177'; tail -c +13 "$table"; } >"$work/other.table"
report "$work/other.table"
is 'of another version: said' "$status $err" "1 pintensor: $work/other.table: a table of another version of pintensor: read it with that one"
finish
