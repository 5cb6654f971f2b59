#!/bin/bash
# testbed.sh up|down DIR - a real, private `systemd --user` with its own journald, for tests.
#
# The manager lives in the caller's pid namespace, in a mount namespace and a cgroup of its own: nothing of
# the machine's own systemd, journal or units is seen or touched. `up` prints nothing and returns when the
# manager answers; DIR/bin/journalctl reads its journal. `down` ends everything through the cgroup, twice is
# fine. Code 77: this machine cannot do it, with the reason on standard error.
# Needs root, systemd 252 or later installed, util-linux, a writable cgroup2 with cgroup.kill.
set -euo pipefail
D=$(realpath -m "$2")
cannot() { echo "$*" >&2; exit 77; }
CG2=$(awk '$3=="cgroup2"{print $2; exit}' /proc/mounts)
down() {
    [ -f "$D/cgroup" ] || return 0
    local cg i; cg=$(cat "$D/cgroup")
    if [ -d "$cg" ]; then
        echo 1 > "$cg/cgroup.kill" || true
        for i in $(seq 500); do
            find "$cg" -depth -type d -exec rmdir {} + 2>/dev/null || true
            [ -d "$cg" ] || break
            sleep 0.02
        done
        [ ! -d "$cg" ] || { echo "cgroup $cg is not empty" >&2; return 1; }
    fi
    # Controllers of cgroup v1 get directories of the same name.
    for m in $(awk '$3=="cgroup"{print $2}' /proc/mounts); do
        [ ! -d "$m/${cg##*/}" ] || find "$m/${cg##*/}" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
    rm -f "$D/cgroup"
}
if [ "$1" = down ]; then down; exit; fi

[ "$(id -u)" = 0 ] || cannot "not root"
SD=; for d in /usr/lib/systemd /lib/systemd; do [ -x $d/systemd ] && [ -x $d/systemd-journald ] && SD=$d && break; done
[ -n "$SD" ] || cannot "systemd is not installed"
[ -n "$CG2" ] && [ -w "$CG2/cgroup.procs" ] && [ -e "$CG2/cgroup.procs" ] || cannot "no writable cgroup2"
unshare --mount true 2>/dev/null || cannot "no mount namespaces"
mkdir -p "$D"/{bin,journal,conf/wants,conf/empty,run,home,config/systemd/user,data}
chmod 700 "$D/run"
CG=$CG2/proctest$$.slice
mkdir -p "$CG/user@0.service" "$CG/journald.service"
echo "$CG" > "$D/cgroup"
[ -e "$CG/cgroup.kill" ] || { down; cannot "no cgroup.kill"; }
trap 'down' ERR
cat > "$D/conf/journald.conf" <<C
[Journal]
Storage=persistent
SystemMaxUse=64M
SystemKeepFree=1K
RateLimitIntervalSec=0
ReadKMsg=no
Audit=no
ForwardToSyslog=no
ForwardToConsole=no
ForwardToWall=no
C
cat > "$D/conf/inner" <<'C'
set -e
mount -t tmpfs -o mode=755 tmpfs /run/systemd 2>/dev/null || { mkdir -p /run/systemd; mount -t tmpfs -o mode=755 tmpfs /run/systemd; }
mkdir -p /run/systemd/system /run/systemd/journal      # /run/systemd/system is what sd_booted() looks for
touch /run/systemd/journal/flushed                     # write straight to /var/log/journal
mkdir -p /run/log; mount -t tmpfs -o mode=755 tmpfs /run/log
mkdir -p /var/log/journal; mount --bind "$D/journal" /var/log/journal
[ ! -e /etc/systemd/journald.conf ] || mount --bind "$D/conf/journald.conf" /etc/systemd/journald.conf
[ ! -d "$SD/user/sockets.target.wants" ] || mount --bind "$D/conf/wants" "$SD/user/sockets.target.wants"
[ ! -d /etc/systemd/user ] || mount --bind "$D/conf/empty" /etc/systemd/user
( echo $BASHPID > "$CG/journald.service/cgroup.procs"; exec "$SD/systemd-journald" ) < /dev/null > "$D/journald.log" 2>&1 &
for i in $(seq 500); do [ -S /run/systemd/journal/stdout ] && break; sleep 0.02; done
[ -S /run/systemd/journal/stdout ]
echo $$ > "$CG/user@0.service/cgroup.procs"
exec env -i PATH="$PATH" HOME="$D/home" LANG=C.UTF-8 XDG_RUNTIME_DIR="$D/run" XDG_CONFIG_HOME="$D/config" \
    XDG_DATA_HOME="$D/data" SYSTEMD_LOG_TARGET=console "$SD/systemd" --user --unit=basic.target
C
D=$D CG=$CG SD=$SD setsid unshare --mount --propagation slave bash "$D/conf/inner" < /dev/null > "$D/manager.log" 2>&1 &
MGR=$!
printf '#!/bin/sh\nexec nsenter -t %s -m -- journalctl "$@"\n' "$MGR" > "$D/bin/journalctl"
chmod +x "$D/bin/journalctl"
for i in $(seq 1000); do
    [ -d "/proc/$MGR" ] || { cat "$D/manager.log" >&2; down; cannot "the manager ended"; }
    if XDG_RUNTIME_DIR=$D/run systemctl --user is-active -q basic.target 2>/dev/null; then trap - ERR; exit 0; fi
    sleep 0.02
done
cat "$D/manager.log" >&2; down; cannot "the manager did not answer in time"
