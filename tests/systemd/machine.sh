#!/bin/bash
# Make a small machine out of this host and run its systemd as PID 1: machine.sh NAME DIRECTORY [SHARED...]
#
# It sees the host's root file system through an overlay, so what it writes is gone with it; /dev, /run, /tmp, /sys and
# podman's storage are its own, the network is the host's. SHARED directories are the host's own, at the same path.
# Mounts vanish with the machine's last process. Left on the host: one control group NAME in each hierarchy.
set -euo pipefail
name=$1 base=$2
# "memory", "cpu,cpuacct", "name=systemd", "unified"; read at once, for what we do changes the file.
mapfile -t hierarchies < <(sed 's/^0::.*/unified/; s/^[0-9]*:\([^:]*\):.*/\1/' /proc/self/cgroup)
mount_hierarchy() {
    mkdir "$2"
    case $1 in
        unified) mount -t cgroup2 cgroup "$2" ;;
        *) mount -t cgroup -o "${1/#name=/none,name=}" cgroup "$2" ;;
    esac
}
if [ "${3:-}" != inside ]; then
    # Control groups: enter one of our own in each hierarchy, which is then the root of the namespace.
    mkdir "$base/cgroup"
    for hierarchy in "${hierarchies[@]}"; do
        top=$base/cgroup/$hierarchy
        mount_hierarchy "$hierarchy" "$top"
        mkdir "$top/$name"
        for file in cpuset.cpus cpuset.mems; do
            [ ! -e "$top/$file" ] || cat "$top/$file" >"$top/$name/$file"
        done
        echo $$ >"$top/$name/cgroup.procs"
        umount "$top"
    done
    exec unshare --mount --pid --cgroup --uts --ipc --fork --kill-child -- "$0" "$name" "$base" inside "${@:3}"
fi

mount -t tmpfs machine "$base"
root=$base/root
mkdir "$base/upper" "$base/work" "$root"
mount -t overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" overlay "$root"
cd "$root"

mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t tmpfs cgroup sys/fs/cgroup
for hierarchy in "${hierarchies[@]}"; do mount_hierarchy "$hierarchy" "sys/fs/cgroup/${hierarchy#name=}"; done

mount -t tmpfs -o mode=755 dev dev
mkdir dev/pts dev/shm dev/net
while read -r file major minor; do mknod -m 666 "dev/$file" c "$major" "$minor"; done <<'DEVICES'
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
fuse 10 229
net/tun 10 200
DEVICES
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs shm dev/shm
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mkdir -p var/lib/containers
mount -t tmpfs containers var/lib/containers
# Nothing of what this host starts at boot, and nothing that reaches what it shares with the host: kernel and directories.
rm -rf etc/systemd/system/*.wants etc/systemd/user/*.wants
for unit in systemd-{modules-load,sysctl,tmpfiles-setup,tmpfiles-setup-dev,tmpfiles-clean}.service \
    systemd-journald-audit.socket proc-sys-fs-binfmt_misc.automount; do
    ln -sf /dev/null "etc/systemd/system/$unit"
done
mkdir -p etc/systemd/journald.conf.d
printf '[Journal]\nAudit=\nReadKMsg=no\nStorage=volatile\n' >etc/systemd/journald.conf.d/tests.conf
for shared in "${@:4}"; do
    mkdir -p "$root$shared"
    mount --bind "$shared" "$root$shared"
done

mkdir old
pivot_root . old
umount -l /old
exec env -i container=adjutant-tests PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=basic.target --log-target=journal --show-status=no
