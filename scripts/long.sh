# shellcheck shell=bash
# What `scripts/test --long` runs besides: the same kinds of test as always at a length that finds what is rare, and under
# tools that look at every access. About two hours on two cores. Sourced by scripts/test, whose `holds` counts.

LONG_DIR=$BUILD/long
LONG_FUZZ_SECONDS=${PINTENSOR_FUZZ_SECONDS:-600}

long_programs() { # the programs, linked against the build that was just tested
    local linked=(-O1 -g -Wall -I"$SETUP_ROOT/include" -L"$BUILD/gcc/.libs" "-Wl,-rpath,$BUILD/gcc/.libs") program
    mkdir -p "$LONG_DIR"
    for program in storm fail_points; do
        gcc "$SETUP_ROOT/tests/programs/$program.c" -o "$LONG_DIR/$program" "${linked[@]}" -lpintensor -pthread -ldl
    done
    gcc -O1 -g -I"$SETUP_ROOT/include" "$SETUP_ROOT/tests/programs/ends.c" -o "$LONG_DIR/ends" -ldl -pthread
}

# Every ending of a C program, so many times: one report each, and its own status.
long_endings() { # TIMES
    local preload=$BUILD/gcc/.libs/libpintensor_preload.so endings wrong=0 how wanted status text i
    endings='return=0 return 3=3 exit=3 _exit=3 _Exit=3 quick_exit=3 abort=134 assert=134 thread=3 signal handler=3 never=0 kill=137 exec=0'
    for ((i = 0; i < $1; i++)); do
        while IFS='=' read -r how wanted; do
            status=0
            text=$( (ulimit -c 0; LD_PRELOAD=$preload timeout 60 "$LONG_DIR/ends" "$how") 2>&1 >/dev/null) || status=$?
            case $how in never | kill | exec) [[ $text != *'; peak '* ]] ;; *) [[ $text == *'; peak '* ]] ;; esac &&
                ((status == wanted)) || { wrong=$((wrong + 1)); echo "$how: status $status, wanted $wanted: $text"; }
        done < <(sed -E 's/=([0-9]+) /=\1\n/g' <<<"$endings")
    done
    echo "$wrong endings went wrong"
    ((wrong == 0))
}

# The core, built by clang with a sanitizer.
long_build() { # DIR FLAGS TARGET…
    local dir=$LONG_DIR/$1 flags=$2
    shift 2
    mkdir -p "$dir" && cd "$dir" || return
    [[ -e Makefile ]] ||
        "$SETUP_ROOT/configure" ${with_jemalloc[@]+"${with_jemalloc[@]}"} --disable-shared CC=clang CFLAGS="-O1 -g -fno-omit-frame-pointer $flags" LDFLAGS="${flags//,fuzzer-no-link/}" >configure.log || return
    make -j"$(nproc)" libcore.la jemalloc.a libstubs.la tests-fakes "$@"
}

long_suites() { sed -n '/^check_suites/,/^preload_tests/p' "$SETUP_ROOT/tests/local.mk" | grep -o 'tests/check_[a-z_]*'; }

long_asan() {
    local suite
    # shellcheck disable=SC2046 # words
    long_build asan '-fsanitize=address,undefined' $(long_suites) || return
    # use_sigaltstack: the sanitizer's own work at a thread's end writes to a stack that it calls poisoned.
    for suite in $(long_suites); do
        top_builddir=$PWD FAKE_CUDA_PATIENCE=0 ASAN_OPTIONS=detect_leaks=0:use_sigaltstack=0 UBSAN_OPTIONS=halt_on_error=1 \
            timeout 900 "$suite" || return
    done
}

