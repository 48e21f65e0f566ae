#!/usr/bin/env bash
# Trains a small detector and a small segmenter from random weights on images of discs, squares, triangles and crosses,
# and scores both on 500 images that they have not seen.
#
#   examples/detection/shapes.sh [detector|segmenter]...      without a name, both
#
# Writes to runs/detection below the repository.
set -euo pipefail
cd "$(dirname "$0")/../.."

program=${PLINTH:-build/release/plinth}
folder=runs/detection
models=("$@")
[ ${#models[@]} -gt 0 ] || models=(detector segmenter)
for model in "${models[@]}"; do
  case $model in
    detector | segmenter) ;;
    *) echo "shapes.sh: no model '$model'; the models are: detector segmenter" >&2 && exit 2 ;;
  esac
done

scripts/install_packages.sh build demo
[ -f "$folder/test/boxes.json" ] || /usr/bin/python3 examples/detection/shapes.py "$folder"  # that which has the package
for model in "${models[@]}"; do
  data=$folder/test
  [ "$model" = segmenter ] || data=$folder/test/boxes.json
  "$program" finetune "examples/detection/$model.toml" --resume
  "$program" eval "$folder/$model" --data "$data"
  "$program" predict "$folder/$model" "$folder/test/images/00000.png" --picture "$folder/$model.png"
done
