#!/usr/bin/env bash
# A real job, stock and with the library preloaded: the same losses to the last bit, and a report
# from each rank that names both mistakes of scripts/demo_job.py by file and line.
#
# usage: tests/deepspeed/jobs.sh LIB VERSION      LIB: libpintensor_preload.so; VERSION: DeepSpeed's
# shellcheck disable=SC2317 # functions that `check` calls
set -euo pipefail

(($# == 2)) || { sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2; }
lib=$(realpath -- "$1") version=$2
[[ -r $lib ]] || { echo "Bail out! no library at $lib"; exit 2; }

# shellcheck source=scripts/setup.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../../scripts/setup.sh"
setup_python
setup_ops "$version"
require_memlock "$JOB_MEMLOCK_MIB"
unset PINTENSOR_REPORT # to stderr

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
failed=0
exec 3>&1

check() { # NAME COMMAND…   what COMMAND prints is shown only when it fails
    local name="deepspeed $version: $1"
    shift
    if "$@" >"$work/said" 2>&1; then
        echo "ok - $name"
    else
        echo "not ok - $name"
        sed 's/^/# /' "$work/said"
        failed=1
    fi
}

# torch's gloo threads let go of tensors that Python knows, and ask for the GIL for that. Where Python ends meanwhile, it stops such
# a thread inside a destructor, and the process aborts ("terminate called without an active exception": decref_pyobject,
# PyEval_AcquireThread, pthread_exit), after its last step: three of some hundred jobs on a busy machine. Such a job
# gets a second try; one that aborts again, or sooner, or otherwise, has failed.
ends_well() { # LIB|'' DIR
    local status=0
    run_job "$version" "$1" "$2" || status=$?
    if ((status == 250)) && [[ $(job_losses "$2" | wc -l) == 12 ]] &&
        grep -q '^terminate called without an active exception' "$2/err"; then
        echo "# $(basename "$2"): aborted while Python ended, after its last step; once more" >&3
        run_job "$version" "$1" "$2"
        return
    fi
    return "$status"
}

same_losses() {
    job_losses "$work/stock" >"$work/stock.losses"
    job_losses "$work/ours" >"$work/ours.losses"
    [[ $(wc -l <"$work/stock.losses") == 12 ]] || { echo 'not 12 losses: 2 ranks, 6 steps'; return 1; }
    diff "$work/stock.losses" "$work/ours.losses"
}

report() { # RANK
    awk -v start="; rank $1 on " '/^pintensor:/ { on = $0 ~ start } !/^(pintensor:|  )/ { on = 0 } on' \
        "$work/ours/err"
}

# The report of RANK has an entry of this KIND whose stack shows the marked line, in FUNCTION.
names() { # RANK KIND MARKER FUNCTION
    local line entry
    line=$(grep -n "# marker: $3\$" "$SETUP_ROOT/scripts/demo_job.py" | cut -d: -f1)
    entry=$(report "$1" | awk -v kind="$2" '/^ +[A-Z]+ / { on = $1 == kind } on')
    grep -qE "demo_job\.py:$line +$4( |\$)" <<<"$entry" && return
    echo "no $2 with demo_job.py:$line $4 in what rank $1 reported:"
    report "$1"
    return 1
}

check 'the stock job ends well' ends_well '' "$work/stock"
check 'the preloaded job ends well' ends_well "$lib" "$work/ours"
check 'the losses are the same, bit for bit' same_losses
for rank in 0 1; do
    check "rank $rank: collect, which keeps every tensor, is growing" names "$rank" GROWING grows collect
    check "rank $rank: normalise, which never frees, is reclaimed" names "$rank" RECLAIMED drops normalise
done
exit "$failed"
