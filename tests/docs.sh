#!/usr/bin/env bash
# The documents: what they name exists, each message has its entry, and each block marked "run" (```sh run, ```python run)
# runs as it stands, in a directory with a train.py.
# shellcheck disable=SC2154 # capture() sets status, out and err
. "$(dirname "$0")/lib.sh"
command=$top_builddir/pintensor
[[ -n $python ]] || skip 'no Python'

stock "$python" "$top_srcdir/scripts/check-docs" "$command"
is 'links, names, options and messages' "$status $out$err" '0 '

# What check-docs is for, it finds: a copy of the sources with a mistake of each kind.
mkdir "$work/copy"
cp -r "$top_srcdir"/{README.md,HACKING.md,docs,examples,include,src,preload,python,scripts,tests} "$work/copy"
chmod -R u+w "$work/copy"
cat >>"$work/copy/docs/c.md" <<'END'
[gone](gone.md), [nowhere](c.md#nowhere), `PINTENSOR_STAK`, `pintensor runs`, `pintensor run --stak=full -- true`
END
echo '> - `nobody says this`' >>"$work/copy/docs/troubleshooting.md"
echo 'static const char *const more = "something that is new";' >>"$work/copy/src/cli/tables.c"
sed -i 's/PINTENSOR_DUMP//g' "$work/copy"/*.md "$work/copy"/docs/*.md
stock "$python" "$work/copy/scripts/check-docs" "$command"
is 'a mistake of each kind: is told' "$status" 1
for said in 'no such file: gone.md' 'no such heading: c.md#nowhere' 'there is no PINTENSOR_STAK' 'no command runs' 'run has no --stak' \
    'nothing says: nobody says this' 'no entry in docs/troubleshooting.md: something that is new' 'no document names PINTENSOR_DUMP'; do
    has "a mistake of each kind: $said" "$out" "$said"
done
is 'a mistake of each kind: and no more' "$(wc -l <<<"$out")" 8

lockable 16 || skip 'this machine does not let a process lock 16 MiB (ulimit -l unlimited)'
mkdir "$work/bin"
ln -s "$command" "$work/bin/pintensor"
ln -s "$python" "$work/bin/python3"
printf '#!/bin/sh\nexec python3 "$@"\n' >"$work/bin/deepspeed"
chmod +x "$work/bin/deepspeed"
export PATH=$work/bin:$PATH PYTHONPATH=$top_srcdir/python PYTHONDONTWRITEBYTECODE=1

blocks=0
for document in "$top_srcdir/README.md" "$top_srcdir"/docs/*.md; do
    rm -rf "$work/blocks"
    mkdir "$work/blocks"
    awk -v to="$work/blocks/" '/^```(sh|python) run$/ { file = sprintf("%s%02d.%s", to, ++n, substr($1, 4)); next }
        /^```/ { file = "" } file != "" { print >file }' "$document"
    for block in "$work/blocks"/*; do
        [[ -e $block ]] || continue
        name=$(basename "$document"):$(basename "$block")
        blocks=$((blocks + 1))
        mkdir "$work/here"
        cp "$pythons/train.py" "$work/here"
        cd "$work/here" || exit 99
        case $block in
        *.sh) stock bash -eu -o pipefail "$block" ;;
        *.py*) stock pintensor run -- python3 "$block" ;;
        esac
        is "$name: it runs" "$status" 0
        [[ $block != *.sh ]] || has "$name: with pintensor" "$out$err" '1.0 MiB in 1 block'
        lacks "$name: nothing is wrong" "$out$err" 'pintensor: unknown'
        [[ $(<"$block") != *'status $?'* ]] || has "$name: its status" "$out" 'status 3'
        cd "$work" || exit 99
        rm -rf "$work/here"
    done
done
is 'blocks that are run' "$blocks" "$(cat "$top_srcdir/README.md" "$top_srcdir"/docs/*.md | grep -c '^```[a-z]* run$')"
finish
