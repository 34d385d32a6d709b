#!/usr/bin/env bash
# `pintensor report` for programs: JSON and what else is made of the tables of one process or of many.
# shellcheck disable=SC2154 # capture() sets status, out and err
. "$(dirname "$0")/lib.sh"
lockable 64 || skip 'this machine does not let a process lock 64 MiB (ulimit -l unlimited)'
compile keeps.c keeps -rdynamic -fno-optimize-sibling-calls -ldl -g0
pintensor=$top_builddir/pintensor
export PINTENSOR_REPORT=/dev/null
report() { capture "$pintensor" report "$@"; }

# keeps NAME HOW [RANK]: a table in directory NAME
keeps() { RANK=${3-} PINTENSOR_DIR=$work/$1 run "$work/keeps" "$2"; }
# json EXPRESSION: of the last report, as `r`; `by(f)` is the sum of something over all sites.
json() {
    "$python" -c '
import json, sys
r = json.load(open(sys.argv[1]))
by = lambda f: sum(f(s) for s in r["sites"])
place = lambda s: s["symbol"].split("+")[0]
print(eval(sys.argv[2]))' "$work/out" "$1" 2>&1
}
for rank in 0 1 2; do keeps ranks returns $rank; done
keeps single killed

# --- JSON ----------------------------------------------------------------------------------------

report --json "$work/ranks"
is 'json: read' "$status $err" '0 '
"$python" -m json.tool "$work/out" >/dev/null && ok 'json: it is JSON' || not_ok 'json: it is JSON'
is 'json: version' "$(json 'r["format"], r["version"]')" "('pintensor report', 1)"
is 'json: ranks' "$(json 'sorted(p["rank"] for p in r["processes"])')" '[0, 1, 2]'
is 'json: how they ended' "$(json '{p["state"] for p in r["processes"]}')" "{'ended'}"
is 'json: what was held' "$(json 'r["processes"][1]["held"]["blocks"], r["processes"][1]["held"]["bytes"]')" "(2, $(((2 << 20) + 3000)))"
is 'json: one site for all ranks' "$(json 'sorted((place(s), len(s["in"])) for s in r["sites"])')" \
    "[('at_the_peak', 3), ('until_the_end', 3), ('until_the_end', 3)]"
is 'json: sums over ranks' "$(json 'by(lambda s: s.get("held", {}).get("bytes", 0))')" "$((3 * ((2 << 20) + 3000)))"
is 'json: who had most comes first' "$(json '[place(s) for s in r["sites"]][0]')" at_the_peak
is 'json: the peak' "$(json 'r["processes"][0]["at_peak"]["asked"]')" "$(((22 << 20) + 3000))"
is 'json: the history has the peak' \
    "$(json '[(max(h["asked"]), all(l >= a for l, a in zip(h["locked"], h["asked"]))) for h in [r["processes"][0]["history"]]]')" \
    "[($(((22 << 20) + 3000)), True)]"
is 'json: what is held at the end has not gone there' \
    "$(json '[p["history"]["asked"][-1] >= p["held"]["bytes"] > 0 for p in r["processes"]]')" '[True, True, True]'
is 'json: and goes from the start to the end' \
    "$(json '[-2 * h["moment_seconds"] <= len(h["asked"]) * h["moment_seconds"] - p["seconds"] <= h["moment_seconds"] for p in r["processes"] for h in [p["history"]]]')" \
    '[True, True, True]'
