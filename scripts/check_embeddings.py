#!/usr/bin/env python3
"""Compares `plinth embed` with transformers: the largest cosine distance between their vectors of the same lines.

    scripts/check_embeddings.py MODEL TEXT [--plinth build/release/plinth] [--lines 1000] [--max-length 256]

MODEL is a directory with a BERT and its tokenizer, TEXT a file with a sentence a line. Transformers' vectors are
means over tokens, at length 1, as Sentence-BERT's. Needs torch and transformers. Exits 1 above 1e-4.
"""

import argparse
import json
import subprocess
from pathlib import Path

import torch
import transformers

ROOT = Path(__file__).resolve().parent.parent
MOST = 1e-4
BATCH = 32


def reference(folder, lines, max_length):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    vectors = []
    for begin in range(0, len(lines), BATCH):
        batch = lines[begin : begin + BATCH]
        inputs = tokenizer(batch, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
        with torch.no_grad():
            states = model(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1).float()
        vectors.append(torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1))
    return torch.cat(vectors)


def ours(program, folder, lines, max_length):
    command = [program, "embed", folder, "--max-length", str(max_length)]
    out = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True, check=True).stdout
    return torch.tensor([json.loads(line) for line in out.splitlines()])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--plinth", default=str(ROOT / "build" / "release" / "plinth"))
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--max-length", type=int, default=256)
    arguments = parser.parse_args()
    with open(arguments.text, encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.strip()][: arguments.lines]
    expected = reference(arguments.model, lines, arguments.max_length).double()
    vectors = ours(arguments.plinth, arguments.model, lines, arguments.max_length).double()
    if vectors.shape != expected.shape:
        raise SystemExit(f"check_embeddings.py: got {tuple(vectors.shape)}, expected {tuple(expected.shape)}")
    cosine = (vectors * expected).sum(1) / vectors.norm(dim=1) / expected.norm(dim=1)
    distance = (1 - cosine).max().item()
    print(f"{len(lines)} lines, {vectors.shape[1]} wide: cosine distance at most {distance:.2e}, elements {(vectors - expected).abs().max().item():.2e}")
    raise SystemExit(0 if distance <= MOST else 1)


if __name__ == "__main__":
    main()
