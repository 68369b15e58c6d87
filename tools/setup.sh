#!/usr/bin/env bash
# All set-up of a development machine; says nothing and takes a second when everything is there.
#
#   tools/setup.sh            programs, .venv, podman's configuration, RPM world, task image
#   tools/setup.sh venv       programs that Python needs and .venv only
#
# Environment: KOJI_ADJUTANT_CACHE (where made things go), KOJI_ADJUTANT_PYTHON (interpreter of .venv),
# KOJI_ADJUTANT_STANDIN=0|1 (real packages or converted ones), KOJI_ADJUTANT_BASE (base of the task image).
set -euo pipefail
cd "$(dirname "$0")/.."
part=${1:-all}
cache=${KOJI_ADJUTANT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/koji-adjutant}

say() { printf 'set-up: %s\n' "$*" >&2; }
stop() { say "$*"; exit 1; }
has() { # a program on PATH or, with a slash, a path pattern; alternatives separated by |
    local one alternatives
    IFS='|' read -ra alternatives <<<"$1"
    for one in "${alternatives[@]}"; do
        case $one in
            */*) compgen -G "$one" >/dev/null && return 0 ;;
            *) PATH=$PATH:/usr/sbin:/sbin command -v "$one" >/dev/null 2>&1 && return 0 ;;
        esac
    done
    return 1
}

# What is needed, and the package that has it: Debian's name, EL's and Fedora's name ("-" where it is not needed).
python_needs='
gcc                         gcc             gcc
krb5-config                 libkrb5-dev     krb5-devel
/usr/include/python3.*/Python.h  python3-dev  python3-devel
'
all_needs="$python_needs
file                        file            file
/bin/busybox|/usr/bin/busybox  busybox-static  -
git                         git             git-core
make                        make            make
podman                      podman          podman
newuidmap                   uidmap          shadow-utils
slirp4netns|pasta           slirp4netns     passt
fuse-overlayfs              fuse-overlayfs  fuse-overlayfs
/usr/lib/podman/netavark|/usr/libexec/podman/netavark|/opt/cni/bin/bridge|/usr/lib/cni/bridge  netavark  netavark
/usr/libexec/podman/catatonit|/usr/bin/catatonit  catatonit  catatonit
rpmbuild                    rpm             rpm-build
createrepo_c                createrepo-c    createrepo_c
iptables                    iptables        -
dnf                         dnf             -
docker-registry             docker-registry -
htpasswd                    apache2-utils   httpd-tools
krb5kdc                     krb5-kdc        krb5-server
kadmin.local                krb5-admin-server  krb5-server
faketime                    faketime        -
/lib/systemd/systemd        systemd         systemd
/lib/systemd/systemd-journal-remote  systemd-journal-remote  systemd-journal-remote
"

os=$(. /etc/os-release 2>/dev/null && echo " ${ID:-} ${ID_LIKE:-} ") || os=" "
case $os in
    *" debian "*|*" ubuntu "*) family=debian column=2 ;;
    *" rhel "*|*" fedora "*|*" almalinux "*|*" centos "*) family=el column=3 ;;
    *) family=other column=2 ;;
esac

missing_packages() {
    local what debian el package
    while read -r what debian el; do
        [ -n "$what" ] || continue
        package=$debian; [ $column = 3 ] && package=$el
        [ "$package" = - ] || has "$what" || echo "$package"
    done <<<"$needs"
    # Debian splits the virtual environments off; crun, podman's first choice, refuses cgroup v1.
    if [ $family = debian ]; then
        /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv
        if [ "$part" = all ] && [ ! -e /sys/fs/cgroup/cgroup.controllers ] && ! has runc; then echo runc; fi
    fi
}

apt_install() {
    export DEBIAN_FRONTEND=noninteractive
    local options=(-y -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 --no-install-recommends)
    # The package lists are old or missing exactly when this fails.
    apt-get "${options[@]}" install "$@" >"$log" 2>&1 \
        || { apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 update >"$log" 2>&1 \
             && apt-get "${options[@]}" install "$@" >"$log" 2>&1; }
}

install_programs() {
    local packages
    mapfile -t packages < <(missing_packages)
    [ ${#packages[@]} -gt 0 ] || return 0
    if [ $family = other ]; then
        stop "this system is neither Debian/Ubuntu nor AlmaLinux/Fedora: install what Debian calls ${packages[*]}, then run this again."
    fi
    local tool=apt-get; [ $family = el ] && tool=dnf
    if [ "$(id -u)" != 0 ]; then
        stop "missing ${packages[*]}: as root run \`$tool install ${packages[*]}\`, then run this again."
    fi
    say "installing ${packages[*]}"
    mkdir -p "$cache"; log=$cache/install.log
    if [ $family = debian ]; then apt_install "${packages[@]}"; else dnf -y -q install "${packages[@]}" >"$log" 2>&1; fi \
        || { tail -n 20 "$log" >&2; stop "$tool could not install ${packages[*]}; the whole log is $log"; }
}

find_python() { # the first interpreter that is new enough; the distribution's own before others
    local one
    for one in ${KOJI_ADJUTANT_PYTHON:-/usr/bin/python3 python3 /usr/bin/python3.14 /usr/bin/python3.13 /usr/bin/python3.12 /usr/bin/python3.11}; do
        if "$one" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$one"; return 0
        fi
    done
    stop "no Python 3.11 or newer with ensurepip found: install one and name it in KOJI_ADJUTANT_PYTHON."
}

make_venv() {
    local python stamp=.venv/installed-from wanted
    wanted=$(sha256sum pyproject.toml)
    if [ -x .venv/bin/python ] && [ -x .venv/bin/engine ] && [ "$(cat $stamp 2>/dev/null)" = "$wanted" ]; then return 0; fi
    if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
        python=$(find_python)
        say "making .venv with $python"
        "$python" -m venv --clear .venv
    fi
    say "installing the project into .venv"
    mkdir -p "$cache"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --editable '.[dev]' >"$cache/pip.log" 2>&1 \
        || { tail -n 20 "$cache/pip.log" >&2; stop "pip could not install the project; the whole log is $cache/pip.log"; }
    echo "$wanted" >$stamp
}

write_environment() { # sourced by the Makefile
    mkdir -p "$cache"
    if [ -z "${CONTAINERS_CONF:-}" ]; then .venv/bin/python -m tools.hostconf "$cache/containers.conf"; fi
    {
        echo "# Made by tools/setup.sh."
        if [ -e "$cache/containers.conf" ]; then
            printf 'export CONTAINERS_CONF="${CONTAINERS_CONF:-%s}"\n' "$cache/containers.conf"
        fi
    } >"$cache/env.sh.$$"
    mv "$cache/env.sh.$$" "$cache/env.sh"
}

needs=$all_needs
[ "$part" = venv ] && needs=$python_needs
install_programs
make_venv
[ "$part" = venv ] && exit 0
write_environment
. "$cache/env.sh"
.venv/bin/python -m tools.standin make
