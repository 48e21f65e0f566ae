#!/usr/bin/env bash
# Pretrains a small Chinese BERT on Debian's fortunes-zh, fine-tunes it to tell which of four books a quotation
# is from, and does the same from random weights.
#
#   examples/bert/chinese.sh
#
# Writes to runs/chinese; run it where that may be. Minutes on two cores.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
program=${PLINTH:-$here/../../build/release/plinth}
data=runs/chinese/data

"$here/chinese_quotes.py" "$data"
[ -d "$data/tokens" ] || "$program" tokenize "$data/corpus.txt" --tokenizer "$data/vocab" --out "$data/tokens" \
  --documents line --validation 0.02
"$program" pretrain "$here/chinese_pretrain.toml" --resume
# A step at a rate of 0 leaves the weights as they were drawn.
"$program" pretrain "$here/chinese_pretrain.toml" run.directory=runs/chinese/random train.steps=1 \
  schedule.warmup_steps=0 optimizer.lr=0 --resume
for start in random pretrained; do
  echo "== from $start weights"
  "$program" finetune "$here/chinese_finetune.toml" model.directory="runs/chinese/$start" \
    run.directory="runs/chinese/finetuned-$start" --resume
  "$program" eval "runs/chinese/finetuned-$start" --data "$data/validation.csv" --max-length 64
done
