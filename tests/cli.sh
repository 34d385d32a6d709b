#!/usr/bin/env bash
# The command: what it refuses before it starts anything, what the program finds, what is said after the run.
# shellcheck disable=SC2154 # capture() sets status, out and err
ds_018=${PINTENSOR_TEST_DS_018-}
. "$(dirname "$0")/lib.sh"
command=$top_builddir/pintensor
compile ends.c ends -ldl -pthread
unset LOCAL_RANK LOCAL_WORLD_SIZE LOCAL_SIZE OMPI_COMM_WORLD_LOCAL_RANK MPI_LOCALRANKID SLURM_LOCALID DS_ENV_FILE
export TMPDIR=$work
cd "$work" || exit 99

# --- what is typed -----------------------------------------------------------------------------

refuses() { # NAME TEXT COMMAND…
    local name=$1 text=$2
    shift 2
    capture "$command" "$@"
    is "$name: refused" "$status $out" '2 '
    has "$name: says" "$err" "$text"
    is "$name: in one line" "$(wc -l <<<"$err")" 1
}
# shellcheck disable=SC2016 # a backquote
refuses nothing 'try `pintensor run' -
refuses 'nothing to run' 'run what?' run --stack=off
refuses 'a name' '--stak is no option of run; did you mean --stack?' run --stak=full echo started
refuses 'a name with a dash too many' '--exit-code is no option of run; did you mean --exitcode?' run --exit-code=3 echo started
refuses 'a letter' '-x is no option of run' run -x echo started
refuses 'a choice' '--stack=all is not one of off,python,full' run --stack=all echo started
refuses 'a set' '--fail-on=held,dead is not one of growing,reclaimed,held,misused' run --fail-on=held,dead echo started
refuses 'a number' '--cache=101 is not a whole number from 0 to 100' run --cache=101 echo started
refuses 'no value' '--report needs a value' run --report
# shellcheck disable=SC2016 # a backquote
refuses 'no word at all' 'try `pintensor run'
refuses 'a shell too few' 'try' completion
refuses 'a word too many' 'try' man now
refuses 'a version of what' 'try' --version now
refuses 'help with what' 'try' --help me
refuses 'what doctor does not take' 'doctor takes --json and nothing else' doctor --jsn
refuses 'two words for doctor' 'doctor takes --json and nothing else' doctor --json --json
refuses 'a long name' "is no option of run; did you mean --" run "--stack$(printf '%0100d' 0)" echo started
refuses 'no name' '-- is no option of run' run --=x echo started
refuses 'no shell of ours' 'for bash and for zsh' completion fish
for words in -h --help 'run -h' 'run --help' 'run --stack=off --help'; do
    # shellcheck disable=SC2086 # words
    capture "$command" $words
    is "$words" "$status $(head -c 20 <<<"$out") $err" '0 usage: pintensor run '
done
for words in -V --version 'run -V' 'run --version'; do
    # shellcheck disable=SC2086 # words
    capture "$command" $words
    is "$words" "$status ${out%% *} $err" '0 pintensor '
done

# --- what the program finds ------------------------------------------------------------------------

