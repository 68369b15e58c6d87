#!/bin/bash
# Build SRPM with mock and with engine run from one repository, and show every difference.
#
#   tools/compare_mock.sh SRPM REPO_DIR [WORKDIR]
#
# Needs mock (the user in its group), engine, rpm, diff. Exit status: 0 equal, 1 different, 2 could not compare.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,6p' "$0"; exit 2; }
srpm=$(realpath "$1") repo=$(realpath "$2") work=$(realpath -m "${3:-compare-mock}")
for program in mock engine rpm diff; do
    command -v "$program" > /dev/null || { echo "$program is not installed" >&2; exit 2; }
done
mkdir -p "$work"/{mock,engine}
cat > "$work/compare.cfg" <<END
config_opts['root'] = 'adjutant-compare'
config_opts['target_arch'] = '$(uname -m)'
config_opts['legal_host_arches'] = ('$(uname -m)',)
config_opts['chroot_setup_cmd'] = 'install @build'
config_opts['use_bootstrap'] = False
config_opts['package_manager'] = 'dnf'
config_opts['isolation'] = 'simple'
config_opts['plugin_conf']['root_cache_enable'] = False
config_opts['plugin_conf']['ccache_enable'] = False
config_opts['macros']['%_rpmfilename'] = '%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm'
config_opts['dnf.conf'] = """
[main]
reposdir=/dev/null
gpgcheck=0
install_weak_deps=0
[build]
name=build
baseurl=file://$repo
"""
END
mock --quiet --configdir "$work" -r "$work/compare.cfg" --resultdir "$work/mock" --rebuild "$srpm"
engine run buildArch "$srpm" --repo "$repo" --results "$work/engine" --force --quiet

describe() {
    for package in "$1"/*.rpm; do
        echo "== ${package##*/}"
        rpm -qp --nosignature --qf '[%{FILENAMES} %{FILEMODES:perms} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILEDIGESTS}\n]' "$package"
        for what in requires provides conflicts obsoletes recommends suggests supplements enhances scripts triggers; do
            echo "-- $what"
            rpm -qp --nosignature --"$what" "$package" | LC_ALL=C sort
        done
        rpm -qp --nosignature --qf 'payload %{PAYLOADDIGEST} %{PAYLOADCOMPRESSOR} vendor %{VENDOR} packager %{PACKAGER}\n' "$package"
    done
}
different=0
for side in mock engine; do
    describe "$work/$side" > "$work/$side.packages"
    awk '{ print $1 }' "$work/$side/installed_pkgs.log" | LC_ALL=C sort > "$work/$side.installed"
    sed -n 's/^ENV: //p' "$work/$side/build.log" | LC_ALL=C sort > "$work/$side.environment"
done
for what in packages installed environment; do
    echo "### $what (- mock, + engine)"
    diff -u "$work/mock.$what" "$work/engine.$what" || different=1
done
exit "$different"
