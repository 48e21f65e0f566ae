#!/usr/bin/env bash
# Pretrains a small masked autoencoder on scikit-learn's handwritten digits without their labels, and fine-tunes its
# ViT to tell the digits.
#
#   examples/vit/mae.sh
#
# Writes to runs/digits below the repository.
set -euo pipefail
cd "$(dirname "$0")/../.."

program=${PLINTH:-build/release/plinth}
scripts/install_packages.sh build demo
/usr/bin/python3 examples/vit/digits.py runs/digits  # that which has the package
"$program" pretrain examples/vit/mae.toml --resume
"$program" finetune examples/vit/digits.toml model.directory=runs/digits/mae run.directory=runs/digits/mae-vit --resume
"$program" eval runs/digits/mae-vit --data runs/digits/test