# shellcheck disable=SC2016 # for the other shell
capture "$command" run --on-limit pageable --torch=0 --report=a/%p.txt --idle=3 sh -c 'env | grep "^PINTENSOR" | sort; exit $2' - --report 5
is 'options become variables, and its own words stay its own' "$status $out" "5 PINTENSOR_IDLE=3
PINTENSOR_ON_LIMIT=pageable
PINTENSOR_REPORT=$PWD/a/%p.txt
PINTENSOR_TORCH=0"
# shellcheck disable=SC2016 # for the other shell
capture "$command" run --report= sh -c 'echo "[$PINTENSOR_REPORT]"'
is 'no report is no path' "$status $out" '0 []'
# shellcheck disable=SC2016 # likewise, and below
LD_PRELOAD='' capture "$command" run -- sh -c 'echo "$LD_PRELOAD"'
is 'an empty LD_PRELOAD is none' "$status $out" "0 $(realpath "$preload")"
LD_PRELOAD=libc.so.6 capture "$command" run -- sh -c 'echo "$LD_PRELOAD"'
is 'what is preloaded already comes after' "$status $out" "0 $(realpath "$preload"):libc.so.6"
LD_PRELOAD=$(printf '%09000d' 0) capture "$command" run -- true
is 'an LD_PRELOAD without end' "$status ${err##*pintensor}" '125 : LD_PRELOAD is too long already'
PINTENSOR_VERBOSE=$(printf '%0100d' 1) capture "$command" run -- true
is 'a choice without end is none' "$status" 0
mkdir -p 'a way' lonely && cp "$command" 'a way/command' && cp "$preload" 'a way' && cp "$command" lonely
capture 'a way/command' run -- true
has 'a library that cannot be named' "$status $err" '125 pintensor: '
has 'a library that cannot be named: why' "$err" ' has a space or a colon in its path, which LD_PRELOAD cannot express'
if [[ ! -e $(sed -n 's/^libdir = //p' "$top_builddir/Makefile" | head -n 1)/libpintensor_preload.so ]]; then
    capture lonely/"$(basename "$command")" run -- true
    has 'no library' "$status $err" '125 pintensor: libpintensor_preload.so not found beside this command'
fi
capture "$command" run -- sh -c 'exit 42'
is 'its status' "$status $err" '42 '
capture "$command" run -- ./nowhere
is 'not found' "$status $err" '127 pintensor: cannot run ./nowhere: No such file or directory'
echo text >text
capture "$command" run -- ./text
is 'no program' "$status $err" '126 pintensor: cannot run ./text: Permission denied'
is 'its input is its own' "$(echo words | "$command" run -- cat)" words

mkdir killed # whoever is killed leaves its directory
says() { # NAME WANTED
    is "signals: $1" "$(TMPDIR=$work/killed timeout 60 "$python" "$pythons/run_signals.py" "$command" "$1" 2>/dev/null)" "$2"
}
says passed_on 'SIGHUP
SIGINT
SIGQUIT
SIGTERM
SIGALRM
SIGWINCH
SIGRTMIN
7'
says default_action 'SIGHUP True True
SIGTERM True True
SIGUSR1 True True
SIGKILL True True'
says same_group 'SIGTERM
7'
says stopped 'stopped True T
goes on True
not stopped with it True
7'
says terminal '1 1 7'
says files '/dev/null /dev/null 3
True
7'
inherits=$(timeout 60 "$python" "$pythons/run_signals.py" "$command" as_it_was)
is 'what it inherits' "$(sed -n 2p <<<"$inherits")" "$(sed -n 1p <<<"$inherits")"
has 'and that is known' "$inherits" '0 SigBlk: 0000000000000200'

# --- after the run ---------------------------------------------------------------------------------------

quiet_report() { capture "$command" run --report=/dev/null "$@"; }
said() { sed -E 's/pid [0-9]+/pid N/; /^Killed$/d' <<<"$err"; } # which is the shell's word

quiet_report -- "$work/ends" exit
is 'nothing is said of a clean job' "$status $err" '3 '
quiet_report -- true
is 'nor where nothing was pinned' "$status $err" '0 '
quiet_report --verbose=on -- "$work/ends" exit
is 'unless it is wanted' "$err" 'pintensor: after the run: 1 process here pinned memory, none is known to have lost any'
quiet_report --verbose=on -- true
is 'wanted, and nothing was pinned' "$err" 'pintensor: after the run: no process here pinned memory through pintensor'
quiet_report -- "$work/ends" kill
is 'the program was killed' "$status $(said)" "137 pintensor: after the run: 1 process here pinned memory, none is known to have lost any
  (pid N, ends) was ended by signal 9 (Killed) and left no report
  next: dmesg -T | grep -i 'killed process'"
