#!/usr/bin/env bash
# Checks and measures Plinth on a machine with a GPU: needs nvcc, CMake and ninja (unless it was built before),
# Python (with PyTorch for the peers), no network, and what scripts/gpu_carry.sh put into a folder.
#
#   scripts/gpu_check.sh [--carry FOLDER] [--out FOLDER] PART...
#
#   build       the cuda preset for this GPU's architecture, with the tests; unpacked where the folder has them built
#   test        every test that needs a GPU
#   memcheck, racecheck, initcheck, synccheck
#               the op table and the CUDA tests under that tool of compute-sanitizer
#   bench_norm, bench_loss
#               kernels and ops beside PyTorch eager, torch.compile and Triton, in the same run: norms and
#               softmax; losses and AdamW
#   bench_attention, bench_attention_full
#               attention, causal and without a mask, beside cuDNN, FlashAttention and FlexAttention
#   train       whole training steps beside PyTorch, and the loss curves of GPT-2 124M over 200 steps
#
# Each part ends within ten minutes; later parts need `build` to have run on this machine. FOLDER of --out
# (default: $OUT, or build/gpu_check) gets one log a part, summary.json, and results.tar: the files for
# bench/results, made by the programs that measured them.
set -euo pipefail
cd "$(dirname "$0")/.."

all_parts="build test memcheck racecheck initcheck synccheck bench_norm bench_loss bench_attention bench_attention_full train"
carry=build/gpu_carry
out=${OUT:-build/gpu_check}
parts=()

die() {
  echo "gpu_check.sh: $*" >&2
  exit 2
}

while [ $# -gt 0 ]; do
  case $1 in
    --carry) carry=${2:?--carry needs a folder}; shift ;;
    --out) out=${2:?--out needs a folder}; shift ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    *) [[ " $all_parts " == *" $1 "* ]] || die "no part '$1'; the parts are: $all_parts"
       parts+=("$1") ;;
  esac
  shift
done
[ ${#parts[@]} -gt 0 ] || die "name at least one part of: $all_parts"
[ -f "$carry/commit" ] || die "$carry has no file 'commit'; make it where Debian's packages are: scripts/gpu_carry.sh"
[ -f "$carry/built.tar.xz" ] || command -v nvcc > /dev/null || die "nvcc is not on PATH"

carry=$(cd "$carry" && pwd)
mkdir -p "$out"
out=$(cd "$out" && pwd)
build=build/cuda
PLINTH_COMMIT=$(cat "$carry/commit")
export PLINTH_COMMIT
# Gloo's library, and NVIDIA's as PyPI's packages have them beside PyTorch.
LD_LIBRARY_PATH=$carry/usr/lib:$carry/usr/lib/x86_64-linux-gnu:$(python3 scripts/nvidia_libraries.py)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH

has_gpu() { command -v nvidia-smi > /dev/null && nvidia-smi -L 2> /dev/null | grep -q '^GPU 0'; }

# 90 becomes 90a, whose instructions Hopper's kernels use.
architecture() {
  local found=90
  if has_gpu; then found=$(nvidia-smi -i 0 --query-gpu=compute_cap --format=csv,noheader | tr -d .); fi
  case $found in 90 | 100) echo "${found}a-real" ;; *) echo "$found-real" ;; esac
}

part_build() {
  if [ -f "$carry/built.tar.xz" ]; then
    tar -C "$carry" -xJf "$carry/built.tar.xz"
    rm -rf "$build"
    mkdir -p build
    mv "$carry/build/cuda" "$build"
    return
  fi
  export CPLUS_INCLUDE_PATH=$carry/usr/include
  cmake --preset cuda -DCMAKE_CUDA_ARCHITECTURES="$(architecture)" -DPLINTH_EMULATOR=OFF -DPLINTH_BENCH=OFF \
    -DCMAKE_PREFIX_PATH="$carry/usr"
  cmake --build --preset cuda
}

part_test() {
  scripts/gtest_batches.py --batch 20 --json "$out/test.json" "$build/tests/cuda_tests" "$build/tests/ops_gpu_tests:Gpu/*"
}

# With each tensor a block of the driver's, so that no access beyond one goes unseen. Left out is what only
# repeats the same launches many times (gradients by differences, second derivatives), and what needs the
# caching allocator. racecheck does not see that a bulk copy ends at an mbarrier, and reports the reads behind
# that: the attention kernels' races are looked for by the emulator.
sanitize() {
  local less="" more=""
  [ "$1" != racecheck ] || less=":*Attention*"
  [ "$1" != memcheck ] || more=" --report-api-errors no"  # NCCL asks for what a machine may not have
  PLINTH_CUDA_ALLOCATOR=direct scripts/gtest_batches.py --batch 30 --timeout 120 --json "$out/$1.json" \
    --under "compute-sanitizer --tool $1$more --error-exitcode 1" \
    "$build/tests/ops_gpu_tests:Gpu/*:-*FiniteDifferences*:*SecondDerivatives*:*BadArguments*$less" \
    "$build/tests/cuda_tests:-DeviceProgram*:CachingAllocator*:*Graph*:CapturedLoss*:DeviceTrainer*$less"
}
part_memcheck() { sanitize memcheck; }
part_racecheck() { sanitize racecheck; }
part_initcheck() { sanitize initcheck; }
part_synccheck() { sanitize synccheck; }

peers() { python3 bench/peers/run.py --device cuda --plinth "$build/plinth" --turns 3 --only "$@"; }
part_bench_norm() { peers layer_norm rms_norm softmax; }
part_bench_loss() { peers cross_entropy linear_cross_entropy adamw; }
part_bench_attention() { peers attention; }
part_bench_attention_full() { peers attention_full; }

part_train() {
  peers train
  python3 bench/peers/loss_curve.py --device cuda --plinth "$build/plinth" --text "$carry/kjv.txt"
}

failed=()
for part in "${parts[@]}"; do
  [ "$part" = build ] || has_gpu || die "part '$part' needs a GPU, and nvidia-smi finds none"
  echo "== $part"
  start=$SECONDS
  # Not behind ||, where bash would go on after a command that fails.
  set +e
  (set -e; "part_$part") > "$out/$part.log" 2>&1
  status=$?
  set -e
  tail -n 25 "$out/$part.log"
  echo "== $part: exit status $status after $((SECONDS - start)) s"
  python3 scripts/gpu_summary.py "$out" "$part" "$status" "$((SECONDS - start))"
  [ "$status" -eq 0 ] || failed+=("$part")
done
tar -cf "$out/results.tar" -C bench results
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}"; exit 1; }
