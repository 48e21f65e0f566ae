#!/usr/bin/env python3
"""The same model and data as examples/speech/digits.toml, in PyTorch with transformers' Whisper encoder.

    examples/speech/reference.py FOLDER [--steps N] [--seed N] [--threads N]

FOLDER is what digits.py wrote. Needs torch, transformers and jiwer. Prints the word and character error rate of every
test set in percent.
"""

import argparse
import json
import math
import time
import wave
from pathlib import Path

import jiwer
import numpy as np
import torch
import transformers

HERE = Path(__file__).resolve().parent / "digits"
TESTS = ("validation", "real_digits", "synthetic_digits", "real_letters", "synthetic_letters", "real_words",
         "synthetic_words", "unheard_digits")
BATCH, WARMUP = 32, 100


class Recogniser(torch.nn.Module):
    def __init__(self, config, classes):
        super().__init__()
        self.encoder = transformers.models.whisper.modeling_whisper.WhisperEncoder(config)
        self.head = torch.nn.Linear(config.d_model, classes)
        for name, weight in self.named_parameters():
            if weight.dim() > 1 and "embed_positions" not in name:
                torch.nn.init.normal_(weight, std=config.init_std)
            elif name.endswith("bias"):
                torch.nn.init.zeros_(weight)

    def forward(self, features):
        return self.head(self.encoder(features).last_hidden_state)


def read(folder, name, extractor):
    sounds, texts = [], []
    for line in (folder / f"{name}.jsonl").read_text().splitlines():
        entry = json.loads(line)
        with wave.open(str(folder / entry["audio"])) as sound:
            sounds.append(np.frombuffer(sound.readframes(sound.getnframes()), "<i2") / 32768)
        texts.append(entry["text"])
    features = [extractor(sounds[i : i + 256], sampling_rate=extractor.sampling_rate, return_tensors="pt")
                ["input_features"] for i in range(0, len(sounds), 256)]
    return torch.cat(features), texts


def masked(features, draw):
    """SpecAugment: two bands of up to 6 bins and two spans of up to 8 frames become zeros."""
    for row in features:
        for axis, most in ((0, 6), (0, 6), (1, 8), (1, 8)):
            width = int(torch.randint(0, most + 1, (1,), generator=draw))
            first = int(torch.randint(0, row.shape[axis] - width + 1, (1,), generator=draw))
            row.narrow(axis, first, width).zero_()
    return features


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--units", choices=("characters", "words"), default="words")
    parser.add_argument("--augment", type=int, default=1)
    parser.add_argument("--every", type=int, default=500)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    split = list if args.units == "characters" else str.split
    join = "".join if args.units == "characters" else " ".join
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(HERE)
    # transformers' own bands reach 8000 Hz whatever the rate is.
    extractor.mel_filters = transformers.audio_utils.mel_filter_bank(
        1 + extractor.n_fft // 2, extractor.feature_size, 0, extractor.sampling_rate / 2, extractor.sampling_rate,
        norm="slaney", mel_scale="slaney")
    config = transformers.WhisperConfig(**json.loads((HERE / "config.json").read_text()))
    data = {name: read(args.folder, name, extractor) for name in ("train",) + TESTS}
    units = ["<blank>"] + sorted({unit for text in data["train"][1] for unit in split(text)})
    number = {unit: i for i, unit in enumerate(units)}
    model = Recogniser(config, len(units))
    print(sum(p.numel() for p in model.parameters()), "parameters", len(units), "units", flush=True)
    decayed = [p for p in model.parameters() if p.dim() > 1 and p.requires_grad]
    others = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0}],
                                  lr=args.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min(
        (i + 1) / WARMUP, 0.5 + 0.5 * math.cos(math.pi * max(0, i - WARMUP) / (args.steps - WARMUP))))
    draw = torch.Generator().manual_seed(args.seed)
    features, texts = data["train"]

    def transcripts(features):
        model.eval()
        with torch.no_grad():
            best = torch.cat([model(part).argmax(-1) for part in features.split(BATCH)])
        return [join(units[i] for i in torch.unique_consecutive(row).tolist() if i) for row in best]

    def report(name):
        said, right = transcripts(data[name][0]), data[name][1]
        print(f"{name} wer {100 * jiwer.wer(right, said):.2f} cer {100 * jiwer.cer(right, said):.2f}", flush=True)

    begin, order = time.time(), []
    for step in range(args.steps):
        while len(order) < BATCH:
            order += torch.randperm(len(texts), generator=draw).tolist()
        rows, order = order[:BATCH], order[BATCH:]
        model.train()
        batch = masked(features[rows], draw) if args.augment else features[rows]
        targets = [torch.tensor([number[unit] for unit in split(texts[row])]) for row in rows]
        log_probs = model(batch).log_softmax(-1).transpose(0, 1)
        loss = torch.nn.functional.ctc_loss(log_probs, torch.cat(targets), torch.full((BATCH,), log_probs.shape[0]),
                                            torch.tensor([len(target) for target in targets]), zero_infinity=True)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            print(f"step {step} loss {loss.item():.3f} {time.time() - begin:.0f} s", flush=True)
        if step % args.every == args.every - 1:
            report("validation")
    for name in TESTS:
        report(name)


if __name__ == "__main__":
    main()
