#!/usr/bin/env bash
# From a clean clone to a trained language model: builds the plinth command, trains a tokenizer and a small
# GPT-2 on the King James Bible, and lets it write. Stopped and run again, it goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/.."
data=runs/kjv-data
run=runs/kjv
plinth=build/release/plinth

scripts/install_packages.sh build test demo
cmake --preset release > /dev/null
cmake --build --preset release --target plinth_cli

if [ ! -f "$data/tokenizer.json" ]; then
  examples/demo/kjv_corpus.sh runs/kjv.txt
  "$plinth" tokenize runs/kjv.txt --out "$data" --train-vocab 4096 --documents paragraph --validation 0.05
fi
"$plinth" pretrain examples/demo/kjv.toml --resume
for prompt in "In the beginning" "And Jesus said unto them," "The LORD is my"; do
  echo
  "$plinth" generate "$run" --prompt "$prompt" --tokens 60 --temperature 0.8 --top-k 50 --seed 1
done
echo
echo "The run's report: $run/report.html"
