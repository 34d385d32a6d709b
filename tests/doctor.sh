#!/usr/bin/env bash
# `pintensor doctor`: each thing that would stop a job, made here one at a time, is named with what mends it.
# shellcheck disable=SC2154 # capture() sets status, out and err
. "$(dirname "$0")/lib.sh"
command=$top_builddir/pintensor
unset CXX TORCH_EXTENSIONS_DIR XDG_CACHE_HOME PYTHONPATH PYTHONHOME
export HOME=$work/home
mkdir -p "$HOME" "$work/bin"
real_path=$PATH
real_python=$("$python" -c 'import sys; print(sys.executable)')
compile refuses.c refuses

# What stands in for the job's Python says what it is told, and nothing else is on PATH.
python_says() { # LINE…
    { echo '#!/bin/sh'; printf "printf '%%s\\\\n' '%s'\n" "$@"; } >"$work/bin/python3"
    chmod +x "$work/bin/python3"
}
doctor() { PATH=$work/bin capture "$command" doctor "$@"; }
check() { sed -n "s/^  \([a-zA-Z]*\) *$1  *\(.*\)/\1 \2/p" <<<"$out"; } # NAME   how it is, what was found, how to mend it
fix_of() { sed -n "/^  [a-zA-Z]* *$1 /{n;s/^  *fix: //p}" <<<"$out"; } # NAME
finds() { # NAME CHECK STATE WORDS [FIX]
    has "$1" "$(check "$2")" "$3 "
    has "$1: what" "$(check "$2")" "$4"
    if [[ $3 == ok ]]; then
        is "$1: no fix" "$(fix_of "$2")" ''
    else
        has "$1: the fix" " $(fix_of "$2")" " ${5-}"
        [[ -n $(fix_of "$2") ]] || not_ok "$1: a fix"
    fi
    if [[ $3 == STOPS ]]; then is "$1: status" "$status" 1; fi
}

# --- as a whole ------------------------------------------------------------------------------------

python_says 'program=/nowhere/python3'
names=$(sed -n 's/^X("\([^"]*\)", .*/\1/p' "$top_srcdir/src/cli/doctor.def")
doctor
is 'text: each check once, in order' "$(sed -n 's/^  [a-zA-Z]\{2,\} *\(.\{13\}\) .*/\1/p' <<<"$out" | sed 's/ *$//')" "$names"
has 'text: the first line says it all' "$(head -n 1 <<<"$out")" 'pintensor: '
is 'text: nothing on stderr' "$err" ''
doctor --json
json=$out
# shellcheck disable=SC2016
is 'json: valid, each check once, with a fix where one is needed' "$("$real_python" -c '
import json, sys
d = json.loads(sys.stdin.buffer.read())
for c in d["checks"]:
    assert c["state"] in ("ok", "note", "stops") and c["found"] and (c["fix"] is None) == (c["state"] == "ok"), c
stops = [c for c in d["checks"] if c["state"] == "stops"]
assert d["version"] == 1 and d["well"] == (not stops)
assert d["lockable_bytes"] is None or d["limited_by"] in [c["name"] for c in d["checks"]]
print("\n".join(c["name"] for c in d["checks"]))' <<<"$json")" "$names"
capture "$command" doctor --jso
is 'a wrong word' "$status $out$err" '2 pintensor: doctor takes --json and nothing else'
if [[ -w /dev/full ]]; then
    "$command" doctor >/dev/full 2>&1
    is 'nobody can read it' "$?" 1
fi

# --- limits -----------------------------------------------------------------------------------------

as() { # COMMAND…   the doctor, below it
    PATH=$work/bin:$real_path capture "$@" "$command" doctor
}
as limited 65536:4194304
finds 'memlock' memlock STOPS '64.0 KiB, which the library raises by itself to 4.0 MiB, and there is no CAP_IPC_LOCK' '`ulimit -l unlimited`'
finds 'memlock: what fits is locked' lock ok 'a process locked 1.0 MiB'
has 'memlock: the first line' "$out" 'pintensor: a process can mlock 4.0 MiB here (memlock); '
as limited 65536:65536
finds 'memlock below a MiB' lock STOPS 'a process that was to lock 1.0 MiB failed: ' 'allow mlock'
if [[ $EUID == 0 ]]; then
    as prlimit --memlock=65536:65536
    finds 'the capability' memlock ok 'CAP_IPC_LOCK'
fi
as prlimit --as=134217728
finds 'address space' 'address space' STOPS '128.0 MiB' '`ulimit -v unlimited`'

