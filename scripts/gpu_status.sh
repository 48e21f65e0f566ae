#!/usr/bin/env bash
# Says for each GPU kernel whether its source has changed since it last ran on a GPU, that is, since the
# commit of its newest result: bench/results/<device>/<kernel>.json, where <kernel> is its folder's name.
#
#   scripts/gpu_status.sh [DEVICE]      the device defaults to h200
#
# Exit status 0; a kernel that never ran, or has changed since, is listed as such.
set -euo pipefail
cd "$(dirname "$0")/.."

device=${1:-h200}
# What every kernel is built from, beside its own folder.
shared=(kernels/device ':(glob)kernels/*.cuh' kernels/types.h kernels/philox.h)

mapfile -t folders < <(git ls-files 'kernels/*.cu' | xargs -r -n 1 dirname | sort -u)
if [ ${#folders[@]} -eq 0 ]; then
  echo "there are no GPU kernels"
  exit 0
fi
for folder in "${folders[@]}"; do
  kernel=$(basename "$folder")
  result=bench/results/$device/$kernel.json
  if [ ! -f "$result" ]; then
    echo "$kernel: never ran on $device"
    continue
  fi
  commit=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["commit"])' "$result")
  if ! git cat-file -e "$commit^{commit}" 2> /dev/null; then
    echo "$kernel: ran on $device at $commit, which this repository does not have"
  elif git diff --quiet "$commit" -- "$folder/*.cu" "$folder/*.cuh" "$folder/*_cuda.h" "${shared[@]}"; then
    echo "$kernel: as it ran on $device at ${commit:0:12}"
  else
    echo "$kernel: changed since it ran on $device at ${commit:0:12}"
  fi
done
