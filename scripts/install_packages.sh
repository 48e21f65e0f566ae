#!/usr/bin/env bash
# Installs the Debian packages of scripts/packages.txt that are missing.
#
#   scripts/install_packages.sh GROUP...      groups: build test lint fuzz demo
#
# Asks nothing. Runs as root or through sudo; changes nothing when all is installed.
set -euo pipefail
cd "$(dirname "$0")"
list=packages.txt

die() {
  echo "install_packages.sh: $*" >&2
  exit 1
}

known_groups() { sed -n 's/^\[\(.*\)\]$/\1/p' "$list"; }

packages_of() {
  awk -v group="[$1]" '
    { sub(/#.*/, ""); $1 = $1 }
    /^\[/ { inside = ($0 == group); next }
    inside && NF { print $1 }' "$list"
}

is_installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

[ $# -gt 0 ] || die "name at least one group of: $(known_groups | xargs)"
missing=()
for group in "$@"; do
  known_groups | grep -qx -- "$group" || die "no group '$group'; the groups are: $(known_groups | xargs)"
  command -v dpkg-query > /dev/null ||
    die "this system has no dpkg; install what these Debian packages hold: $(packages_of "$group" | xargs)"
  for package in $(packages_of "$group"); do
    is_installed "$package" || missing+=("$package")
  done
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo > /dev/null ||
    die "not root and no sudo; as root, run: apt-get install --no-install-recommends ${missing[*]}"
  as_root=(sudo)
fi

echo "Installing: ${missing[*]}"
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@"; }
apt update
apt install --no-install-recommends "${missing[@]}"
