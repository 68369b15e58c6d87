#!/bin/bash
# Run COMMAND with the podman of another root directory in place of this machine's.
#
#   tools/other_podman.sh ROOT COMMAND [ARG...]
#
# For tests against another version: ROOT is what `debootstrap --include=podman,runc,netavark,uidmap trixie ROOT` made.
# It keeps images and containers of its own; the task image is carried over with
# `podman save IMAGE > FILE`, then `tools/other_podman.sh ROOT podman load --input FILE`.
#
# COMMAND sees this machine's files, and `podman` on its PATH enters ROOT, where /tmp, /var/tmp, the working directory
# and the cache are this machine's. Both get a network of their own without a way out. One COMMAND a ROOT at a time.
# Needs root; users without privileges cannot enter ROOT (tests of rootless podman skip or fail there).
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,5p' "$0"; exit 2; }

if [ -z "${OTHER_PODMAN:-}" ]; then
    root=$(realpath "$1"); shift
    [ -x "$root/usr/bin/podman" ] || { echo "there is no podman in $root" >&2; exit 2; }
    OTHER_PODMAN=$(mktemp -d); export OTHER_PODMAN
    trap 'rm -rf "$OTHER_PODMAN"' EXIT
    unshare --mount --net --propagation private "$0" "$root" "$@"
    exit
fi

root=$1; shift
cache=${KOJI_ADJUTANT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/koji-adjutant}
if [ "${1:-}" = --hold ]; then # ROOT's side: not a chroot, out of which a container could climb
    mount --make-private /
    cd "$root"
    pivot_root . .old
    mount --make-rslave /.old
    umount --lazy /.old
    exec sleep infinity
fi

mount --make-rshared / # what COMMAND mounts below /tmp is seen in ROOT
mount --bind "$root" "$root"
mount --make-private "$root"
mkdir -p "$root/.old" "$root/run" "$root/var/lib/containers" "$root/etc/containers" "$cache"
mount -t tmpfs tmpfs "$root/run"
mkdir "$root/run/containers"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --bind /dev "$root/dev"
mount --bind /dev/pts "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm" # podman's locks
for folder in /tmp /var/tmp "$PWD" "$cache"; do
    mkdir -p "$root$folder"
    mount --rbind "$folder" "$root$folder"
done
for folder in /var/lib/containers /run/containers /etc/containers; do
    mkdir -p "$folder"
    mount --bind "$root$folder" "$folder"
done
ip link set lo up
ip link add way-out type veth peer name nowhere # podman wants a default route
ip link set nowhere up
ip address add 198.51.100.2/24 dev way-out
ip link set way-out up
ip route add default via 198.51.100.1

unshare --mount --propagation unchanged "$0" "$root" --hold &
holder=$!
trap 'kill "$holder"' EXIT
until [ "$(cat "/proc/$holder/comm")" = sleep ]; do kill -0 "$holder"; sleep 0.05; done
cat >"$OTHER_PODMAN/podman" <<END
#!/bin/sh
exec nsenter --target=$holder --mount -- sh -c 'cd "\$0" && PATH=/usr/sbin:/usr/bin:/sbin:/bin exec podman "\$@"' "\$PWD" "\$@"
END
chmod +x "$OTHER_PODMAN/podman"
PATH=$OTHER_PODMAN:$PATH "$@"
