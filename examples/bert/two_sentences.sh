#!/usr/bin/env bash
# Loss and logits of a Chinese BERT classifier on two sentences, labelled 0 and 1.
#
#   examples/bert/two_sentences.sh [MODEL]
#
# Without a model it takes the tiny random one of the tests, for which transformers computes the same. A
# line of logits a sentence, then the loss and the scores.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
program=${PLINTH:-$here/../../build/release/plinth}
"$program" eval "${1:-$here/../../tests/fixtures/bert_chinese}" --data "$here/two_sentences.csv" --outputs --json
