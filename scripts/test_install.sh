#!/usr/bin/env bash
# Installs a built tree to a temporary prefix, then builds and runs a program that finds it there.
#
#   scripts/test_install.sh [BUILD_FOLDER]      default: build/release
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "${1:-$root/build/release}" && pwd)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/prefix" > "$work/install.log" || {
  cat "$work/install.log"
  exit 1
}
# The headers must stand alone: nothing of the source tree may be needed.
if grep -rl --include='*.cmake' -F "$root" "$work/prefix"; then
  echo "the installed package names the source tree $root" >&2
  exit 1
fi
cmake -S "$root/tests/install" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_PREFIX_PATH="$work/prefix"
cmake --build "$work/build"
"$work/build/consumer"