ids=$(json 'sorted(s["id"] for s in r["sites"])')
report --json "$work/single"
is 'json: killed' "$(json 'r["processes"][0]["state"], r["processes"][0]["rank"]')" "('killed', None)"
is 'json: ids are those of another run' "$(json 'sorted(s["id"] for s in r["sites"])')" "$ids"
table=$(echo "$work"/single/*.table)

# Names with what JSON must escape, and bytes that are no UTF-8: the program's name, in place of its own. 5 bytes.
renamed() { # TO   writes $work/renamed.table
    "$python" - "$table" "$work/renamed.table" "$1" <<'END'
import os, sys
t = open(sys.argv[1], "rb").read()
to = os.fsencode(sys.argv[3])
assert len(to) == 5
open(sys.argv[2], "wb").write(t.replace(b"\0keeps\0", b"\0" + to + b"\0"))
END
}
renamed $'"\\\n<\xff'
report --json "$work/renamed.table"
is 'json: names are escaped' "$(json 'ascii(r["processes"][0]["program"])')" "'\"\\\\?<\\ufffd'"
lacks 'json: it may stand in a page' "$out" '<'
renamed $'\xe2\x82 \xc0\xaf'
report --json "$work/renamed.table"
is 'json: bad UTF-8 becomes U+FFFD' "$(json 'ascii(r["processes"][0]["program"])')" "'\\ufffd\\ufffd \\ufffd\\ufffd'"

report --json "$work/ranks" "$work/none"
has 'json: something is missing: said' "$status $err" "1 pintensor: $work/none: No such file or directory"
is 'json: and the others are told of' "$(json 'len(r["processes"])')" 3

# --- folded stacks --------------------------------------------------------------------------------

report --folded "$work/single"
is 'folded: where the peak was' "$(sed -E 's/\+0x[0-9a-f]+//' <<<"$out")" "at_the_peak (keeps) $((20 << 20))
until_the_end (keeps) $((2 << 20))
until_the_end (keeps) 3000"
report --folded=held "$work/ranks"
is 'folded: what was held, by rank' "$(sed -E 's/\+0x[0-9a-f]+//' <<<"$out" | sort)" "$(for rank in 0 1 2; do
    echo "rank $rank;until_the_end (keeps) $((2 << 20))"
    echo "rank $rank;until_the_end (keeps) 3000"
done | sort)"
renamed $'a;\xff\nb'
report --folded "$work/renamed.table"
is 'folded: names hold nothing that parts frames' "$(grep -c '^[^;]*; *[^;]*$\|^[^;]*$' <<<"$out")" 3

# --- exit status ----------------------------------------------------------------------------------

report --fail-on=held "$work/ranks"
is 'fail-on: found' "$status" 3
report --json --fail-on=growing,reclaimed,misused "$work/ranks"
is 'fail-on: not found' "$status" 0
report --fail-on=held "$work/none" "$work/ranks"
is 'fail-on: not all was read' "$status" 1

# --- a page -------------------------------------------------------------------------------------

# What it says in @DATA@'s place, and what is wrong with it: a way to the network, or tags that do not match.
page() {
    "$python" - "$work/out" "$work/data" <<'END'
import html.parser, re, sys
text = open(sys.argv[1], encoding="utf-8").read()
class Page(html.parser.HTMLParser):
    open, data, inside = [], "", False
    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("src", "href", "action", "data", "srcset", "poster", "style") or name.startswith("on"):
                print("attribute", name, value)
        if tag in ("link", "img", "iframe", "object", "embed", "base", "form"):
            print("tag", tag)
        if tag not in ("meta", "input"):
            self.open.append(tag)
        self.inside = tag == "script" and ("id", "data") in attributes
    def handle_endtag(self, tag):
        if self.open.pop() != tag:
            print("not closed before", tag)
        self.inside = False
    def handle_data(self, data):
        self.data += data if self.inside else ""
page = Page()
page.feed(text)
page.close()
if page.open:
    print("open", page.open)
for way in ("://", "url(", "@import", "fetch(", "XMLHttpRequest", "import(", "WebSocket", "innerHTML", "eval("):
    if way in text.replace(page.data, ""):
        print(way)
if "default-src 'none'" not in text:
    print("no policy")
open(sys.argv[2], "w").write(page.data)
END
}
in_page() { cp "$work/data" "$work/out" && json "$1"; }
report --html "$work/ranks"
is 'html: read' "$status $err" '0 '
is 'html: it needs nothing but itself' "$(page)" ''
is 'html: what is in it' "$(in_page 'r["version"], len(r["processes"]), len(r["sites"]), r["left_out"]')" '(1, 3, 3, 0)'
renamed '</scr'
report --html "$work/renamed.table"
is 'html: names cannot end what they are in' "$(page)" ''
is 'html: names are what they were' "$(in_page 'r["processes"][0]["program"]')" '</scr'

compile many_sites.c many_sites -ldl
for rank in 0 1 2 3; do RANK=$rank PINTENSOR_DIR=$work/sites run "$work/many_sites"; done
report --html "$work/sites"
is 'html: under 5 MiB' "$(($(wc -c <"$work/out") < 5 << 20))" 1
is 'html: says what is left out' "$(page)$(in_page 'r["left_out"] > 0, r["left_out"] + len(r["sites"])')" '(True, 4096)'
report --json "$work/sites"
is 'json: leaves nothing out' "$(json 'r["left_out"], len(r["sites"])')" '(0, 4096)'

# --- two runs ------------------------------------------------------------------------------------

keeps more many
plain() { sed -E 's/\+0x[0-9a-f]+//; s/ \([0-9a-f]{16}\)$/ (ID)/' <<<"$out"; }
report --diff "$work/single" "$work/more"
is 'diff: what is new' "$status $(plain)" "0 pintensor: $work/single (1 process) -> $work/more (1 process): 2.0 MiB -> 9.6 MiB kept, 22.0 MiB -> 22.0 MiB at the peaks
  NEW        0 B -> 7.6 MiB kept, 0 B -> 0 B at the peak  (ID)
             keeps  main"
report --diff "$work/more" "$work/single"
has 'diff: what is gone' "$out" 'GONE       7.6 MiB -> 0 B kept'
report --diff "$work/single" "$work/ranks"
has 'diff: what grew' "$out" 'GREW       2.0 MiB -> 6.0 MiB kept, 2.0 MiB -> 6.0 MiB at the peak'
report --diff "$work/ranks" "$work/single"
has 'diff: what shrank' "$out" 'SHRANK     6.0 MiB -> 2.0 MiB kept, 6.0 MiB -> 2.0 MiB at the peak'
report --diff --fail-on=held "$work/ranks" "$work/single"
is 'diff, fail-on: less is no failure' "$status" 0
report --diff --fail-on=held,growing "$work/single" "$work/more"
is 'diff, fail-on: more is one' "$status" 3
keeps again returns
report --diff --fail-on=held "$work/single" "$work/again"
is 'diff: nothing' "$status $(tail -n 1 <<<"$out")" '0   No site differs.'
report --diff "$work/none" "$work/single"
is 'diff: one is missing' "$status $out" '1 '

# --- suppressions --------------------------------------------------------------------------------

suppressing() { # PATTERN…   the words that are left, in one line: fail-on's status for held
    printf 'leak:%s\n' "$@" >"$work/suppressions"
    report --json --fail-on=held --suppressions="$work/suppressions" "$work/single"
    echo "$status"
}
is 'suppressed: by a part' "$(suppressing the_end)" 0
is 'suppressed: by an object' "$(suppressing keeps)" 0
is 'suppressed: by a whole name, whatever its offset' "$(suppressing '^until_the_end$')" 0
is 'suppressed: by a beginning and an end' "$(suppressing '^until*_end$')" 0
is 'suppressed: an end is looked for at the end' "$(suppressing 'n*d$')" 0
is 'not suppressed: no part' "$(suppressing the_ends)" 3
is 'not suppressed: no beginning' "$(suppressing '^the_end')" 3
is 'not suppressed: no end' "$(suppressing 'until_the$')" 3
printf '# known\n\n  leak:until_the_end  \n\tleak:never\n' >"$work/suppressions"
report --suppressions="$work/suppressions" "$work/single"
lacks 'suppressed: nothing is held' "$out" 'HELD'
has 'suppressed: the peak stays' "$out" '22.0 MiB in 3 blocks from 3 sites, when most was alive'
is 'suppressed: which were of use' "$(sed -n '/^Suppr/,$p' <<<"$out")" "Suppressions used:
  count      bytes template
      2    $(((2 << 20) + 3000)) until_the_end"
report --json --suppressions="$work/suppressions" "$work/single"
is 'suppressed: json' "$(json 'r["suppressed"]')" "[{'pattern': 'until_the_end', 'blocks': 2, 'bytes': 2100152, 'misused': 0}]"
report --print-suppressions "$work/single"
is 'print: nothing is lost' "$status $out" '0 '
report --print-suppressions --fail-on=held "$work/single"
is 'print: a line a function' "$status $(sed 's/+0x.*//' <<<"$out")" '0 # HELD 2.0 MiB in 1 block: keeps  until_the_end
leak:^until_the_end$
# HELD 2.9 KiB in 1 block: keeps  until_the_end'
echo "$out" >"$work/suppressions"
report --suppressions="$work/suppressions" --fail-on=held "$work/single"
is 'print: it suppresses what it is for' "$status" 0

# --- a process -----------------------------------------------------------------------------------

mkfifo "$work/go"
PINTENSOR_DIR=$work/running LD_PRELOAD=$preload "$work/keeps" waits <"$work/go" >"$work/there" 2>&1 &
pid=$!
exec 5>"$work/go"
for _ in {1..100}; do [[ -s $work/there ]] && break || sleep 0.1; done
report --json $pid
is 'a process: its table' "$status $err $(json 'r["processes"][0]["pid"], r["processes"][0]["state"]')" "0  ($pid, 'running')"
exec 5>&-
wait
report $pid
is 'a process that is no more' "$status $err" "1 pintensor: process $pid: there is none"
report $$
is 'a process without a table' "$status $err" \
    "1 pintensor: process $$: it keeps no table: it was started without PINTENSOR_DIR, or has pinned nothing yet"

# --- lines of Python --------------------------------------------------------------------------------

cat >"$work/job.py" <<'END'
import ctypes
c = ctypes.CDLL(None)
c.pintensor_manager_create.restype = ctypes.c_void_p
manager = ctypes.c_void_p(c.pintensor_manager_create())
def pin(size):
    assert c.pintensor_alloc(manager, ctypes.c_size_t(size), (ctypes.c_uint64 * 3)()) == 0
def collect():
    pin(1 << 20)
collect()
pin(1 << 21)
END
for name in lines lines2; do (cd "$work" && PINTENSOR_DIR=$work/$name run "$python" job.py); done
report --json "$work/lines"
is 'python: frames' "$(json '[(f["file"], f["line"], f["function"], f["own"]) for s in r["sites"][1:] for f in s["frames"]]')" \
    "[('job.py', 6, 'pin', True), ('job.py', 8, 'collect', True), ('job.py', 9, '<module>', True)]"
is 'python: the frame to show' "$(json '[s["top"] for s in r["sites"]]')" '[0, 0]'
ids=$(json '[s["id"] for s in r["sites"]]')
report --json "$work/lines2"
is 'python: ids are those of another run' "$(json '[s["id"] for s in r["sites"]]')" "$ids"
report --folded "$work/lines"
is 'python: folded, from the outside in' "$out" "<module> (job.py:10);pin (job.py:6) $((1 << 21))
<module> (job.py:9);collect (job.py:8);pin (job.py:6) $((1 << 20))"
report --print-suppressions --fail-on=held "$work/lines"
has 'python: where, and from where' "$out" '# HELD 1.0 MiB in 1 block: job.py:6  pin  from job.py:8  collect'
has 'python: by function' "$out" $'\nleak:^pin$'
for pattern in '^collect$' '^job.py$' pin; do
    printf 'leak:%s\n' "$pattern" >"$work/suppressions"
    report --json --suppressions="$work/suppressions" "$work/lines"
    json 'r["suppressed"][0]["blocks"]'
done >"$work/suppressed"
is 'python: suppressed by any frame, and by file' "$(xargs <"$work/suppressed")" '1 2 2'

# --- what is typed -----------------------------------------------------------------------------------

refuses() { # NAME TEXT ARGUMENT…
    local name=$1 text=$2
    shift 2
    report "$@"
    is "$name: refused" "$status $out" '2 '
    is "$name: says" "$err" "pintensor: $text"
}
refuses 'words' '--fail-on=held,dead is not one of growing,reclaimed,held,misused' --fail-on=held,dead "$work/ranks"
refuses 'no words' '--fail-on needs a value; see pintensor --help' "$work/ranks" --fail-on
refuses 'bytes of what' '--folded=dead is not one of peak,held' --folded=dead "$work/ranks"
refuses 'two ways' '--json and --folded are two ways to tell: ask for one' --json --folded "$work/ranks"
refuses 'one to compare' '--diff is of two: pintensor report --diff BEFORE AFTER' --diff "$work/ranks"
echo race:x >"$work/suppressions"
refuses 'no suppression' "$work/suppressions:1: no suppression: they are written leak:PATTERN" --suppressions="$work/suppressions" "$work/ranks"
refuses 'no suppressions' "$work/none: No such file or directory" --suppressions="$work/none" "$work/ranks"
refuses nothing 'report on what? Try: pintensor report DIRECTORY'
refuses 'an option' '--jsn is no option of report; see pintensor --help' "$work/ranks" --jsn
finish
