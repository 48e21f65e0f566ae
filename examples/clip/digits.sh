#!/usr/bin/env bash
# Pretrains a small CLIP on scikit-learn's handwritten digits with captions.
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
