#!/usr/bin/env bash
# Trains a small T5 from random weights to translate English to Spanish, on the verses of two bibles, and scores it on
# five books of which it has read nothing.
#
#   examples/t5/translation.sh
#
# Writes to runs/translation below the repository.
set -euo pipefail
cd "$(dirname "$0")/../.."

program=${PLINTH:-build/release/plinth}
data=runs/translation/data
start=runs/translation/start
scripts/install_packages.sh build demo
[ -e "$data/texts.txt" ] || examples/t5/translation.py "$data"
if [ ! -e "$start/config.json" ]; then
  "$program" tokenize "$data/texts.txt" --documents line --train-vocab 4096 --kind unigram --out "$start"
  cp examples/t5/translation/config.json "$start"
fi
"$program" finetune examples/t5/translation.toml --resume
"$program" eval runs/translation/t5 --data "$data/test.csv" --beams 4
"$program" predict runs/translation/t5 --beams 4 \
  'And Ruth said, Intreat me not to leave thee.' \
  'Now the word of the LORD came unto Jonah the son of Amittai, saying,'
