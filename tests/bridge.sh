# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # lib.sh's; for those who source this
# What the tests of the bridge share: a program of torch's, and stand-ins for torch's CUDA library and for CUDA itself.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_torch
read -r -a cxx <<<"${CXX:-g++}"
command -v "${cxx[0]}" >/dev/null || skip 'no C++ compiler'
torch=$("$torch_python" -c 'import os, torch; print(os.path.dirname(torch.__file__))')
version=$("$torch_python" -c 'import torch; print(torch.__version__)')

lib=$work/lib cuda=$work/lib/libtorch_cuda.so
mkdir "$lib"
flags=(-std=c++20 -isystem "$torch/include" -isystem "$torch/include/torch/csrc/api/include" -L"$torch/lib" -lc10 -ltorch_cpu -ldl)
compile fake_cuda.c lib/libcuda.so.1 -shared -fPIC -pthread -Wl,-soname,libcuda.so.1
compile fake_torch_cuda.cpp lib/libtorch_cuda.so -shared -fPIC "${flags[@]}" "$lib/libcuda.so.1"
compile fake_torch.cpp fake_torch "${flags[@]}" -pthread -rdynamic
export LD_LIBRARY_PATH=$lib:$torch/lib

# Counts the bridges it makes (not the programs that try them), and compiles.
cat >"$work/counting" <<END
#!/bin/sh
case "\$*" in *-shared*) echo . >>"$work/runs" ;; esac
exec ${CXX:-g++} "\$@"
END
chmod +x "$work/counting"
runs() { grep -c . "$work/runs" 2>/dev/null || true; }

fresh_cache() {
    rm -rf "$work/cache" "$work/runs"
    export XDG_CACHE_HOME=$work/cache
}
cached() { (cd "$work/cache/pintensor" 2>/dev/null && ls); }
fake_torch() { run env CXX="$work/counting" "$@" "$work/fake_torch" "${library:-$cuda}" "${way:-one}" "${plugin:-}"; }
lines() { grep -c '^pintensor: there is no bridge' <<<"$err"; }
