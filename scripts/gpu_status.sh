#!/usr/bin/env bash
# Says for each GPU kernel whether its source has changed since it last ran on a GPU: since the commit whose
# tests passed there (bench/results/<device>/checks.json), and since that of its newest timing
# (bench/results/<device>/<kernel>.json, where <kernel> is its folder's name). scripts/gpu_check.sh makes both.
#
#   scripts/gpu_status.sh [DEVICE]      the device defaults to h200
#
# Exit status 0; a kernel that never ran, or has changed since, is listed as such.
set -euo pipefail
cd "$(dirname "$0")/.."

device=${1:-h200}
results=bench/results/$device
# What every kernel is built from, beside its own folder.
shared=(kernels/device ':(exclude)kernels/device/emulate' ':(glob)kernels/*.cuh' kernels/types.h kernels/philox.h
        kernels/library)

# Folders whose kernels are timed under another's name: attention's file is of what serves it on an H200.
declare -A timed_as=([hopper]=attention)

# The commit of a result file; nothing where there is none, or where its tests did not all pass.
commit_of() {
  [ -f "$1" ] || return 0
  python3 - "$1" << 'PYTHON'
import json, sys
content = json.load(open(sys.argv[1]))
test = content.get("parts", {"test": {"status": 0}}).get("test", {"status": 1})
print(content["commit"] if test["status"] == 0 else "")
PYTHON
}

# The device headers that FOLDER's sources include, of its own and of other folders, and those that these include.
headers_of() {
  local files found=-1
  mapfile -t files < <(git ls-files "$1/*.cu" "$1/*.cuh" "$1/*_cuda.h" "$1/*_cuda.cpp")
  while [ ${#files[@]} -ne "$found" ]; do
    found=${#files[@]}
    mapfile -t files < <({
      printf '%s\n' "${files[@]}"
      grep -shoE '#include "kernels/[^"]+(\.cuh|_cuda\.h)"' "${files[@]}" | cut -d '"' -f 2
    } | sort -u)
  done
  printf '%s\n' "${files[@]}"
}

# How FOLDER's source stands to COMMIT.
since() {
  local folder=$1 commit=${2%-dirty} included
  if [ -z "$commit" ]; then
    echo never
  elif ! git cat-file -e "$commit^{commit}" 2> /dev/null; then
    echo "at $commit, which this repository does not have"
  else
    mapfile -t included < <(headers_of "$folder")
    if git diff --quiet "$commit" -- "$folder/*.cu" "$folder/*.cuh" "$folder/*_cuda.h" "$folder/*_cuda.cpp" \
      "${included[@]}" "${shared[@]}"; then
      echo "as it is"
    else
      echo "changed since ${commit:0:12}"
    fi
  fi
}

mapfile -t folders < <(git ls-files 'kernels/*.cu' 'kernels/*_cuda.cpp' | xargs -r -n 1 dirname | sort -u)
if [ ${#folders[@]} -eq 0 ]; then
  echo "there are no GPU kernels"
  exit 0
fi
tested=$(commit_of "$results/checks.json")
printf '%-24s %-32s %s\n' "kernel" "tested on $device" "timed on $device"
for folder in "${folders[@]}"; do
  kernel=$(basename "$folder")
  printf '%-24s %-32s %s\n' "$kernel" "$(since "$folder" "$tested")" \
    "$(since "$folder" "$(commit_of "$results/${timed_as[$kernel]:-$kernel}.json")")"
done
