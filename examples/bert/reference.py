#!/usr/bin/env python3
"""The same model, data and settings as examples/bert/transfer.sh, in PyTorch with transformers' BERT.

    examples/bert/reference.py FOLDER [--steps N] [--epochs N] [--seeds N ...] [--threads N]

FOLDER is what transfer.sh wrote: data/, of which the tokens and the tokenizer are used. Needs torch, transformers and
scikit-learn. Pretrains, fine-tunes from random and from the pretrained weights, and prints the macro F1 of both on the
test set, with the weights of the epoch that was best on the validation set.
"""

import argparse
import copy
import csv
import time
from pathlib import Path

import numpy as np
import torch
import transformers
from sklearn.metrics import f1_score

CONTEXT, BATCH, CLIP, DECAY = 64, 32, 1, 0.01
PRETRAIN_RATE, PRETRAIN_WARMUP, MASKED = 1e-3, 100, 0.15
TUNE_RATE, TUNE_WARMUP = 3e-4, 20
IGNORED = -100  # a label that does not count
HEADER = 1024  # bytes of a shard before its tokens


def read(path):
    """Texts and their labels."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def batches(count):
    """Lists of BATCH numbers below `count`, shuffled, epoch after epoch."""
    order = []
    while True:
        while len(order) < BATCH:
            order += torch.randperm(count).tolist()
        yield order[:BATCH]
        order = order[BATCH:]


class Training:
    """AdamW whose rate grows for `warmup` steps, then falls to 0 in a line."""

    def __init__(self, model, rate, warmup, steps):
        self.model = model
        parameters = list(model.parameters())
        self.optimizer = torch.optim.AdamW([
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": DECAY},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0}], lr=rate)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda i: min((i + 1) / warmup, (steps - i) / (steps - warmup)))

    def step(self, loss):
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        self.schedule.step()


def mask(tokens, tokenizer):
    """Inputs and targets of [batch, length] tokens, of which the same share of each row is to be predicted."""
    special = torch.isin(tokens, torch.tensor(tokenizer.all_special_ids))
    draws = torch.rand(tokens.shape).masked_fill(special, 2)
    chosen = draws.argsort(1)[:, : round(MASKED * tokens.shape[1])]
    targets = torch.full_like(tokens, IGNORED).scatter(1, chosen, tokens.gather(1, chosen))
    targets[special] = IGNORED
    how = torch.rand(tokens.shape)
    inputs = torch.where((targets != IGNORED) & (how < 0.8), tokenizer.mask_token_id, tokens)
    other = torch.randint(len(tokenizer), tokens.shape)
    inputs = torch.where((targets != IGNORED) & (how >= 0.8) & (how < 0.9), other, inputs)
    ends = (len(tokens), 1)
    around = [(torch.full(ends, tokenizer.cls_token_id), torch.full(ends, tokenizer.sep_token_id)),
              (torch.full(ends, IGNORED), torch.full(ends, IGNORED))]
    return [torch.cat([first, rows, last], 1) for (first, last), rows in zip(around, (inputs, targets))]


def pretrain(model, folder, tokenizer, steps):
    tokens = np.fromfile(folder / "train_00000.bin", np.uint16, offset=HEADER)
    length = CONTEXT - 2
    rows = torch.from_numpy(tokens[: len(tokens) // length * length].astype(np.int64)).view(-1, length)
    training, order, begin = Training(model, PRETRAIN_RATE, PRETRAIN_WARMUP, steps), batches(len(rows)), time.time()
    model.train()
    for step in range(steps):
        inputs, targets = mask(rows[next(order)], tokenizer)
        loss = model(input_ids=inputs, labels=targets).loss
        training.step(loss)
        if step % 50 == 0:
            print(f"step {step} of {steps} loss {loss.item():.3f} {time.time() - begin:.0f} s", flush=True)


def encode(texts, tokenizer):
    return tokenizer(texts, truncation=True, max_length=CONTEXT, padding=True, return_tensors="pt",
                     return_token_type_ids=False)


def macro_f1(model, tokenizer, texts, labels):
    model.eval()
    with torch.no_grad():
        told = [model(**encode(texts[i : i + BATCH], tokenizer)).logits.argmax(1) for i in range(0, len(texts), BATCH)]
    return f1_score(labels, torch.cat(told).numpy(), average="macro")


def finetune(start, tokenizer, data, epochs):
    """The macro F1 on the test set of a classifier that begins with the weights of the BERT `start`."""
    names = sorted(set(data["train"][1]))
    sets = {name: (texts, [names.index(label) for label in labels]) for name, (texts, labels) in data.items()}
    config = copy.deepcopy(start.config)
    config.num_labels = len(names)
    model = transformers.BertForSequenceClassification(config)
    model.bert.load_state_dict(start.bert.state_dict(), strict=False)  # the pooler begins at random
    texts, labels = sets["train"]
    steps, an_epoch = epochs * len(texts) // BATCH, len(texts) // BATCH
    training, order, best, best_weights = Training(model, TUNE_RATE, TUNE_WARMUP, steps), batches(len(texts)), -1, None
    for step in range(steps):
        model.train()
        chosen = next(order)
        training.step(model(**encode([texts[i] for i in chosen], tokenizer),
                            labels=torch.tensor([labels[i] for i in chosen])).loss)
        if (step + 1) % an_epoch == 0 or step + 1 == steps:
            score = macro_f1(model, tokenizer, *sets["validation"])
            if score > best:
                best, best_weights = score, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_weights)
    return macro_f1(model, tokenizer, *sets["test"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    tokens = args.folder / "data" / "tokens"
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(tokens / "tokenizer.json"), pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", unk_token="[UNK]")
    config = transformers.BertConfig(vocab_size=len(tokenizer), hidden_size=128, num_hidden_layers=2,
                                     num_attention_heads=4, intermediate_size=512, max_position_embeddings=CONTEXT)
    starts = {"random": transformers.BertForMaskedLM(config)}
    starts["pretrained"] = copy.deepcopy(starts["random"])
    print(sum(p.numel() for p in starts["random"].parameters()), "parameters", flush=True)
    pretrain(starts["pretrained"], tokens, tokenizer, args.steps)
    data = {name: read(args.folder / "data" / f"{name}.csv") for name in ("train", "validation", "test")}
    for name, start in starts.items():
        for seed in args.seeds:
            torch.manual_seed(seed)
            print(f"from {name} weights, seed {seed}: macro F1 {finetune(start, tokenizer, data, args.epochs):.4f}",
                  flush=True)


if __name__ == "__main__":
    main()
