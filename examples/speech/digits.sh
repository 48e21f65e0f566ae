#!/usr/bin/env bash
# Trains a recogniser of spoken digits, letters and alphabet words from random weights, and prints its word and
# character error rates on strings and voices that it has not heard: within a quarter of an hour on two cores.
#
#   examples/speech/digits.sh
#
# Writes to runs/speech below the repository.
set -euo pipefail
cd "$(dirname "$0")/../.."

program=${PLINTH:-build/release/plinth}
data=runs/speech/data
scripts/install_packages.sh build demo
[ -e "$data/unheard_digits.jsonl" ] || /usr/bin/python3 examples/speech/digits.py "$data"  # that which has the package
"$program" finetune examples/speech/digits.toml --resume
for set in real_digits synthetic_digits real_letters synthetic_letters real_words synthetic_words unheard_digits; do
  printf '\n%s\n' "$set"
  "$program" eval runs/speech/recogniser --data "$data/$set.jsonl"
done
printf '\n'
"$program" predict runs/speech/recogniser "$data"/real_digits/*_0000[0-2].wav
