#!/usr/bin/env bash
# Every check that reads the code without running it.
#
#   scripts/lint.sh          all of it
#   scripts/lint.sh quick    without clang-tidy: seconds
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install_packages.sh build test lint

echo "lint: layout"
git ls-files -z '*.h' '*.cpp' '*.cu' '*.cuh' | xargs -0 clang-format --dry-run -Werror

echo "lint: layers"
scripts/check_layers.py

echo "lint: shell and Python"
mapfile -t shell < <(git ls-files '*.sh' .ci/run)
for script in "${shell[@]}"; do bash -n "$script"; done
shellcheck "${shell[@]}"
git ls-files -z '*.py' | xargs -0 python3 -c '
import sys
for path in sys.argv[1:]: compile(open(path).read(), path, "exec")'

echo "lint: manifests"
scripts/check_manifests.py

[ "${1:-}" != quick ] || exit 0
echo "lint: clang-tidy"
cmake --preset release > /dev/null
scripts/clang_tidy.py build/release
