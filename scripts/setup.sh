# shellcheck shell=bash
# What a fresh Debian or Ubuntu machine needs, as functions for scripts/demo, scripts/test and
# scripts/bench. Source it; nothing happens until a function is called. Each one does only what is
# still missing, so that a second call costs next to nothing.
#
#   setup_packages [tests|long|deb]   the compiler, autotools and headers; with `tests`, what only tests use;
#                             with `long`, what only scripts/test --long uses; with `deb`, what only scripts/deb does
#   setup_python              a venv with torch and DeepSpeed, in the cache
#   setup_ops VERSION         the DeepSpeed ops that the job loads, compiled once
#   setup_jemalloc            a jemalloc with which libpintensor.so can be loaded late, built once, in the cache
#   setup_build [DIR [ARG…]]  that, configure (with ARGs) and make in DIR, ./build unless told
#   job_env VERSION           exports what a DeepSpeed job of that version needs
#   require_memlock MIB       fails, with the remedy, when a process cannot lock that much
#   run_job VERSION LIB DIR [ARG…]   runs demo_job.py, with LIB preloaded unless that is empty;
#                             its output goes to DIR/out and DIR/err
#   job_losses DIR            the losses of such a run, sorted

SETUP_ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
SETUP_CACHE=${PINTENSOR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pintensor}
SETUP_VENV=$SETUP_CACHE/venv
SETUP_VERSION=$(sed -n 's/^AC_INIT(\[pintensor\], \[\(.*\)\])/\1/p' "$SETUP_ROOT/configure.ac") # ours
SETUP_TORCH=2.13.0
SETUP_DEEPSPEED=0.19.8       # one pinned-memory manager a process, in the pin_memory op
SETUP_DEEPSPEED_OLD=0.18.9   # one manager an I/O handle, inside async_io

# --- telling how far a long step is ---------------------------------------------------------

say() { printf '%s\n' "$*" >&2; }

