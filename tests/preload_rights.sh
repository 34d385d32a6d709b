#!/usr/bin/env bash
# A setuid program that is linked with the library: its caller, who has fewer rights, steers nothing by the environment.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
[[ $EUID == 0 ]] || skip 'only root can make a setuid program of another user'
command -v setpriv >/dev/null || skip 'setpriv (util-linux) is needed'
umask 022
chmod 755 "$work"
mkdir "$work/lib"
mkdir -m 1777 "$work/reports" "$work/reports/daemons"
cp "$top_builddir"/.libs/libpintensor.so* "$work/lib"
compile linked.c linked -L"$work/lib" -Wl,-rpath,"$work/lib" -lpintensor
cp "$work/linked" "$work/setuid"
chown 65534 "$work/setuid"
chmod u+s "$work/setuid"

as_daemon() { # PROGRAM
    capture setpriv --reuid=1 --regid=1 --clear-groups env PINTENSOR_REPORT="$work/reports/%p" PINTENSOR_FAIL_ON=held \
        PINTENSOR_EXITCODE=7 PINTENSOR_RUBBISH=1 RANK=3 "$1"
}
reports() { find "$work/reports" -type f -printf '%U\n' | xargs; }

as_daemon "$work/linked"
is 'as anybody: the report is his file, and the status his wish' "$status $(reports)" '7 1'
rm -f "$work"/reports/*[0-9]
[[ $(setpriv --reuid=1 --regid=1 --clear-groups env LD_SHOW_AUXV=1 "$work/setuid" 2>/dev/null) != *AT_SECURE* ]] ||
    skip 'this machine takes no notice of the setuid bit'
as_daemon "$work/setuid"
is 'with rights that are not his: no file' "$(reports)" ''
is 'and no wish' "$status" 0
lacks 'nothing is said of his options' "$err" RUBBISH
has 'the report goes to stderr' "$err" 'HELD       293.0 KiB in 1 block'
lacks 'which has no rank of his choice' "$err" 'rank 3'
finish
