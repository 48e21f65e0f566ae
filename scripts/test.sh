#!/usr/bin/env bash
# Builds Plinth and runs its fast tests.
set -euo pipefail
cd "$(dirname "$0")/.."

cmake --preset release > /dev/null
cmake --build --preset release
ctest --preset release
