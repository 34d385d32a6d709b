#!/usr/bin/env bash
# An op that was linked with -Bsymbolic-functions, or loaded with RTLD_DEEPBIND, never reaches a preload: it must be named,
# once, in one line.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
compile fake_job.c job -ldl
# What the distribution's or the user's flags would add must not decide here.
compile fake_op.c normal.so -shared -fPIC -fsemantic-interposition -Wl,-z,lazy
compile fake_op.c symbolic.so -shared -fPIC -Wl,-Bsymbolic-functions

stock "$work/job" "$work/symbolic.so"
is 'stock: the job runs' "$status $out $err" '0 pinned '

run "$work/job" "$work/symbolic.so"
is 'symbolic: the job runs' "$status $out" '0 pinned'
is 'symbolic: one line' "$(grep -c . <<<"$err")" 1
has 'symbolic: it names the op and the flag' "$err" "pintensor: warning: $work/symbolic.so was linked with -Bsymbolic-functions"

run "$work/job" "$work/normal.so"
is 'normal: the job runs' "$status $out" '0 pinned'
lacks 'normal: no such line' "$err" Bsymbolic
has 'normal: its calls are answered, here by the op for want of torch' "$err" "DeepSpeed's own manager serves it instead"

run "$work/job" "$work/normal.so" deep
is 'loaded with RTLD_DEEPBIND: the job runs' "$status $out" '0 pinned'
is 'one line' "$(grep -c . <<<"$err")" 1
has 'it names the op and the flag' "$err" "pintensor: warning: $work/normal.so was loaded with RTLD_DEEPBIND"

# mlock by somebody else is nobody's business.
if "$python" -c 'import ctypes' 2>/dev/null; then
    run "$python" -c '
import ctypes, mmap
page = mmap.mmap(-1, 4096)
print(ctypes.CDLL(None).mlock(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(page))), ctypes.c_size_t(4096)))'
    is 'mlock from elsewhere passes in silence' "$status $out $err" '0 0 '
fi
finish