# Runs while the step does: a line that counts on a terminal, else a short note now and then. What
# the log says of its progress goes along: "2 of 4" from us, "[3/12]" from ninja.
tick_() { # LABEL LOG PID
    local label=$1 log=$2 pid=$3 start=$SECONDS next=20 part
    # sleep outlives a ticker that is killed: it must not keep a pipe of ours open meanwhile.
    while sleep 1 >/dev/null 2>&1 && kill -0 "$pid" 2>/dev/null; do
        [[ -t 2 ]] || ((SECONDS - start >= next)) || continue
        next=$((next + 20))
        part=$(awk '/^[0-9]+ of [0-9]+: / { part = $0; count = "" }
            /^\[[0-9]+\/[0-9]+\] / { count = $1 }
            END { if (part count) print "  " part, count }' "$log") || true
        if [[ -t 2 ]]; then
            printf '\r\033[K%s: %d s%s' "$label" $((SECONDS - start)) "$part" >&2
        else
            printf '  %d s%s\n' $((SECONDS - start)) "$part" >&2
        fi
    done
}

# step LABEL EXPECTED LOGNAME COMMAND…   COMMAND's output goes to the log, whose end is shown when
# it fails. COMMAND stays in the foreground, so that Ctrl-C ends it.
step() {
    local label=$1 expected=$2 log=$SETUP_CACHE/logs/$3.log start=$SECONDS rc=0 ticker
    shift 3
    mkdir -p "$SETUP_CACHE/logs"
    : >"$log"
    say "$label (about $expected)"
    tick_ "$label" "$log" "$BASHPID" 9>&- &
    ticker=$!
    "$@" >"$log" 2>&1 || rc=$?
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    [[ ! -t 2 ]] || printf '\r\033[K' >&2
    if ((rc)); then
        tail -n 30 "$log" >&2
        say "$label: FAILED after $((SECONDS - start)) s; the whole log: $log"
        return "$rc"
    fi
    say "$label: done in $((SECONDS - start)) s"
}

# with_lock FUNCTION…   one setup at a time; a second one waits, and then finds the work done.
with_lock() {
    mkdir -p "$SETUP_CACHE"
    {
        flock -n 9 || { say "another setup is running; waiting for it"; flock 9; }
        "$@"
    } 9>"$SETUP_CACHE/lock"
}

# --- packages of the distribution -----------------------------------------------------------

have_() { PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null; }
header_() { echo "#include <$1>" | gcc -E -o /dev/null - 2>/dev/null; }
python_h_() { header_ "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h"; }

# Prints the packages that are missing, one a line. Each is tested by what it provides: a gcc from
# elsewhere is as good.
missing_packages_() { # [tests]
    local tests=${1-} command
    local -A from=([autoconf]=autoconf [automake]=automake [libtoolize]=libtool [make]=make
        [pkg-config]=pkg-config [gcc]=gcc [g++]=g++ [flock]=util-linux [python3]=python3)
    [[ $tests != tests ]] ||
        from+=([clang]=clang [strace]=strace [clang-format]=clang-format [capsh]=libcap2-bin
            [unshare]=util-linux [musl-gcc]=musl-tools [cmake]=cmake)
    [[ $tests != deb && $tests != tests ]] || from+=([dh]=debhelper [dpkg-buildpackage]=dpkg-dev)
    [[ $tests != long ]] || from+=([clang]=clang [valgrind]=valgrind [gcovr]=gcovr)
    for command in "${!from[@]}"; do
        have_ "$command" || echo "${from[$command]}"
    done
    header_ stdlib.h || echo libc6-dev # gcc only recommends it
    header_ libaio.h || echo libaio-dev
    header_ elfutils/libdwfl.h || echo libdw-dev
    compgen -G '/usr/lib/*/libjemalloc_pic.a' >/dev/null || echo libjemalloc-dev
    python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    python_h_ || echo python3-dev
    [[ $tests != tests ]] || pkg-config --exists check 2>/dev/null || echo check
    [[ $tests != long ]] || echo 'int main(void) {}' | clang -fsanitize=fuzzer-no-link,address -x c -o /dev/null - 2>/dev/null ||
        echo "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
}

as_root_() { if [[ $EUID == 0 ]]; then "$@"; else sudo -n "$@"; fi; }

install_packages_() { # PACKAGE…
    as_root_ apt-get update &&
        as_root_ env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

setup_packages() { # [tests]
    local -a missing
    mapfile -t missing < <(missing_packages_ "${1-}" 2>/dev/null | sort -u)
    ((${#missing[@]})) || return 0

    if have_ apt-get && as_root_ true 2>/dev/null; then
        step "installing packages: ${missing[*]}" '1 min' packages install_packages_ "${missing[@]}" || return 1
        mapfile -t missing < <(missing_packages_ "${1-}" 2>/dev/null | sort -u)
        ((${#missing[@]})) || return 0
        say "still missing after their packages were installed: ${missing[*]} (is python3 on the PATH the system's?)"
    else
        say "missing on this machine, please install:"
        say "    sudo apt-get install ${missing[*]}"
    fi
    return 1
}

# --- Python ---------------------------------------------------------------------------------

# The CPU build of torch, from wherever it can be had. A mirror may carry it; else PyTorch's own
# index; plain torch comes last, for on x86-64 it brings gigabytes of CUDA along.
install_torch_() {
    local pip=("$SETUP_VENV/bin/python" -m pip install --disable-pip-version-check)
    "${pip[@]}" --retries 1 --timeout 20 "torch==$SETUP_TORCH+cpu" ||
        "${pip[@]}" --retries 1 --timeout 20 "torch==$SETUP_TORCH+cpu" \
            --extra-index-url https://download.pytorch.org/whl/cpu ||
        "${pip[@]}" "torch==$SETUP_TORCH"
}

install_deepspeed_() ( # in a subshell, for its environment
    local pip=("$SETUP_VENV/bin/python" -m pip install --disable-pip-version-check)
    local old=$SETUP_CACHE/deepspeed-$SETUP_DEEPSPEED_OLD
    # DeepSpeed's setup.py imports torch: no isolation. DS_ACCELERATOR keeps it from looking for CUDA.
    # shellcheck disable=SC2030 # for this subshell alone
    export DS_ACCELERATOR=cpu DS_BUILD_OPS=0
    "${pip[@]}" numpy ninja wheel 'setuptools<81' psutil pytest &&
        "${pip[@]}" --no-build-isolation "deepspeed==$SETUP_DEEPSPEED" || exit
    [[ ! -d $old ]] || exit 0 # it gets this name when complete
    rm -rf "$old.part" &&
        "${pip[@]}" --no-build-isolation --no-deps --target "$old.part" "deepspeed==$SETUP_DEEPSPEED_OLD" &&
        mv "$old.part" "$old"
)

python_() {
    local stamp=$SETUP_VENV/pintensor-stamp want="torch $SETUP_TORCH deepspeed $SETUP_DEEPSPEED $SETUP_DEEPSPEED_OLD 1"
    if "$SETUP_VENV/bin/python" -c '' 2>/dev/null; then
        [[ $(cat "$stamp" 2>/dev/null) != "$want" ]] || return 0
    else # none yet, or the Python that it was made from is gone
        python3 -m venv --clear "$SETUP_VENV"
    fi
    rm -f "$SETUP_CACHE"/ops-*/pintensor-stamp # new sources or headers: look at them again
    step "installing torch $SETUP_TORCH (CPU build) in $SETUP_VENV" '1 to 3 min' torch install_torch_ &&
        step "installing DeepSpeed $SETUP_DEEPSPEED and $SETUP_DEEPSPEED_OLD" '1 min' deepspeed install_deepspeed_ &&
        echo "$want" >"$stamp"
}

setup_python() { with_lock python_; }

# --- DeepSpeed's ops ------------------------------------------------------------------------

job_env() { # VERSION
    local version=${1:-$SETUP_DEEPSPEED}
    unset PINTENSOR_CACHE PINTENSOR_BUILD PINTENSOR_PRELOAD # the scripts' own: no options of the library
    export PATH=$SETUP_VENV/bin:$PATH
    export TORCH_EXTENSIONS_DIR=$SETUP_CACHE/ops-$version
    # shellcheck disable=SC2031 # no other subshell matters here
    export DS_ACCELERATOR=cpu DS_PIN_MEMORY_BACKEND=native
    # One thread a rank: sums in one order, so that a loss can be compared bit for bit.
    export OMP_NUM_THREADS=1
    if [[ $version == "$SETUP_DEEPSPEED" ]]; then
        unset PYTHONPATH
    else
        export PYTHONPATH=$SETUP_CACHE/deepspeed-$version
    fi
}

# A job or build that was killed leaves torch's lock files behind, and torch waits for them for
# ever. Those older than OLDER (find's -mmin) go; a live job holds one for a second or two.
clear_op_locks_() { # [OLDER]
    find "$TORCH_EXTENSIONS_DIR" -name lock ${1:+-mmin "$1"} -delete 2>/dev/null || true
}

build_ops_() ( # VERSION; in a subshell, for its environment
    job_env "$1"
    unset OMP_NUM_THREADS
    clear_op_locks_
    python - <<'END'
from deepspeed.ops.op_builder import cpu
wanted = ("PinMemoryBuilder", "AsyncIOBuilder", "CPUAdamBuilder")
wanted = [getattr(cpu, name) for name in wanted if hasattr(cpu, name)]  # PinMemory: from 0.19.5
for number, builder in enumerate(wanted, 1):
    print(f"{number} of {len(wanted)}: {builder.NAME}", flush=True)
    builder().load(verbose=True)
END
)

ops_() { # VERSION
    local stamp=$SETUP_CACHE/ops-$1/pintensor-stamp want="torch $SETUP_TORCH deepspeed $1 $SETUP_VENV 1"
    [[ $(cat "$stamp" 2>/dev/null) != "$want" ]] || return 0
    step "compiling the ops of DeepSpeed $1" '6 min on 2 cores' "ops-$1" build_ops_ "$1" &&
        echo "$want" >"$stamp"
}

setup_ops() { with_lock ops_ "${1:-$SETUP_DEEPSPEED}"; }

# --- pintensor itself -----------------------------------------------------------------------

# What configure is told of it; nothing: the distribution's.
with_jemalloc=()

# One archive for each state of what it is made by. Where it cannot be made the distribution's serves, and one line says so.
jemalloc_() {
    local made log=$SETUP_CACHE/logs/jemalloc.log
    made=$SETUP_CACHE/jemalloc-$(cd "$SETUP_ROOT/scripts" && cat jemalloc jemalloc.d/tsd_tls.h | sha256sum | cut -c 1-16)
    if [[ ! -d $made ]]; then
        mkdir -p "$SETUP_CACHE/logs"
        rm -rf "$made.part"
        say "building jemalloc (about 40 s on 2 cores)"
        if ! "$SETUP_ROOT/scripts/jemalloc" "$made.part" >"$log" 2>&1; then
            say "jemalloc: $(tail -n 1 "$log"); the distribution's serves, with which libpintensor.so cannot be loaded late ($log)"
            return 0
        fi
        mv "$made.part" "$made"
    fi
    with_jemalloc=("--with-jemalloc=$made/lib/libjemalloc_pic.a")
}

setup_jemalloc() { with_lock jemalloc_; }

make_() { # DIR [CONFIGURE-ARG…]
    local dir=$1
    shift
    (
        cd "$SETUP_ROOT" && { [[ -x configure ]] || autoreconf -fi; } || exit
        if [[ -f config.status ]]; then
            echo "this checkout was configured in place, which rules out other build folders: run 'make distclean' in it first"
            exit 1
        fi
        mkdir -p "$dir" && cd "$dir" || exit
        [[ -f Makefile ]] || "$SETUP_ROOT/configure" ${with_jemalloc[@]+"${with_jemalloc[@]}"} "$@" || exit
        make -j"$(nproc)"
    )
}

setup_build() { # [DIR [CONFIGURE-ARG…]]
    local dir=${1:-$SETUP_ROOT/build}
    (($# == 0)) || shift
    [[ -f $dir/Makefile ]] || setup_jemalloc
    step "building pintensor in $dir" '30 s' build make_ "$dir" "$@"
}

# --- memory that may be locked --------------------------------------------------------------

# Locks that much for a moment: neither `ulimit -l` nor a look at the capabilities tells the whole
# story in a container.
require_memlock() { # MIB
    ulimit -S -l "$(ulimit -H -l)" 2>/dev/null || true
    python3 - "$1" <<'END' || {
import ctypes, mmap, sys
size = int(sys.argv[1]) << 20
memory = mmap.mmap(-1, size)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
sys.exit(ctypes.CDLL(None).mlock(ctypes.c_void_p(address), ctypes.c_size_t(size)) != 0)
END
        say "a process here may not lock $1 MiB, which this job needs (ulimit -l says $(ulimit -l) KiB). Either"
        say "    sudo prlimit --pid \$\$ --memlock=unlimited:unlimited     in this shell, and start again; or"
        say "    '$(id -un) - memlock unlimited'  as a line of /etc/security/limits.conf, and log in anew; or"
        say "    docker run --ulimit memlock=-1 …                        in a container"
        return 1
    }
}

# --- the job of scripts/demo_job.py ---------------------------------------------------------

# shellcheck disable=SC2034 # for those who source this
JOB_MEMLOCK_MIB=128 # what each rank of it may want to lock

run_job() ( # VERSION LIB|'' DIR [ARG…]; in a subshell, for its environment and traps
    local preload=$2 dir=$3 port rc=0
    job_env "$1"
    shift 3
    mkdir -p "$dir" || exit
    files=$(mktemp -d "$SETUP_CACHE/nvme.XXXXXX") || exit # async_io wants O_DIRECT: not on a tmpfs
    trap 'rm -rf "$files"' EXIT # so files is no local: these are gone when the trap runs
    clear_op_locks_ +1
    port=$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

    # `timeout` puts the ranks in a process group of their own, and can end them all: so that a
    # hang ends, and Ctrl-C too.
    timeout -k 10 900 env ${preload:+"LD_PRELOAD=$preload${LD_PRELOAD:+:$LD_PRELOAD}"} \
        python -m deepspeed.launcher.runner --num_gpus 2 --master_port "$port" \
        "$SETUP_ROOT/scripts/demo_job.py" --nvme-path "$files" "$@" \
        >"$dir/out" 2>"$dir/err" </dev/null &
    job=$!
    trap 'kill "$job"; wait "$job"; clear_op_locks_; exit 130' INT TERM
    wait "$job" || rc=$?
    if ((rc)); then
        clear_op_locks_
        tail -n 30 "$dir/out" "$dir/err"
        echo "the job ended with status $rc"
    fi
    return "$rc"
)

job_losses() { awk '/^rank [0-9]+ step / { print $2, $4, $6 }' "$1/out" | sort -n -k1 -k2; }
