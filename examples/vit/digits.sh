#!/usr/bin/env bash
# Trains a small ViT from random weights on scikit-learn's handwritten digits, and scores it on 450 that it has not
# seen. A minute or two on two cores.
#
#   examples/vit/digits.sh
#
# Writes to runs/digits below the repository.
set -euo pipefail
cd "$(dirname "$0")/../.."

program=${PLINTH:-build/release/plinth}
scripts/install_packages.sh build demo
/usr/bin/python3 examples/vit/digits.py runs/digits  # that which has the package
"$program" finetune examples/vit/digits.toml --resume
"$program" eval runs/digits/vit --data runs/digits/test
sevens=(runs/digits/test/7/*.png)
"$program" predict runs/digits/vit "${sevens[@]:0:3}"
