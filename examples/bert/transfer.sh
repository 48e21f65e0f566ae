#!/usr/bin/env bash
# Pretrains a small BERT on unlabelled texts, fine-tunes it with few labels to tell where a text is from, and does the
# same from random weights. Prints the F1 of both on texts that were neither trained on nor chosen by.
#
#   examples/bert/transfer.sh english     verses of the King James Bible, of six parts
#   examples/bert/transfer.sh chinese     quotations of Debian's fortunes-zh, from four books
#
# Writes to runs/transfer-LANGUAGE below the repository. Minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/../.."

case ${1:-} in
  english) prepare=examples/bert/english_verses.py ;;
  chinese) prepare=examples/bert/chinese_quotes.py ;;
  *) echo "usage: transfer.sh english|chinese" >&2; exit 2 ;;
esac
program=${PLINTH:-build/release/plinth}
run=runs/transfer-$1
data=$run/data
scripts/install_packages.sh build demo

if [ ! -d "$data/tokens" ]; then
  "$prepare" "$data"
  tokenizer=(--kind wordpiece --train-vocab 4096)
  [ ! -d "$data/vocab" ] || tokenizer=(--tokenizer "$data/vocab")
  "$program" tokenize "$data/corpus.txt" "${tokenizer[@]}" --out "$data/tokens" --documents line --validation 0.02
fi
pretrain() {
  "$program" pretrain examples/bert/transfer_pretrain.toml "data.train=$data/tokens/train_*.bin" \
    "data.validation=$data/tokens/validation_*.bin" "data.tokenizer=$data/tokens" "$@" --resume
}
pretrain run.directory="$run/pretrained"
# A step at a rate of 0 leaves the weights as they were drawn.
pretrain run.directory="$run/random" train.steps=1 schedule.warmup_steps=0 optimizer.lr=0
for start in random pretrained; do
  for seed in 1 2 3; do
    tuned=$run/finetuned-$start-$seed
    "$program" finetune examples/bert/transfer_finetune.toml model.directory="$run/$start" run.directory="$tuned" \
      run.seed="$seed" data.train="$data/train.csv" data.validation="$data/validation.csv" --resume
  done
done
for start in random pretrained; do
  for seed in 1 2 3; do
    printf '\n== from %s weights, seed %s\n' "$start" "$seed"
    "$program" eval "$run/finetuned-$start-$seed" --data "$data/test.csv"
  done
done
