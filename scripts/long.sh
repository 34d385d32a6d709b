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

# The suites, built by clang with a sanitizer; those that need no more than the core.
long_sanitized() { # NAME FLAGS
    local suites
    suites=$(sed -n '/^check_suites/,/^preload_tests/p' "$SETUP_ROOT/tests/local.mk" | grep -o 'tests/check_[a-z_]*')
    mkdir -p "$LONG_DIR/$1" && cd "$LONG_DIR/$1" || return
    "$SETUP_ROOT/configure" CC=clang CFLAGS="-O1 -g -fno-omit-frame-pointer $2" LDFLAGS="$2" && make -j"$(nproc)" &&
        make check TESTS="$(tr '\n' ' ' <<<"$suites")"
}

long_valgrind() {
    local suite
    cd "$BUILD/gcc" || return
    for suite in check_counters check_free_cache check_block check_api check_fork; do
        top_builddir=$PWD timeout 900 valgrind -q --error-exitcode=99 "tests/$suite" || return
    done
}

long_tests() {
    # The sanitizers' runtime for clang, and valgrind: nothing else needs them.
    setup_apt libclang-rt-14-dev valgrind gcovr
    holds 'long: programs' '5 s' long_programs
    holds 'long: each kernel call fails at each use' '10 min' "$LONG_DIR/fail_points" each
    holds 'long: the same with a driver' '10 min' "$LONG_DIR/fail_points" cuda "$BUILD/gcc/tests/libcuda.so.1" each
    holds 'long: a million random operations' '1 min' "$LONG_DIR/storm" model 11 1000000
    holds 'long: a thousand children beside eight threads' '1 min' "$LONG_DIR/storm" forks 1000 8
    holds 'long: thirteen endings, a hundred times' '5 min' long_endings 100
    for limit in 0 65536 8388608; do
        holds "long: memlock limit of $limit" '1 s' "$LONG_DIR/fail_points" limit "$limit"
    done
    # use_sigaltstack: the sanitizer's own handler for a thread's end writes to a stack that it calls poisoned.
    ASAN_OPTIONS=detect_leaks=0:use_sigaltstack=0 UBSAN_OPTIONS=halt_on_error=1 \
        holds 'long: address and undefined-behaviour sanitizers' '10 min' long_sanitized asan '-fsanitize=address,undefined'
    holds 'long: thread sanitizer' '10 min' long_sanitized tsan '-fsanitize=thread'
    holds 'long: valgrind' '15 min' long_valgrind
}
