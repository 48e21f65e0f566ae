#!/usr/bin/env bash
# Fills a folder with what scripts/gpu_check.sh needs on a machine that has a GPU, nvcc, CMake and ninja
# but no network and no packages: the headers, static libraries and CMake packages of Plinth's
# dependencies, as Debian installs them, the King James Bible to train on, and the commit.
#
#   scripts/gpu_carry.sh [FOLDER]        default: build/gpu_carry (about 12 MiB)
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-build/gpu_carry}
packages=(libpcre2-dev libxxhash-dev nlohmann-json3-dev libtomlplusplus-dev libtomlplusplus3 libcli11-dev
          libgtest-dev libgmock-dev)

scripts/install_packages.sh build test demo
rm -rf "$folder"
mkdir -p "$folder"
dpkg-query -L "${packages[@]}" | grep -E '^/usr/(include|lib|share/cmake)/' | sort -u |
  while read -r file; do
    case $file in
      *.pc | */) continue ;;
      # The one shared library: its links become copies. Others have a static one beside them.
      */libtomlplusplus.so*) cp -L --parents "$file" "$folder" ;;
      *.so | *.so.*) continue ;;
      *) [ ! -f "$file" ] || [ -L "$file" ] || cp --parents "$file" "$folder" ;;
    esac
  done
examples/demo/kjv_corpus.sh "$folder/kjv.txt"
git describe --always --dirty --abbrev=12 > "$folder/commit"
du -sh "$folder"
