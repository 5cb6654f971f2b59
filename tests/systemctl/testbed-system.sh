#!/bin/bash
# testbed-system.sh DIR - a real, private systemd as PID 1 of namespaces of its own over an overlay of /.
#
# Prints nothing and returns when it answers; DIR/bin/enter CMD runs a command inside. DIR is shared with it, units
# are written to DIR/units. `testbed.sh down DIR` ends it. Code 77: this machine cannot do it, with the reason.
# Needs what testbed.sh needs, and overlayfs, pid namespaces, dbus-daemon.
set -euo pipefail
D=$(realpath -m "$1")
cannot() { echo "$*" >&2; exit 77; }
down() { bash "$(dirname "$0")/testbed.sh" down "$D"; }
[ "$(id -u)" = 0 ] || cannot "not root"
SD=; for d in /usr/lib/systemd /lib/systemd; do [ -x $d/systemd ] && [ -x $d/systemd-journald ] && SD=$d && break; done
[ -n "$SD" ] || cannot "systemd is not installed"
CG2=$(awk '$3=="cgroup2"{print $2; exit}' /proc/mounts)
[ -n "$CG2" ] && [ -w "$CG2/cgroup.procs" ] || cannot "no writable cgroup2"
unshare --mount --pid --ipc --uts --cgroup --fork true 2>/dev/null || cannot "no namespaces"
mkdir -p "$D"/{bin,journal,conf,units,over,root}
ID=proctest$$.slice; CG=$CG2/$ID
mkdir "$CG"; echo "$CG" > "$D/cgroup"
[ -e "$CG/cgroup.kill" ] || { down; cannot "no cgroup.kill"; }
trap down ERR
V1=$(awk '$3=="cgroup"{n=split($4,o,","); for(i=1;i<=n;i++) if (o[i] ~ /^(cpu|cpuacct|cpuset|memory|devices|freezer|blkio|pids|net_cls|net_prio|perf_event|hugetlb)$/ || o[i] ~ /^name=/) print o[i]}' /proc/mounts | sort -u | tr '\n' ' ')
V1DIRS=
for c in $V1; do
    m=$(awk -v c="$c" '$3=="cgroup"{n=split($4,o,","); for(i=1;i<=n;i++) if (o[i]==c) {print $2; exit}}' /proc/mounts)
    mkdir -p "$m/$ID" && V1DIRS="$V1DIRS $m/$ID"
    if [ "$c" = cpuset ]; then for f in cpuset.cpus cpuset.mems; do cat "$m/$f" > "$m/$ID/$f"; done; fi
done
cat > "$D/conf/journald.conf" <<J
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
J
cat > "$D/conf/inner" <<'E'
set -e
R=$D/root
mount -t tmpfs tmpfs "$D/over"; mkdir "$D/over/upper" "$D/over/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$D/over/upper,workdir=$D/over/work" "$R"
mount -t proc proc "$R/proc"
mount -t sysfs -o ro sysfs "$R/sys"
mount -t tmpfs -o mode=755 tmpfs "$R/dev"
for n in null zero full random urandom tty; do touch "$R/dev/$n"; mount --bind "/dev/$n" "$R/dev/$n"; done
mkdir "$R/dev/pts" "$R/dev/shm"; mount -t devpts -o newinstance,ptmxmode=0666 devpts "$R/dev/pts"
ln -s pts/ptmx "$R/dev/ptmx"; ln -s /proc/self/fd "$R/dev/fd"; mount -t tmpfs -o mode=1777 tmpfs "$R/dev/shm"
ln -s /proc/self/fd/0 "$R/dev/stdin"; ln -s /proc/self/fd/1 "$R/dev/stdout"; ln -s /proc/self/fd/2 "$R/dev/stderr"
mount -t tmpfs -o mode=755 tmpfs "$R/run"
mount -t tmpfs -o mode=755 tmpfs "$R/sys/fs/cgroup"
if [ -z "$V1" ]; then
    umount "$R/sys/fs/cgroup"; mount -t cgroup2 cgroup2 "$R/sys/fs/cgroup"