munlock=$(printf '#include <sys/syscall.h>\nSYS_munlock SYS_mlock\n' | ${CC:-cc} -E - | tail -n 1)
as "$work/refuses" "${munlock% *}"
finds 'a filter without munlock' seccomp STOPS 'a filter that refuses munlock' 'a profile that allows munlock'
as "$work/refuses" "${munlock#* }"
finds 'a filter without mlock' lock STOPS 'failed: Operation not permitted'
finds 'a filter without mlock: the rest is allowed' seccomp ok 'a filter, which allows what is needed'

# --- the machine, as far as it can be shown another one ----------------------------------------------------

elsewhere() { # SCRIPT   in which $1 is a directory to make things in; then the doctor
    # shellcheck disable=SC2016 # for the other shell
    PATH=$work/bin:$real_path capture unshare -m --propagation private bash -c "$1"'
        exec "$2" doctor' - "$work" "$command"
}
if unshare -m --propagation private mount -t tmpfs none /mnt 2>/dev/null; then
    echo 1000 >"$work/few"
    # shellcheck disable=SC2016
    elsewhere 'mount --bind "$1/few" /proc/sys/vm/max_map_count'
    finds 'few mappings' mappings STOPS 'a process may have 1,000' '`sysctl -w vm.max_map_count'
    printf 'MemTotal: 8000000 kB\nMemFree: 1 kB\nMemAvailable: 20480 kB\n' >"$work/meminfo"
    # shellcheck disable=SC2016
    elsewhere 'mount --bind "$1/meminfo" /proc/meminfo'
    finds 'little memory' memory STOPS '20.0 MiB available of 7.6 GiB'
    if [[ -e /sys/kernel/mm/transparent_hugepage/shmem_enabled ]]; then
        echo 'always within_size advise never [deny] force' >"$work/deny"
        echo 'always madvise [never]' >"$work/never"
        # shellcheck disable=SC2016
        elsewhere 'mount --bind "$1/deny" /sys/kernel/mm/transparent_hugepage/shmem_enabled'
        finds 'shared huge pages denied' 'huge pages' note 'shmem_enabled: deny: locking takes'
        # shellcheck disable=SC2016
        elsewhere 'mount --bind "$1/never" /sys/kernel/mm/transparent_hugepage/enabled'
        finds 'no huge pages' 'huge pages' note 'enabled: never,'
    fi

    cgroups() { # VERSION FILES   made in the cgroup above this one, or in this one where there is none above
        local at=/sys/fs/cgroup
        if [[ $1 == 1 ]]; then at+=/memory$(sed -n 's#^[0-9]*:memory:##p' /proc/self/cgroup); else at+=$(sed -n 's#^0::##p' /proc/self/cgroup); fi
        at=${at%/}
        # shellcheck disable=SC2016
        elsewhere "at='$at'"'; mount -t tmpfs none /sys/fs/cgroup && mkdir -p "$at" || exit 9
            [[ ${at%/*} != /sys/fs/cgroup/* ]] || at=${at%/*}
            cd "$at" && '"$2; cd /"
    }
    for version in 1 2; do
        if [[ $version == 1 ]]; then
            grep -q '^[0-9]*:memory:/' /proc/self/cgroup || continue
            most=memory.limit_in_bytes used=memory.usage_in_bytes stat=total_
        else
            grep -q '^0::/' /proc/self/cgroup || continue
            most=memory.max used=memory.current stat=
        fi
        limit="echo 300000000 >$most; printf '${stat}active_file 60000000\n${stat}inactive_file 40000000\n' >memory.stat"
        cgroups $version "$limit; echo 250000000 >$used"
        finds "version $version, a cgroup above" cgroup ok "143.1 MiB free of 286.1 MiB, by $most in /sys/fs/cgroup"
        has "version $version, a cgroup above: the first line" "$out" 'pintensor: a process can mlock 143.1 MiB here (cgroup)'
        cgroups $version "$limit; echo 390000000 >$used"
        finds "version $version, a full cgroup" cgroup STOPS '9.5 MiB free of 286.1 MiB' '`docker run --memory`'
        cgroups $version "echo 9223372036854771712 >$most"
        finds "version $version, no limit" cgroup ok 'no limit'
    done
    if grep -q '^0::/' /proc/self/cgroup; then
        cgroups 2 'echo max >memory.max; echo 200000000 >memory.high'
        finds 'a cgroup that slows down' cgroup note 'no limit; from 190.7 MiB on (memory.high)'
    fi

    # A device file that opens, and one that does not.
    # shellcheck disable=SC2016
    gpu='mkdir -p "$1/dev" && touch "$1/dev/null" "$1/dev/nvidiactl" "$1/dev/nvidia-uvm" "$1/dev/nvidia0" &&
        mount --bind /dev/null "$1/dev/null" && mount --rbind "$1/dev" /dev || exit 9'
    elsewhere "$gpu"
    finds 'a GPU without a driver' cuda STOPS 'libcuda.so.1 cannot be loaded, with 1 GPU' 'install the driver, in a container'
    if [[ -e $top_builddir/tests/libcuda.so.1 ]]; then
        # shellcheck disable=SC2016
        elsewhere "$gpu; export LD_LIBRARY_PATH=$top_builddir/tests"
        finds 'a GPU with its driver' cuda ok "$top_builddir/tests/libcuda.so.1, for CUDA "
        if [[ $EUID == 0 ]]; then
            elsewhere "$gpu; export LD_LIBRARY_PATH=$top_builddir/tests
                exec prlimit --memlock=65536:65536 setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock \"\$2\" doctor"
            finds 'with a GPU a memlock limit stops nothing' memlock note 'what is registered with the GPU does not count'
            finds 'with a GPU a refused lock stops nothing' lock note 'failed: '
            # shellcheck disable=SC2016
            elsewhere "$gpu; rm /dev/nvidia0; mkdir /dev/nvidia0; touch /dev/nvidia1; export LD_LIBRARY_PATH=$top_builddir/tests"
            finds 'a GPU that belongs to another job' cuda ok '1 GPU'
            # shellcheck disable=SC2016
            elsewhere "$gpu; rm /dev/nvidia-uvm; mkdir /dev/nvidia-uvm"
            finds 'a device file that cannot be opened' cuda STOPS '/dev/nvidia-uvm (Is a directory) cannot be opened'
        fi
    fi
else
    echo '# no mounts can be made here'
fi

# --- Python, torch and the bridge -----------------------------------------------------------------------------

torch() { # VERSION
    mkdir -p "$work/torch/include/torch/csrc/api/include"
    python_says 'program=/nowhere/python3' version=3.11.7 "torch=$work/torch" "torch_version=$1"
    doctor
}
rm "$work/bin/python3"
doctor
finds 'no Python' python note 'none on PATH' "put the job's Python first"
printf '#!/bin/sh\nexit 3\n' >"$work/bin/python3"
chmod +x "$work/bin/python3"
doctor
finds 'a Python that fails' python note 'python3 could not be asked (status 3)'
torch 2.7.1
finds 'torch is too old' torch STOPS '2.7.1 in ' 'install another torch'
finds 'torch is too old: no bridge' bridge ok 'none needed'
torch 2.15.0
finds 'torch is too new' torch STOPS 'served are 2.8 to 2.14'
torch 2.13.0+cu130
finds 'torch' torch ok "2.13.0+cu130 in $work/torch"
finds 'no compiler' bridge STOPS 'not there, and there is no C++ compiler to build it with' 'install g++'
finds 'the cache' cache ok "$HOME/.cache/pintensor"
printf '#!/bin/sh\n' >"$work/bin/clang++"
chmod +x "$work/bin/clang++"
doctor
finds 'a compiler' bridge ok 'will be built at first use, by clang++'
CXX="$work/bin/clang++ -O1" doctor
finds 'CXX' bridge ok "by $work/bin/clang++ -O1"
rm -r "$work/torch/include"
doctor
finds 'no headers' bridge STOPS 'torch has no C++ headers'
mkdir -p "$HOME/.cache/pintensor"
touch "$HOME/.cache/pintensor/bridge-2.13.0+cu130-1f.log"
doctor
finds 'a build that failed' bridge STOPS 'building it failed before: see '
touch "$HOME/.cache/pintensor/bridge-2.13.0+cu130-1f.so"
doctor
finds 'in the cache' bridge ok 'built before: '
chmod 777 "$HOME/.cache/pintensor"
doctor
finds 'a cache for all' cache STOPS 'may be written to by others' 'set XDG_CACHE_HOME'
XDG_CACHE_HOME=/dev/null/x doctor
finds 'a cache nowhere' cache STOPS 'cannot be written to'
rm -r "$HOME/.cache"
mkdir -p "$work/away/pintensor"
cp "$command" "$work/away/command"
cp "$preload" "$work/away"
touch "$work/away/pintensor/bridge-torch-2.13-1f.so"
PATH=$work/bin capture "$work/away/command" doctor
finds 'ready made' bridge ok "ready made: $work/away/pintensor/bridge-torch-2.13-1f.so"
finds 'ready made: no cache' cache ok 'none needed'
mv "$work/away" "$work/a way"
PATH=$work/bin capture "$work/a way/command" doctor
finds 'a path that cannot be preloaded' library STOPS ', which LD_PRELOAD cannot name' '`make install` again'

# The real question to Python: what a package is called is found without running it.
mkdir -p "$work/site/torch" "$work/site/deepspeed"
echo 'raise SystemExit("was imported")' | tee "$work/site/torch/__init__.py" >"$work/site/deepspeed/__init__.py"
echo "__version__ = '2.9.1+cpu'" >"$work/site/torch/version.py"
echo "version='0.18.9'" >"$work/site/deepspeed/git_version_info_installed.py"
printf '#!/bin/sh\nexec "%s" "$@"\n' "$real_python" >"$work/bin/python3"
PYTHONPATH=$work/site doctor
finds 'a real Python' python ok "$("$real_python" -c 'import platform; print(platform.python_version())'), /"
finds 'its torch' torch ok "2.9.1+cpu in $work/site/torch"
finds 'its DeepSpeed' deepspeed ok "0.18.9 in $work/site/deepspeed"
finds 'its libc' libc ok 'glibc '

# --- the program that Python is ---------------------------------------------------------------------------------

cat >"$work/main.c" <<<'int main(void) { return 0; }'
${CC:-cc} "$work/main.c" -o "$work/musl" -Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1
${CC:-cc} "$work/main.c" -o "$work/static" -static-pie -nostartfiles -nostdlib -Wl,-emain,--no-dynamic-linker
python_says "program=$work/musl"
doctor
finds 'musl' libc STOPS 'runs with musl' 'run Python from a distribution with glibc'
python_says "program=$work/static"
doctor
finds 'static' libc STOPS 'is linked statically'
if [[ $EUID == 0 ]]; then
    cp "$work/musl" "$work/setuid"
    chown 65534 "$work/setuid"
    chmod u+s "$work/setuid"
    python_says "program=$work/setuid"
    doctor
    finds 'setuid' rights STOPS 'has rights that its caller has not' "take the setuid bit"
fi
python_says "$(printf 'program=/no\033[2Jwhere\377 "\\')"
doctor
lacks 'nothing steers the terminal' "$out" $'\033'
doctor --json
is 'json: valid whatever a path holds' "$("$real_python" -c 'import json, sys; json.loads(sys.stdin.buffer.read()); print("valid")' <<<"$out")" valid

# --- ops --------------------------------------------------------------------------------------------------------

compile fake_op.c normal.so -shared -fPIC -fsemantic-interposition -Wl,-z,lazy
compile fake_op.c symbolic.so -shared -fPIC -Wl,-Bsymbolic-functions
mkdir -p "$work/ops/py311/pin_memory" "$work/home/.cache/torch_extensions/a" "$work/site/deepspeed/ops/b"
cp "$work/normal.so" "$work/ops/py311/pin_memory/pin_memory.so"
doctor
finds 'no ops' ops ok 'none built yet in '
TORCH_EXTENSIONS_DIR=$work/ops doctor
finds 'an op' ops ok '1 with pinned tensors, all of which can be reached'
cp "$work/symbolic.so" "$work/home/.cache/torch_extensions/a/pin_memory.so"
doctor
finds 'an op out of reach' ops STOPS "1 linked with -Bsymbolic-functions, which no preload reaches: $HOME/.cache/torch_extensions/a/pin_memory.so" 'delete them'
cp "$work/symbolic.so" "$work/site/deepspeed/ops/b/pin_memory.so"
python_says 'program=/nowhere/python3' "deepspeed=$work/site/deepspeed" deepspeed_version=0.19.8
TORCH_EXTENSIONS_DIR=$work/ops doctor
finds "an op that was built with DeepSpeed" ops STOPS "$work/site/deepspeed/ops/b/pin_memory.so"
size=$(stat -c %s "$work/symbolic.so")
for ((at = 0; at < size; at += size / 40)); do
    mkdir -p "$work/cut/$at"
    head -c "$at" "$work/symbolic.so" >"$work/cut/$at/op.so"
    { head -c "$at" "$work/normal.so"; printf '\377\377\377\377\377\377\377\177'; tail -c +$((at + 9)) "$work/normal.so"; } >"$work/cut/$at/spoilt.so"
done
python_says 'program=/nowhere/python3'
TORCH_EXTENSIONS_DIR=$work/cut doctor
has 'damaged files do no harm' "$(check ops)" ' '
is 'damaged files do no harm: it ends' "$err" ''
finish
