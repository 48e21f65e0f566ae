#!/usr/bin/env bash
# Pretrains a small T5 on the King James Bible by span corruption.
#
#   examples/t5/kjv.sh
#
# Writes to runs/t5; run it where that may be.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
program=${PLINTH:-$here/../../build/release/plinth}
data=runs/t5/data

[ -f runs/t5/corpus.txt ] || "$here/../demo/kjv_corpus.sh" runs/t5/corpus.txt
[ -d "$data" ] || "$program" tokenize runs/t5/corpus.txt --out "$data" --kind unigram --train-vocab 4000 \
  --sentinels 100 --documents paragraph --validation 0.02
"$program" pretrain "$here/kjv.toml" --resume