else
    mkdir "$R/sys/fs/cgroup/unified"; mount -t cgroup2 cgroup2 "$R/sys/fs/cgroup/unified"
    for c in $V1; do n=${c#name=}; mkdir -p "$R/sys/fs/cgroup/$n"; mount -t cgroup -o "$c" cgroup "$R/sys/fs/cgroup/$n"; done
fi
for b in "$D" $BIND; do mkdir -p "$R$b"; mount --bind "$b" "$R$b"; done
rm -rf "$R/etc/systemd/system" "$R/etc/systemd/user"; mkdir -p "$R/etc/systemd/system" "$R/etc/systemd/user"
mkdir -p "$R/var/log/journal"; mount --bind "$D/journal" "$R/var/log/journal"
mkdir -p "$R/run/systemd/journal" "$R/run/sshd"; touch "$R/run/systemd/journal/flushed"
cp "$D/conf/journald.conf" "$R/etc/systemd/journald.conf"
: > "$R/etc/fstab"
mkdir -p "$R/run/systemd/system"; mount --bind "$D/units" "$R/run/systemd/system"
# Boot little: the journal, the bus, the basic targets.
for u in systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket systemd-udevd-kernel.socket \
    systemd-tmpfiles-setup.service systemd-tmpfiles-setup-dev.service systemd-sysctl.service systemd-sysusers.service \
    systemd-timesyncd.service systemd-modules-load.service systemd-binfmt.service systemd-random-seed.service \
    systemd-update-utmp.service systemd-journal-flush.service systemd-remount-fs.service systemd-fsckd.socket \
    systemd-firstboot.service systemd-pstore.service systemd-machine-id-commit.service systemd-repart.service \
    sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount dev-mqueue.mount proc-sys-fs-binfmt_misc.automount \
    sys-fs-fuse-connections.mount sys-kernel-config.mount kmod-static-nodes.service systemd-network-generator.service \
    modprobe@.service e2scrub_all.timer console-getty.service getty.target; do
    ln -sf /dev/null "$R/etc/systemd/system/$u"
done
printf '[Unit]\nRequires=basic.target dbus.socket\nAfter=basic.target dbus.socket\nAllowIsolate=yes\n' > "$R/etc/systemd/system/testbed.target"
rm -rf "$R/usr/lib/systemd/system-generators" "$R/etc/init.d" 2>/dev/null || true
cd "$R"; mkdir -p .old; pivot_root . .old; cd /
umount -l /.old; rmdir /.old 2>/dev/null || true
exec env -i container=testbed PATH="$PATH" LANG=C.UTF-8 "$SD/systemd" --system --unit=testbed.target --log-target=journal --show-status=no
E
# Enter the cgroups first, then unshare, so that they are the roots of the cgroup namespace.
D=$D SD=$SD V1=$V1 BIND=${TESTBED_BIND:-} setsid bash -c '
    for d in "$@"; do echo $$ > "$d/cgroup.procs"; done
    exec unshare --mount --propagation private --pid --ipc --uts --cgroup --fork bash "$D/conf/inner"' - "$CG" $V1DIRS < /dev/null > "$D/manager.log" 2>&1 &
UNSHARE=$!
MGR=
for i in $(seq 500); do
    MGR=$(tr -d ' ' < "/proc/$UNSHARE/task/$UNSHARE/children" 2>/dev/null || true)
    [ -z "$MGR" ] || break
    sleep 0.02
done
[ -n "$MGR" ] || { cat "$D/manager.log" >&2; down; cannot "no manager"; }
cat > "$D/bin/enter" <<E
#!/bin/sh
TESTBED_WD=\$PWD; export TESTBED_WD
exec nsenter -t $MGR -m -p -i -u -C -- /bin/sh -c 'cd "\$TESTBED_WD" 2>/dev/null || cd /; exec "\$@"' - "\$@"
E
chmod +x "$D/bin/enter"
for i in $(seq 1500); do
    [ -d "/proc/$MGR" ] || { cat "$D/manager.log" >&2; down; cannot "the manager ended"; }
    if "$D/bin/enter" systemctl is-active -q testbed.target 2>/dev/null; then trap - ERR; exit 0; fi
    sleep 0.02
done
cat "$D/manager.log" >&2; down; cannot "the manager did not answer in time"