# A race is ours if it happens in our own code. jemalloc and Check are not built with it, so what they lock is not seen. Left out:
# check_locks, which stands in for pthread_mutex_lock() itself, so that no lock of ours is seen; check_driver, which counts
# threads and mappings, of which the sanitizer has its own; and what has one thread alone. In a child, "read lock of a write
# locked mutex" at the arena's gate is no fault: the child makes the gate anew by assignment, since glibc takes an unlock from
# nobody but the thread that locked it, and that is seen as a lock still held.
# detect_deadlocks: it knows 64 locks a thread, and all magazines together have more; --enable-debug checks the order of ours.
# die_after_fork: Check runs each test in a child. exitcode: a race in jemalloc fails no test; but then a process that the
# sanitizer itself ends says 0 as well, and that test would pass: so what it says of that is looked for.
long_tsan() {
    local suite ours=0 ended=0 options
    local suites=(tests/check_{wait,background,counters,magazine,block,sites,api,limit,segments,in_flight,budget,many,dlpack,fork,table})
    long_build tsan '-fsanitize=thread' "${suites[@]}" || return
    options="exitcode=0 die_after_fork=0 detect_deadlocks=0 log_path=$PWD/race"
    rm -f race.*
    for suite in "${suites[@]}"; do # -k: one that hangs in the sanitizer takes no other signal
        top_builddir=$PWD FAKE_CUDA_PATIENCE=0 TSAN_OPTIONS="$options" timeout -k 10 900 "$suite" || return
    done
    clang -O1 -g -fsanitize=thread -I"$SETUP_ROOT/include" "$SETUP_ROOT/tests/programs/storm.c" -o storm .libs/libcore.a jemalloc.a \
        .libs/libstubs.a -ldl -lpthread && PINTENSOR_REPORT=/dev/null TSAN_OPTIONS="$options" timeout -k 10 900 ./storm model 11 100000 || return
    ours=$(cat race.* 2>/dev/null | awk -v RS='==================' '/WARNING: ThreadSanitizer: data race/ && /#0 [^\n]*\/src\/(base|device|memory|ledger|pool|trace|report|life|api)\// { n++ } END { print n + 0 }')
    ended=$(cat race.* 2>/dev/null | grep 'ThreadSanitizer: ' | grep -Evc '(WARNING|SUMMARY): ThreadSanitizer|ThreadSanitizer: reported [0-9]+ warnings')
    echo "$ours races in our code, $ended processes that the sanitizer ended"
    ((ours == 0 && ended == 0))
}

long_fuzz() { # NAME LENGTH [SOURCE…]
    local name=$1 length=$2
    shift 2
    cd "$LONG_DIR/fuzz" || return
    clang -O1 -g -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -I"$SETUP_ROOT/src" -I"$SETUP_ROOT/include" \
        -include "$SETUP_ROOT/src/base/old_libc.h" "$SETUP_ROOT/tests/fuzz/$name.c" "${@/#/$SETUP_ROOT/}" -o "fuzz-$name" .libs/libcore.a jemalloc.a \
        .libs/libstubs.a -ldl -lpthread || return
    mkdir -p "corpus-$name"
    # close_fd_mask: what the library complains of is not what this is about.
    ASAN_OPTIONS=detect_leaks=0 "./fuzz-$name" -max_total_time="$LONG_FUZZ_SECONDS" -max_len="$length" -timeout=20 -close_fd_mask=2 -verbosity=0 \
        -print_final_stats=1 "corpus-$name"
}