quiet_report -- sh -c "RANK=3 '$work/ends' kill; RANK=4 '$work/ends' exit; RANK=1 '$work/ends' 'a child that pins'; true"
is 'one of several was killed' "$(said)" "pintensor: after the run: 4 processes here pinned memory, none is known to have lost any
  rank 3 (pid N, ends) ended without a report: it was killed, or another program took its place
  next: dmesg -T | grep -i 'killed process'"
cat >ranks.sh <<'END'
for rank in 8 9 11; do
    RANK=$rank LOCAL_RANK=$((rank - 8)) LOCAL_WORLD_SIZE=4 /bin/true
done
env -u LD_PRELOAD RANK=10 LOCAL_RANK=2 LOCAL_WORLD_SIZE=4 /bin/true
END
quiet_report -- bash ranks.sh
is 'a rank without it' "$(tail -n +2 <<<"$err")" '  rank 10 ran without pintensor: LD_PRELOAD did not reach it'
LOCAL_RANK=3 quiet_report -- bash ranks.sh
is 'a command in a rank knows nothing of the others' "$err" ''

# What processes tell, as a job would: tells PID RANK WORDS…
# shellcheck disable=SC2016 # for the other shell
tells='tell() { printf "begun $2 train.py\n${3-}" >"$_PINTENSOR_JOB/process.$1.5.$(uname -n)"; }; '
# shellcheck disable=SC2016
job() { quiet_report "$@"; }
job -- sh -c "$tells"'for i in 0 1 2 3; do tell 400000$i $i "ended 2 6291456\n"; done'
is 'all alike is said once' "$(sed -n 2,3p <<<"$err" | grep -v next)" '  4 ranks alike: 6.0 MiB at 2 sites each'
job -- sh -c "$tells"'for i in 0 1 2 3 4 5 6 7; do tell 400000$i $i "ended 2 6291456 train.py:44  collect\n"; done; tell 4000008 8 "ended 1 7 x\033[31m.py:1  f\n"'
is 'those alike are said once, with their line; the other one by itself' "$(sed -n 2,3p <<<"$err")" '  8 ranks alike: 6.0 MiB at 2 sites each, most at train.py:44  collect
  rank 8 (pid 4000008, train.py): 7 B at 1 site: x\x1b[31m.py:1  f'
capture "$command" run -- sh -c "$tells"'tell 4000007 1 "ended 1 1024\n"; tell 4000005 0 "ended 0 0\n"; tell 4000006 2' "it's"
is 'each that is to be told of' "$err" "pintensor: after the run: 1 of 3 processes that pinned memory here lost some, 1.0 KiB in all
  rank 1 (pid 4000007, train.py): 1.0 KiB at 1 site
  rank 2 (pid 4000006, train.py) ended without a report: it was killed, or another program took its place
  next: pintensor run --stack=full --report='pintensor-%p.txt' -- sh -c '${tells//\'/\'\\\'\'}tell 4000007 1 \"ended 1 1024\\n\"; tell 4000005 0 \"ended 0 0\\n\"; tell 4000006 2' 'it'\\''s'"
capture "$command" run --report leaks-%r.txt -- sh -c "$tells"'tell 4000007 1 "ended 1 1024\n"'
is 'the report is in a file' "$(tail -n 1 <<<"$err")" "  next: less $PWD/leaks-*.txt"
# shellcheck disable=SC2016
capture "$command" run -- sh -c "$tells"'tell $$ 0; : >"$_PINTENSOR_JOB/process.junk"; : >"$_PINTENSOR_JOB/rank.x"; tell 9 1 "ended x\n\n"; echo >"$_PINTENSOR_JOB/process.77.1.elsewhere"'
is 'what is no record harms nobody' "$(grep -c . <<<"$err")" 5
sleep 30 &
capture "$command" run -- sh -c "$tells tell $! 0"
kill $!
is 'one that goes on' "$(sed -n 2p <<<"$err")" "  rank 0 (pid $!, train.py) still runs"
capture env TMPDIR=/nowhere "$command" run -- "$work/ends" return
is 'no directory can be made: the job runs' "$status $(reports_in "$err")" '0 1'
is 'nothing is left behind' "$(echo pintensor-job-*)" 'pintensor-job-*'
if [[ -n $torch_python && -n $ops_019 ]] && lockable 32; then
    quiet_report -- "$torch_python" "$pythons/lifetime.py" "$ops_019" leaks
    is 'a job that loses memory' "$(said)" "pintensor: after the run: 1 of 1 process that pinned memory here lost some, 585.9 KiB in all
  (pid N, lifetime.py): 585.9 KiB at 1 site: $pythons/lifetime.py:48  new
  next: less /dev/null"
fi

# --- other machines ------------------------------------------------------------------------------------

mkdir -p bin home
# shellcheck disable=SC2016
printf '#!/bin/sh\n[ -z "$DS_ENV_FILE" ] || cat "$DS_ENV_FILE"\n' | tee bin/deepspeed >bin/script
# shellcheck disable=SC2016
printf '#!/bin/sh\nprintf "%%s " "$@"\n' >bin/mpirun
: >bin/ompi_info
chmod +x bin/*
carried() { # NAME WANTED ARGUMENT…
    local name=$1 wanted=$2
    shift 2
    capture env HOME="$work/home" PATH="$work/bin:$PATH" "$command" run "$@"
    is "$name" "$(sed -E 's/pintensor-job-\w{6}/JOB/' <<<"$out$err")" "$wanted"
}
carried 'deepspeed is told' "LD_PRELOAD=$(realpath "$preload")
PINTENSOR_STACK=off
_PINTENSOR_JOB=$work/JOB" --stack=off deepspeed train.py
printf 'HOMELY=1\n' >home/.deepspeed_env
printf 'PINTENSOR_STACK=full\nLD_PRELOAD=/lib/other.so\nNCCL_DEBUG=INFO' >.deepspeed_env
carried 'beside what is in its files' "HOMELY=1
PINTENSOR_STACK=full
NCCL_DEBUG=INFO
LD_PRELOAD=$(realpath "$preload"):/lib/other.so
PINTENSOR_STACK=off
_PINTENSOR_JOB=$work/JOB" --stack=off "$work/bin/deepspeed" train.py
rm .deepspeed_env home/.deepspeed_env
# shellcheck disable=SC2016
carried 'what cannot be carried is said' "LD_PRELOAD=$(realpath "$preload")
_PINTENSOR_JOB=$work/JOBpintensor: PINTENSOR_REPORT has a character that DeepSpeed's launcher cannot hand on to other machines" \
    --report='$x' deepspeed train.py
carried 'a script is left alone' '' script train.py
carried 'srun hands all on' '' deepspeed --launcher slurm train.py
rm bin/ompi_info
carried 'an mpirun that hands all on' '-n 2 train ' mpirun -n 2 train
: >bin/ompi_info && chmod +x bin/ompi_info
carried "Open MPI's" '-x PINTENSOR_STACK -x _PINTENSOR_JOB -n 2 -x LD_PRELOAD=x train ' --stack=off mpirun -n 2 -x LD_PRELOAD=x train

# DeepSpeed's own launcher, with two machines that are none.
printf 'a slots=1\nb slots=1\n' >hostfile
# shellcheck disable=SC2016
printf '#!/bin/sh\nshift 5\necho "$@"\n' >bin/pdsh
printf '#!/bin/sh\necho 127.0.0.1\n' >bin/ssh
chmod +x bin/*
printf 'HOMELY=1\n' >home/.deepspeed_env
for packages in '' ${ds_018:+"$ds_018"}; do
    [[ -n $torch_python ]] && "$torch_python" -c 'import deepspeed' &>/dev/null || continue
    capture env HOME="$work/home" PATH="$work/bin:$PATH" PYTHONPATH="$packages" "$command" run --fail-on=held,growing --report='a b%r' -- \
        "$torch_python" -u -m deepspeed.launcher.runner --hostfile hostfile --master_addr 127.0.0.1 train.py
    has "DeepSpeed${packages:+ 0.18}: what the other machines are told" "$(grep -v '^\[' <<<"$out")" \
        "export HOMELY=1; export LD_PRELOAD=$(realpath "$preload"); export PINTENSOR_FAIL_ON=held,growing; export PINTENSOR_REPORT=\"$PWD/a b%r\"; export _PINTENSOR_JOB="
done
rm home/.deepspeed_env

# --- one table ------------------------------------------------------------------------------------------

options=$(sed -n 's/^X(\([A-Z_]*\),.*/\1/p' "$top_srcdir/src/base/options.def" | sort)
typed=$(tr 'A-Z_' 'a-z-' <<<"$options" | sort)
man=$("$command" man) bash_words=$("$command" completion bash) zsh_words=$("$command" completion zsh)
is '--help has every option' "$("$command" --help | sed -n 's/^  PINTENSOR_\([A-Z_]*\)$/\1/p' | sort)" "$options"
is 'the man page has every option' "$(sed -n 's/^\.B PINTENSOR_\([A-Z_]*\)$/\1/p' <<<"$man" | sort)" "$options"
for shell in bash zsh; do
    words=$("$command" completion $shell)
    is "$shell has every option" "$(sed -n "s/^_pintensor_options='--help --version \(.*\)'/\1/p" <<<"$words" | tr -d '=-' | tr ' ' '\n' | sort)" \
        "$(tr -d - <<<"$typed" | sort)"
done
for section in COMMANDS OPTIONS "THE REPORT'S WORDS" 'EXIT STATUS' FILES EXAMPLES; do
    has "man: $section" "$man" ".SH $section"
done
for verb in $(sed -n 's/^X(\([a-z]*\),.*/\1/p' "$top_srcdir/src/cli/verbs.def"); do
    has "$verb: in --help" "$("$command" --help)" "  $verb "
    has "$verb: in the man page" "$man" ".B pintensor $verb"
    has "$verb: in the completion" "$bash_words" "$verb "
done
for word in $(sed -n 's/^X(\([A-Z]*\),.*/\1/p' "$top_srcdir/src/cli/words.def"); do
    has "$word: in the man page" "$man" ".B $word"
    is "$word: is a word of the report's" "$(grep -cE "\"(  )?$word[ \"]" <(cat "$top_srcdir"/src/report/*.c))" 1
done
if command -v mandoc >/dev/null; then
    is 'the man page is one' "$(mandoc -T lint -W warning <<<"$man" 2>&1 | grep -v 'missing date')" ''
fi

completes() { # LINE WANTED   what bash offers for the last word
    # shellcheck disable=SC2016 # for the other shell
    is "bash: $1" "$(bash -c 'eval "$1"; shift; read -ra COMP_WORDS <<<"${1//=/ = }"; [[ $1 != *" " ]] || COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _pintensor_complete 2>/dev/null; echo "${COMPREPLY[*]}"' - "$bash_words" "$1")" "$2"
}
completes 'pintensor ru' run
completes 'pintensor completion z' zsh
completes 'pintensor run --rep' --report=
completes 'pintensor run --stack=' 'off python full'
completes 'pintensor run --stack=p' python
completes 'pintensor run --stack p' python
completes 'pintensor run --torch=on --idle 3 --reu' --reuse=
completes 'pintensor run --torch=on ./en' ./ends
completes 'pintensor run -- true en' ends
completes 'pintensor run true --re' ''
if command -v zsh >/dev/null; then
    is 'zsh takes it' "$(zsh -n <<<"$zsh_words" 2>&1)" ''
    # shellcheck disable=SC2016
    is 'zsh: values' "$(zsh -fc 'autoload -U compinit; compinit -u -D; eval "$1" 2>/dev/null; setopt ksharrays
        COMP_WORDS=(pintensor run --stack=p) COMP_CWORD=2; compgen() { bash -c "compgen \"\$@\"" - "$@" }
        _pintensor_complete 2>/dev/null; echo $COMPREPLY' - "$zsh_words")" '--stack=python'
fi
finish
