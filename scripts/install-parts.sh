#!/usr/bin/env bash
# Installs what the tests start or call, with apt, on Debian 12. Does nothing
# when every program is there already. Needs root, or sudo for the installation
# alone. No package starts a service: the tests start their own private copies.
set -euo pipefail

# One line per package: its name and a program that shows it is installed.
parts="
rabbitmq-server        /usr/lib/rabbitmq/bin/rabbitmq-server
libvirt-daemon-system  /usr/sbin/libvirtd
libvirt-clients        /usr/bin/virsh
qemu-system-x86        /usr/bin/qemu-system-x86_64
qemu-utils             /usr/bin/qemu-img
influxdb               /usr/bin/influxd
victoria-metrics       /usr/bin/victoria-metrics
prometheus             /usr/bin/prometheus
postgresql-15          /usr/lib/postgresql/15/bin/postgres
python3-grpcio         /usr/lib/python3/dist-packages/grpc/__init__.py
python3-gnocchiclient  /usr/bin/gnocchi
python3-ceilometer     /usr/lib/python3/dist-packages/ceilometer/publisher/gnocchi.py
python3-gnocchi        /usr/lib/python3/dist-packages/gnocchi/tests/functional/gabbits/base.yaml
python3-gabbi          /usr/bin/gabbi-run
python3-pankoclient    /usr/bin/panko
python3-aiosmtpd       /usr/lib/python3/dist-packages/aiosmtpd/smtp.py
python3-openstackclient /usr/bin/openstack
keystone               /usr/bin/keystone-manage
uwsgi-core             /usr/bin/uwsgi-core
uwsgi-plugin-python3   /usr/lib/uwsgi/plugins/python311_plugin.so
iproute2               /usr/sbin/ip
util-linux             /usr/bin/unshare
curl                   /usr/bin/curl
xxd                    /usr/bin/xxd
gcc                    /usr/bin/gcc
make                   /usr/bin/make
"
# gcc needs the C library's headers before it can build for the race detector.
parts+="libc6-dev              /usr/include/stdlib.h
"
# Packages asked for by name on the command line are added, so that
# scripts/generate.sh can say: install-parts.sh protobuf-compiler=/usr/bin/protoc
for extra in "$@"; do
  parts+="${extra%%=*} ${extra#*=}
"
done

say() { printf 'parts: %s\n' "$*"; }
die() {
  printf 'parts: %s\n' "$*" >&2
  exit 1
}

missing=()
while read -r package program; do
  if [ -n "$package" ] && [ ! -e "$program" ]; then missing+=("$package"); fi
done <<<"$parts"

if [ ${#missing[@]} -eq 0 ]; then
  say "all there"
  exit 0
fi
say "missing: ${missing[*]}"

command -v apt-get >/dev/null || die "apt-get not found: install these yourself: ${missing[*]}"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null ||
    die "installing needs root: run 'apt-get install ${missing[*]}' as root, or install sudo"
  as_root=(sudo)
  say "installing with sudo, which may ask for your password"
fi
# An array, so that an empty prefix is no word at all; env carries the setting
# through sudo, which drops the caller's environment.
root() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "$@"; }

# Packages ask policy-rc.d before they start a service; 101 means "do not". A
# file that the machine's owner put there stays as it is.
policy=/usr/sbin/policy-rc.d
work=$(mktemp -d)
guarded=no
cleanup() {
  [ $guarded = no ] || root rm -f "$policy"
  rm -rf "$work"
}
trap cleanup EXIT
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$work/policy"
  guarded=yes
  root install -m 0755 "$work/policy" "$policy"
fi

apt=(apt-get -y --no-install-recommends -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold)
log=$work/log

# A machine with fresh package lists installs without asking the mirror again.
can_install() { root "${apt[@]}" --print-uris install "${missing[@]}" >/dev/null 2>&1; }
# Shows each wanted package when it is done, not the hundred that come along.
install_all() {
  root "${apt[@]}" install "${missing[@]}" </dev/null 2>&1 | tee "$log" |
    awk -v wanted=" ${missing[*]} " '/^Setting up / && sub(/(:.*)?$/, "", $3) && index(wanted, " " $3 " ") {print "parts: installed " $3; fflush()}'
}
update() {
  say "updating package lists"
  root "${apt[@]}" -qq update </dev/null >"$log" 2>&1 || {
    cat "$log" >&2
    die "apt-get update failed"
  }
}

updated=no
if ! can_install; then
  update
  updated=yes
fi
say "installing ${#missing[@]} packages, which takes a minute or less"
start=$SECONDS
if ! install_all; then
  # Stale lists name package files that the mirror no longer has.
  if [ $updated = no ]; then
    update
    install_all || {
      cat "$log" >&2
      die "apt-get install failed"
    }
  else
    cat "$log" >&2
    die "apt-get install failed"
  fi
fi

while read -r package program; do
  [ -z "$package" ] || [ -e "$program" ] || die "package $package is installed but $program is not there: is this Debian 12?"
done <<<"$parts"
say "installed in $((SECONDS - start)) s"
