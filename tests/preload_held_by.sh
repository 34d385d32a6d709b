#!/usr/bin/env bash
# The report says from which name of the program's the blocks are still held, whatever lies in between; and the program's own
# output and status stay what they were.
# shellcheck disable=SC2154 # run() sets status, out and err
. "$(dirname "$0")/lib.sh"
[[ -n $torch_python ]] && "$torch_python" -c 'import torch' &>/dev/null || skip 'no torch: PINTENSOR_TEST_PYTHON names none'

export PINTENSOR_REFERRERS=60 # what is found does not hang on how busy this machine is

compile keeps_waiting.c keeps_waiting.so -shared -fPIC -I"$top_srcdir/include"

held_by() { # WAY WORDS [ARG]
    run "$torch_python" "$pythons/held_by.py" "$1" ${3+"$3"}
    is "$1: status" "$status" 0
    has "$1" "$err" "$2"
}
held_by list '__main__.cache -> list[12] -> Tensor (768.0 KiB in 12 blocks)'
held_by dicts '__main__.cache -> dict[3] -> list[1] -> Tensor (192.0 KiB in 3 blocks)'
held_by key "__main__.cache -> dict['best\\n'] -> Tensor (64.0 KiB in 1 block)"
held_by deep "held by __main__.cache -> dict['outermost'] -> dict['of the level that has the number 5'] -> dict['of the level that has the number 4'] -> ... -> dict['of the level that has the number 1'] -> dict['of the level that has the number 0'] -> Tensor (64.0 KiB in 1 block)"
held_by attribute '__main__.trainer -> Trainer.buffer -> Tensor (64.0 KiB in 1 block)'
held_by 'dict of an attribute' "__main__.trainer -> Trainer.cache -> dict['best'] -> Tensor (64.0 KiB in 1 block)"
held_by class '__main__.Registry.everything -> list[1] -> Tensor (64.0 KiB in 1 block)'
held_by closure "__main__.a_closure.<locals>.<lambda>() closure 'batch' -> Tensor (64.0 KiB in 1 block)"
held_by lru_cache '__main__.looked_up() lru_cache -> Tensor (64.0 KiB in 1 block)'
held_by generator 'generator a_generator() -> Tensor (64.0 KiB in 1 block)'
held_by thread "a_thread() local 'batches' -> list[1] -> Tensor (64.0 KiB in 1 block)"
held_by gil '__main__.cache -> list[12] -> Tensor (768.0 KiB in 12 blocks)' "$work/keeps_waiting.so"
held_by autograd "C++ (autograd or another library): no tensor of Python's is on it (64.0 KiB in 1 block)"

run env PYTHONPATH="$top_srcdir/python" "$torch_python" "$pythons/held_by.py" now
has 'on demand: a local variable of a function that runs' "$out" "main() local 'batch' -> Tensor (64.0 KiB in 1 block)"

has 'on demand: a module that a local variable leads to' "$out" 'held by __main__.kept -> list[1] -> Tensor (64.0 KiB in 1 block)'

run env PINTENSOR_DIR="$work/tables" "$torch_python" "$pythons/held_by.py" list
has 'a table says it too' "$("$top_builddir/pintensor" report "$work/tables")" 'held by __main__.cache -> list[12] -> Tensor'
has 'and to programs' "$("$top_builddir/pintensor" report --json "$work/tables")" '"held_by":[{"way":"__main__.cache -\u003e list[12] -\u003e Tensor","blocks":12,"bytes":786432}]'

run env PINTENSOR_REFERRERS=0 "$torch_python" "$pythons/held_by.py" list
lacks 'not where nobody wants it' "$err" 'held by'
has 'but the report is there' "$err" 'HELD'
run "$torch_python" "$pythons/held_by.py" many 200000
has 'among many objects' "$err" 'held by __main__.cache -> list[12] -> Tensor (768.0 KiB in 12 blocks)'
# No time left does no harm, and is said. What counts is the time that the search has had, so a busy machine does not end it, up to
# twice as long by the clock. How long a machine takes for how many objects is not known, so the clocks are set.
export PINTENSOR_REFERRERS=1
for way in late waiting; do
    run "$torch_python" "$pythons/held_by.py" $way
    is "$way: status" "$status" 0
    is "$way: it says so once" "$(grep -o 'held by .*' <<<"$err")" 'held by what was not found within 1 s (768.0 KiB in 12 blocks)'
done
held_by busy '__main__.cache -> list[12] -> Tensor (768.0 KiB in 12 blocks)'
finish
