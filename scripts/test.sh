#!/usr/bin/env bash
# Installs what the build needs, builds Plinth, and runs its fast tests; ends with ctest's summary.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install_packages.sh build test
cmake --preset release > /dev/null
cmake --build --preset release
ctest --preset release
