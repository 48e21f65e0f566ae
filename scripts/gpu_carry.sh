#!/usr/bin/env bash
# Fills a folder with what scripts/gpu_check.sh needs on a machine that has a GPU, nvcc, CMake and ninja
# but no network and no packages: the headers, static libraries and CMake packages of Plinth's
# dependencies, as Debian installs them, the King James Bible to train on, and the commit.
#
#   scripts/gpu_carry.sh [--built ARCHITECTURE] [FOLDER]
#
# With --built it compiles here, for CMake's architecture (90a-real for Hopper), and the folder has the
# stripped program, the tests and the shared libraries that they need, in place of what building needs: for
# a machine whose time is short. Default FOLDER: build/gpu_carry (about 50 MiB, most of it ICU; built 33).
set -euo pipefail
cd "$(dirname "$0")/.."
architecture=
if [ "${1:-}" = --built ]; then
  architecture=${2:?--built needs an architecture, such as 90a-real}
  shift 2
fi
folder=${1:-build/gpu_carry}
packages=(libpcre2-dev libicu-dev libxxhash-dev nlohmann-json3-dev libtomlplusplus-dev libtomlplusplus3 libcli11-dev
          libgtest-dev libgmock-dev libgloo-dev libkissfft-dev libsndfile1-dev libsamplerate0-dev
          libpng-dev zlib1g-dev libturbojpeg0-dev libsentencepiece-dev)

carry_packages() {
  dpkg-query -L "${packages[@]}" | grep -E '^/usr/(include|lib|share/cmake)/' | sort -u |
    while read -r file; do
      case $file in
        *.pc | */) continue ;;
        # Of ICU, two libraries are linked.
        */libicui18n* | */libicuio* | */libicutest* | */libicutu* | */icu/*) continue ;;
        # The shared libraries, and libpng's headers: links become copies. Other libraries have a static one beside them.
        */libtomlplusplus.so* | */libgloo.so* | */include/png*.h) cp -L --parents "$file" "$folder" ;;
        *.so | *.so.*) continue ;;
        *) [ ! -f "$file" ] || [ -L "$file" ] || cp --parents "$file" "$folder" ;;
      esac
    done
  # Gloo has no static library: what it needs goes along, and its CMake package names it where it lies.
  ldd /usr/lib/libgloo.so.0 | grep -oE '/[^ ]*/lib(hiredis|ibverbs|nl)[^ ]*' | xargs -I FILE cp -L FILE "$folder/usr/lib"
  cp -L /usr/lib/libgloo.so.0* "$folder/usr/lib"
  # Nor have the libraries of sound, and SentencePiece: they go along as the program finds them, with the codecs behind them.
  for library in sndfile samplerate sentencepiece sentencepiece_train; do
    file=$(ldconfig -p | grep -oE "/[^ ]*/lib$library\.so$" | head -n 1)
    cp -L "$file" "$folder/usr/lib/lib$library.so"
    cp -L "$(readlink -f "$file")" "$folder/usr/lib/$(objdump -p "$file" | awk '/SONAME/ { print $2 }')"
    ldd "$file" | { grep -oE '/[^ ]*/lib(FLAC|mp3lame|mpg123|ogg|opus|vorbis)[^ ]*' || true; } |
      xargs -rI FILE cp -L FILE "$folder/usr/lib"
  done
  sed -i 's|"/usr/lib/|"${_IMPORT_PREFIX}/lib/|' "$folder"/usr/share/cmake/Gloo/GlooTargets-*.cmake
}

# All shared libraries but those that any system with GCC has.
carry_built() {
  local build=build/cuda_carried file
  cmake --preset cuda -B "$build" -DCMAKE_CUDA_ARCHITECTURES="$architecture" -DPLINTH_EMULATOR=OFF -DPLINTH_BENCH=OFF
  cmake --build "$build" --target plinth_cli cuda_tests ops_gpu_tests
  mkdir -p "$folder/usr/lib" "$folder/build/cuda/tests"
  for file in plinth tests/cuda_tests tests/ops_gpu_tests; do
    strip -o "$folder/build/cuda/$file" "$build/$file"
    ldd "$build/$file" | grep -oE '/[^ ]*\.so[^ ]*' |
      { grep -vE '/(ld-linux.*|lib(c|m|dl|pthread|rt|gcc_s|gomp|stdc\+\+))\.so' || true; } |
      xargs -rI FILE cp -L FILE "$folder/usr/lib"
  done
  tar -C "$folder" -cJf "$folder/built.tar.xz" build usr
  rm -r "${folder:?}/build" "${folder:?}/usr"
}

scripts/install_packages.sh build test demo
rm -rf "$folder"
mkdir -p "$folder"
if [ -n "$architecture" ]; then carry_built; else carry_packages; fi
examples/demo/kjv_corpus.sh "$folder/kjv.txt"
git describe --always --dirty --abbrev=12 > "$folder/commit"
du -sh "$folder"
