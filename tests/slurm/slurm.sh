#!/usr/bin/env bash
# A Slurm cluster of one node, this machine: slurmctld, slurmd and munge from Debian's packages, without systemd.
#
#   tests/slurm/slurm.sh install      as root
#   tests/slurm/slurm.sh start DIR    as root; writes DIR/slurm.conf, then: export SLURM_CONF=DIR/slurm.conf
#   tests/slurm/slurm.sh stop DIR
set -euo pipefail

install() {
  local missing=()
  for package in munge slurmctld slurmd slurm-client; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  apt-get update -qq
  # The packages would start their daemons with a configuration that is not there yet.
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod +x /usr/sbin/policy-rc.d
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  rm /usr/sbin/policy-rc.d
}

configure() {
  local host memory cpus
  host=$(hostname -s)
  cpus=$(nproc --all)
  memory=$(($(awk '/MemTotal/ {print $2}' /proc/meminfo) / 1024 * 9 / 10))
  cat >"$1/slurm.conf" <<CONF
ClusterName=adbench
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$1/state
SlurmdSpoolDir=$1/spool
SlurmctldPidFile=$1/slurmctld.pid
SlurmdPidFile=$1/slurmd.pid
SlurmctldLogFile=$1/slurmctld.log
SlurmdLogFile=$1/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=1500
# A job above its memory is ended, by the accounting that looks every second.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
SchedulerParameters=batch_sched_delay=0,sched_interval=1
# The tests run two cells at a time, one of them with two threads, on one core too.
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$((cpus < 3 ? 3 : cpus)) RealMemory=$memory Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=60 DefaultTime=30 State=UP
PartitionName=gpu Nodes=ALL MaxTime=120 DefaultTime=30 State=UP
PartitionName=closed Nodes=ALL State=DOWN
CONF
  # Two GPUs that Slurm counts and numbers; nothing can be computed on them.
  printf 'Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n' >"$1/gres.conf"
}

start() {
  mkdir -p "$1/state" "$1/spool" /run/munge
  [ -s /etc/munge/munge.key ] || { head -c 1024 /dev/urandom >/etc/munge/munge.key; }
  chown munge:munge /etc/munge/munge.key /run/munge
  chmod 400 /etc/munge/munge.key
  chmod 755 /run/munge
  pgrep -x munged >/dev/null || runuser -u munge -- munged
  configure "$1"
  export SLURM_CONF="$1/slurm.conf"
  slurmctld -i
  slurmd
  for _ in $(seq 60); do
    sinfo -h -p main -o %T 2>/dev/null | grep -q idle && break
    sleep 0.5
  done
  sinfo
}

stop() {
  SLURM_CONF="$1/slurm.conf" scancel --me 2>/dev/null && sleep 2 || true
  for daemon in slurmd slurmctld; do
    [ -s "$1/$daemon.pid" ] && kill "$(cat "$1/$daemon.pid")" 2>/dev/null || true
  done
}

case "${1:-}" in
  install) install ;;
  start | stop) "$1" "${2:?the folder is missing}" ;;
  *) sed -n '2,7p' "$0"; exit 2 ;;
esac
