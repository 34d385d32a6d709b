# shellcheck shell=bash
# shellcheck disable=SC2034,SC2001 # variables for those who source this; sed for every line
# What the whole-process tests share; each sources it first and ends with `finish`. They run the preload that lies in
# the build directory and prove effects from outside: exit codes, output, /proc, strace.
set -u
# Started under nohup, or in the background of a script, a shell has signals ignored, and hands that on to what it runs.
if [[ -n $(trap -p HUP INT QUIT TERM) ]]; then
    exec python3 -c 'import os, signal, sys
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
os.execvp("bash", ["bash"] + sys.argv[1:])' "$0" "$@"
fi
export LC_ALL=C
top_srcdir=${top_srcdir:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
top_builddir=${top_builddir:-$PWD}
preload=$top_builddir/.libs/libpintensor_preload.so
programs=$top_srcdir/tests/programs
pythons=$top_srcdir/tests/python

# Where torch and DeepSpeed's compiled ops are. Kept out of the environment: the library would call these names unknown
# options. Nothing that the caller set may steer the tests either.
torch_python=${PINTENSOR_TEST_PYTHON-}
ops_019=${PINTENSOR_TEST_OPS_019-}
ops_018=${PINTENSOR_TEST_OPS_018-}
for name in ${!PINTENSOR_@}; do unset "$name"; done
export FAKE_CUDA_PATIENCE=0 # no registration goes back while the device is busy: it would hold up launches
unset LD_PRELOAD RANK OMPI_COMM_WORLD_RANK PMIX_RANK PMI_RANK SLURM_PROCID
python=$(command -v python3 || echo "$torch_python")

work=$(mktemp -d "${TMPDIR:-/tmp}/pintensor-test-XXXXXX")
trap 'rm -rf "$work"' EXIT
failed=0

ok() { echo "ok - $1"; }
not_ok() { # NAME [WHY]
    echo "not ok - $1"
    [[ -z ${2-} ]] || sed 's/^/# /' <<<"$2"
    failed=1
}
is() { # NAME GOT WANTED
    if [[ $2 == "$3" ]]; then ok "$1"; else not_ok "$1" "$(diff <(echo "$3") <(echo "$2"))"; fi
}
has() { # NAME TEXT PART
    if [[ $2 == *"$3"* ]]; then ok "$1"; else not_ok "$1" "no '$3' in:"$'\n'"$2"; fi
}
lacks() { # NAME TEXT PART
    if [[ $2 != *"$3"* ]]; then ok "$1"; else not_ok "$1" "'$3' in:"$'\n'"$2"; fi
}
skip() { # WHY
    echo "SKIP: $1"
    exit 77
}
finish() { exit "$failed"; }

[[ -r $preload ]] || { echo "Bail out! no library at $preload: run make first"; exit 99; }

compile() { # SOURCE OUTPUT [FLAG…]
    local source=$programs/$1 output=$work/$2 compiler=${CC:-cc}
    shift 2
    [[ $source != *.cpp ]] || compiler=${CXX:-g++}
    # shellcheck disable=SC2086 # CC may hold flags
    $compiler -O1 -g -Wall -I"$top_srcdir/include" "$source" -o "$output" "$@" || { echo "Bail out! cannot compile $source"; exit 99; }
}

# run COMMAND…   with the preload; leaves $status, and what it said in $out and $err.
# stock COMMAND… the same without.
run() { capture env LD_PRELOAD="$preload" "$@"; }
stock() { capture "$@"; }
capture() {
    { "$@" >"$work/out" 2>"$work/err"; } 2>/dev/null # bash tells of programs that were killed
    status=$?
    out=$(<"$work/out") err=$(<"$work/err")
}

# As somebody who may lock SOFT to HARD bytes and no more, root or not.
limited() { # SOFT:HARD COMMAND…
    local memlock=$1
    shift
    if [[ $EUID == 0 ]]; then
        prlimit --memlock="$memlock" setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock "$@"
    else
        prlimit --memlock="$memlock" "$@"
    fi
}

reports_in() { grep -c '^pintensor: .*; peak ' <<<"$1"; }

# Numbers that differ from run to run, and where native code happens to lie.
normalise() {
    sed -E 's/pid [0-9]+/pid N/; s/thread [0-9]+/thread N/; s/(oldest|made|ran) [0-9.]+ s/\1 N s/; s/on [^ ,]+, ([^ ,]+ \(pid N\))/on HOST, \1/; s/0x[0-9a-f]+/0xN/g
        s/^( +in ).*/\1OBJECT/; s#[^ ]*/([a-z_]+\.py:)#\1#g' <<<"$1"
}

lockable() { # MIB   whether a process of ours may lock that much
    "$python" -c '
import ctypes, mmap, resource, sys
hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
size = int(sys.argv[1]) << 20
p = mmap.mmap(-1, size)
mlock = ctypes.CDLL(None).mlock
sys.exit(mlock(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(p))), ctypes.c_size_t(size)) != 0)' "$1"
}

# For tests with torch and DeepSpeed's ops: skips with the name of what is missing.
need_torch() {
    [[ -n $torch_python ]] || skip "PINTENSOR_TEST_PYTHON is not set: no Python with torch"
    [[ -x $torch_python ]] || skip "PINTENSOR_TEST_PYTHON=$torch_python is no program"
    [[ -n $ops_019$ops_018 ]] || skip "neither PINTENSOR_TEST_OPS_019 nor PINTENSOR_TEST_OPS_018 is set: no DeepSpeed ops"
    lockable 32 || skip 'this machine does not let a process lock 32 MiB (ulimit -l unlimited)'
}