# Each takes one core, so as many at once as there are.
long_fuzzers() {
    local what failed=0 running=()
    long_build fuzz '-fsanitize=address,undefined,fuzzer-no-link' || return
    for what in 'options 4096' 'paths 4096' 'suppressions 4096 src/cli/report_suppress.c src/cli/report_model.c' 'table 65536'; do
        if ((${#running[@]} == $(nproc))); then
            wait "${running[0]}" || failed=1
            running=("${running[@]:1}")
        fi
        # shellcheck disable=SC2086 # words
        long_fuzz $what &
        running+=($!)
    done
    for what in ${running[@]+"${running[@]}"}; do
        wait "$what" || failed=1
    done
    return "$failed"
}

# fair-sched: else threads that never wait keep the one that forks from its turn, and check_fork does not come to its end.
long_valgrind() {
    local suite
    cd "$BUILD/gcc" || return
    for suite in check_counters check_free_cache check_block check_api check_fork; do
        top_builddir=$PWD FAKE_CUDA_PATIENCE=0 timeout 900 valgrind -q --fair-sched=yes --error-exitcode=99 "tests/$suite" || return
    done
}

# Of the branches in src/, those that tests take: nine of ten, or this fails. The ten files that have the fewest are named.
# Counters are atomic, since those of threads would lose counts; where processes that end together write one file some become
# negative all the same, and gcovr leaves those lines out. Exceptions would be two ways out of each call that no test can take.
long_coverage() {
    mkdir -p "$LONG_DIR/coverage" && cd "$LONG_DIR/coverage" || return
    "$SETUP_ROOT/configure" ${with_jemalloc[@]+"${with_jemalloc[@]}"} CFLAGS='-O0 -g -fno-exceptions --coverage -fprofile-update=atomic' LDFLAGS='--coverage -Wl,-u,__gcov_dump' >configure.log || return
    find . -name '*.gcda' -delete
    make -j"$(nproc)" || return
    # What fails here has failed before, or wants an optimised build.
    PINTENSOR_TEST_PYTHON=$SETUP_VENV/bin/python PINTENSOR_TEST_OPS_019=$SETUP_CACHE/ops-$SETUP_DEEPSPEED \
        PINTENSOR_TEST_OPS_018=$SETUP_CACHE/ops-$SETUP_DEEPSPEED_OLD \
        PINTENSOR_TEST_DS_018=$SETUP_CACHE/deepspeed-$SETUP_DEEPSPEED_OLD make -j"$(nproc)" check -k || true
    gcovr -r "$SETUP_ROOT" --object-directory . --filter "$SETUP_ROOT/src/" --gcov-ignore-parse-errors --json-summary -o coverage.json || return
    python3 - <<'END'
import json
all = json.load(open("coverage.json"))
for f in sorted((f for f in all["files"] if f["branch_total"]), key=lambda f: f["branch_percent"])[:10]:
    print(f"{f['branch_percent']:5.1f} % of {f['branch_total']:4} branches  {f['filename']}")
print(f"{all['branch_percent']} % of {all['branch_total']} branches, {all['line_percent']} % of {all['line_total']} lines")
raise SystemExit(all["branch_percent"] < 90)
END
}

long_tests() {
    setup_packages long
    holds 'long: programs' '5 s' long_programs
    holds 'long: each kernel call fails at each use' '10 min' "$LONG_DIR/fail_points" each
    holds 'long: the same with a driver' '10 min' "$LONG_DIR/fail_points" cuda "$BUILD/gcc/tests/libcuda.so.1" each
    holds 'long: a million random operations' '1 min' "$LONG_DIR/storm" model 11 1000000
    holds 'long: a thousand children beside eight threads' '1 min' "$LONG_DIR/storm" forks 1000 8
    holds 'long: thirteen endings, a hundred times' '5 min' long_endings 100
    for limit in 0 65536 8388608; do
        holds "long: memlock limit of $limit" '1 s' "$LONG_DIR/fail_points" limit "$limit"
    done
    if (ulimit -l unlimited) 2>/dev/null; then
        holds 'long: no memlock limit' '1 s' "$LONG_DIR/fail_points" limit 18446744073709551615 # RLIM_INFINITY
    else
        skipped=$((skipped + 1))
        say "no memlock limit: skipped, since the limit of $(ulimit -Hl) KiB may not be raised here"
    fi
    holds 'long: address and undefined-behaviour sanitizers' '10 min' long_asan
    holds 'long: thread sanitizer' '10 min' long_tsan
    holds 'long: valgrind' '15 min' long_valgrind
    holds 'long: any environment, path, suppressions, table' "$((LONG_FUZZ_SECONDS * 4)) s, and less with more cores" long_fuzzers
    holds 'long: branches that tests take' '20 min' long_coverage
}
