#!/usr/bin/env bash
# Fuzzes the readers of files, one after the other, and keeps what reaches new code.
#
#   scripts/fuzz.sh [TARGET...] [--seconds 600]      default: every target of tests/fuzz/targets
#
# What a target finds goes to build/fuzz/findings/, and makes the exit status 1. Of what else it found, the few
# small inputs that reach most go to tests/fuzz/corpus/ (scripts/fuzz_corpus.py).
set -euo pipefail
cd "$(dirname "$0")/.."

targets=()
seconds=600
while [ $# -gt 0 ]; do
  case $1 in
    --seconds)
      seconds=${2:?--seconds takes a number}
      shift
      ;;
    -*)
      echo "fuzz.sh: no option $1, takes [TARGET...] [--seconds N]" >&2
      exit 2
      ;;
    *) targets+=("$1") ;;
  esac
  shift
done
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cd tests/fuzz/targets && basename -s .cpp -- *.cpp)
for target in "${targets[@]}"; do
  [ -f "tests/fuzz/targets/$target.cpp" ] || {
    echo "fuzz.sh: no target $target; there are: $(basename -s .cpp tests/fuzz/targets/*.cpp | xargs)" >&2
    exit 2
  }
done

scripts/install_packages.sh build fuzz
cmake --preset fuzz > /dev/null
cmake --build --preset fuzz

# Readers that take paths get files in memory, where the system has such a folder.
memory=/dev/shm
[ -d $memory ] && [ -w $memory ] || memory=${TMPDIR:-/tmp}
TMPDIR=$(mktemp -d "$memory/plinth-fuzz.XXXXXX")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
export OMP_NUM_THREADS=1
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:allocator_may_return_null=0
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1

status=0
for target in "${targets[@]}"; do
  program=build/fuzz/tests/fuzz/fuzz_$target
  kept=tests/fuzz/corpus/$target
  found=build/fuzz/found/$target
  mkdir -p "$found" build/fuzz/findings
  echo "== $target, $seconds s"
  "$program" "$found" "$kept" -max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix="build/fuzz/findings/$target-" > "build/fuzz/$target.log" 2>&1 ||
    status=1
  grep -E '^(SUMMARY|Done|stat::(number_of_executed|average|peak))' "build/fuzz/$target.log" || true
  grep -oE 'cov: [0-9]+ ft: [0-9]+ corp: [^ ]+' "build/fuzz/$target.log" | tail -1
  scripts/fuzz_corpus.py "$program" "$kept" "$found"
done
exit $status
