#!/bin/bash
# testbed.sh up DIR PORT PORT PORT | down DIR | kill DIR DAEMON | start DIR DAEMON - a real, private Slurm for tests.
#
# munged, slurmctld and two slurmd, each a node (n1, n2) with 2 pretend CPUs, on loopback only and on the given ports.
# `up` prints nothing and returns when both nodes are idle; DIR/slurm.conf is what clients need. Each daemon has a
# cgroup of its own with all that it started: `kill` of slurmd-n1 is the sudden loss of that machine. `down` ends
# everything through the cgroup, twice is fine. Code 77: this machine cannot do it, with the reason on standard error.
# Needs root (slurmd starts jobs as their users), Slurm installed, a writable cgroup2 with cgroup.kill.
set -euo pipefail
D=$(realpath -m "$2")
PATH=$PATH:/usr/sbin:/sbin
cannot() { echo "$*" >&2; exit 77; }
down() {
    [ -f "$D/cgroup" ] || return 0
    local cg i; cg=$(cat "$D/cgroup")
    if [ -d "$cg" ]; then
        # The whole subtree at once: a slurmstepd and its job outlive a slurmd that is told to stop.
        echo 1 > "$cg/cgroup.kill" || true
        for i in $(seq 500); do
            find "$cg" -depth -type d -exec rmdir {} + 2>/dev/null || true
            [ -d "$cg" ] || break
            sleep 0.02
        done
        [ ! -d "$cg" ] || { echo "cgroup $cg is not empty" >&2; return 1; }
    fi
    rm -f "$D/cgroup"
}
start() {
    local what=$1 cg; cg=$(cat "$D/cgroup")/$what; shift
    mkdir -p "$cg"
    setsid sh -c 'echo $$ > "$0/cgroup.procs"; exec "$@"' "$cg" "$@" < /dev/null >> "$D/log/$what.out" 2>&1 &
}
daemon() {
    export SLURM_CONF=$D/slurm.conf
    case $1 in
        munged) start munged munged --foreground --force --key-file="$D/munge/key" --socket="$D/munge/sock" \
            --pid-file="$D/munge/pid" --log-file="$D/log/munged.log" --seed-file="$D/munge/seed" ;;
        slurmctld) start slurmctld slurmctld -D ;;
        slurmd-*) start "$1" slurmd -D -N "${1#slurmd-}" ;;
    esac
}
case $1 in
    down) down; exit ;;
    kill) echo 1 > "$(cat "$D/cgroup")/$3/cgroup.kill"; exit ;;
    start) daemon "$3"; exit ;;
esac

[ "$(id -u)" = 0 ] || cannot "not root"
for program in munged slurmctld slurmd sbatch; do command -v $program >/dev/null || cannot "$program is not installed"; done
CG2=$(awk '$3=="cgroup2"{print $2; exit}' /proc/mounts)
[ -n "$CG2" ] && [ -w "$CG2/cgroup.procs" ] && [ -e "$CG2/cgroup.procs" ] || cannot "no writable cgroup2"
CG=$CG2/procslurm$$
mkdir "$CG"
echo "$CG" > "$D/cgroup"
[ -e "$CG/cgroup.kill" ] || { down; cannot "no cgroup.kill"; }
trap 'down' ERR
# munged insists that nobody else can write above its files (a sticky /tmp passes with --force).
chmod 755 "$D"; mkdir -p "$D"/{munge,ctl,spool/n1,spool/n2,log}; chmod 755 "$D/munge"
dd if=/dev/urandom of="$D/munge/key" bs=1024 count=1 status=none; chmod 400 "$D/munge/key"
HOST=$(hostname -s)
# A job that is requeued waits until its credential has expired: hence cred_expire, which is 120 s when less than 5.
cat > "$D/slurm.conf" <<C
ClusterName=testbed
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=$3
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$D/munge/sock,cred_expire=5
CryptoType=crypto/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0,bf_interval=1
StateSaveLocation=$D/ctl
SlurmdSpoolDir=$D/spool/%n
SlurmctldPidFile=$D/slurmctld.pid
SlurmdPidFile=$D/slurmd-%n.pid
SlurmctldLogFile=$D/log/slurmctld.log
SlurmdLogFile=$D/log/slurmd-%n.log
AccountingStorageType=accounting_storage/none
ReturnToService=2
SlurmdTimeout=5
SlurmdParameters=config_overrides
InactiveLimit=0
MinJobAge=300
KillWait=2
JobRequeue=1
NodeName=n1 NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$4 CPUs=${NODE_CPUS:-2} RealMemory=1000 State=UNKNOWN
NodeName=n2 NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$5 CPUs=${NODE_CPUS:-2} RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
C
daemon munged
for i in $(seq 500); do [ -S "$D/munge/sock" ] && break; sleep 0.02; done
daemon slurmctld; daemon slurmd-n1; daemon slurmd-n2
export SLURM_CONF=$D/slurm.conf
for i in $(seq 600); do
    [ "$(sinfo -h -t idle -o %D 2>/dev/null)" = 2 ] && { trap - ERR; exit 0; }
    sleep 0.05
done
tail -n 20 "$D"/log/* >&2; down; cannot "Slurm did not come up in time"
