#!/usr/bin/env python3
"""The same model and data as examples/t5/translation.toml, in PyTorch with transformers' T5.

    examples/t5/reference.py FOLDER [--epochs N] [--seed N] [--threads N]

FOLDER is what translation.sh wrote: data/ and start/, whose tokenizer is used. Needs torch, transformers, sentencepiece
and sacrebleu. Prints chrF on the validation set after each epoch, then BLEU and chrF on the test set, with the weights
of the best epoch.
"""

import argparse
import copy
import csv
import json
import math
import time
from pathlib import Path

import sacrebleu
import sentencepiece
import torch
import transformers

BATCH, WARMUP, LR, DECAY, CLIP = 16, 800, 1e-3, 0.01, 1
LENGTH, BEAMS = 40, 4
IGNORED = -100  # a label that does not count


def read(path):
    """Texts and their translations."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def encode(tokenizer, texts, end):
    """Lists of at most LENGTH tokens, the end token among them."""
    return [ids[: LENGTH - 1] + [end] for ids in tokenizer.encode(texts)]


def filled(rows, value):
    """[len(rows), longest] of lists of tokens."""
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], True, value)


def inputs_of(rows, padding):
    return {"input_ids": filled(rows, padding), "attention_mask": filled([[1] * len(row) for row in rows], 0)}


def translations(model, tokenizer, rows, beams):
    model.eval()
    texts = []
    for first in range(0, len(rows), BATCH):
        with torch.no_grad():
            found = model.generate(**inputs_of(rows[first : first + BATCH], model.config.pad_token_id),
                                   max_new_tokens=LENGTH, num_beams=beams, do_sample=False)
        texts += tokenizer.decode(found.tolist())
    return texts


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    config = transformers.T5Config(**json.loads((args.folder / "start" / "config.json").read_text()))
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(args.folder / "start" / "spiece.model"))
    model = transformers.T5ForConditionalGeneration(config)
    print(sum(p.numel() for p in model.parameters()), "parameters", flush=True)

    data = {name: read(args.folder / "data" / f"{name}.csv") for name in ("train", "validation", "test")}
    sources = {name: encode(tokenizer, texts, config.eos_token_id) for name, (texts, _) in data.items()}
    targets = encode(tokenizer, data["train"][1], config.eos_token_id)
    optimizer = torch.optim.AdamW([
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": DECAY},
        {"params": [p for p in model.parameters() if p.dim() <= 1], "weight_decay": 0}], lr=LR)
    steps = args.epochs * len(targets) // BATCH
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min(
        (i + 1) / WARMUP, 0.5 + 0.5 * math.cos(math.pi * max(0, i - WARMUP) / (steps - WARMUP))))

    def score(name, beams):
        said = translations(model, tokenizer, sources[name], beams)
        bleu, chrf = (measure(said, [data[name][1]]).score for measure in (sacrebleu.corpus_bleu, sacrebleu.corpus_chrf))
        print(f"{name}, {beams} beams: BLEU {bleu:.2f} chrF {chrf:.2f}", flush=True)
        return chrf

    begin, order, best, best_weights = time.time(), [], -1, None
    for step in range(steps):
        while len(order) < BATCH:
            order += torch.randperm(len(targets)).tolist()
        batch, order = order[:BATCH], order[BATCH:]
        model.train()
        loss = model(**inputs_of([sources["train"][i] for i in batch], config.pad_token_id),
                     labels=filled([targets[i] for i in batch], IGNORED)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            print(f"step {step} of {steps} loss {loss.item():.3f} {time.time() - begin:.0f} s", flush=True)
        if (step + 1) % (len(targets) // BATCH) == 0 or step + 1 == steps:
            chrf = score("validation", 1)
            if chrf > best:
                best, best_weights = chrf, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_weights)
    score("test", BEAMS)


if __name__ == "__main__":
    main()
