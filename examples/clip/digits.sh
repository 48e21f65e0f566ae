#!/usr/bin/env bash
# Pretrains a small CLIP on scikit-learn's handwritten digits with captions, then has it tell 450 that it has not seen
# by texts alone.
#
#   examples/clip/digits.sh
#
# Writes to runs/digits and runs/clip below the repository.
set -euo pipefail
cd "$(dirname "$0")/../.."

program=${PLINTH:-build/release/plinth}
scripts/install_packages.sh build demo
/usr/bin/python3 examples/vit/digits.py runs/digits  # that which has the package
examples/clip/captions.py runs/digits runs/clip
[ -d runs/clip/tokens ] || "$program" tokenize runs/clip/captions.txt --out runs/clip/tokens --train-vocab 320 \
  --documents line
"$program" pretrain examples/clip/digits.toml --resume
"$program" eval runs/clip/pretrained --data runs/clip/classes.csv --prompt 'a handwritten {}' \
  --labels zero,one,two,three,four,five,six,seven,eight,nine
