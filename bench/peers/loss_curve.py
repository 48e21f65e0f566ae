#!/usr/bin/env python3
"""Trains one GPT-2 with Plinth and with PyTorch from the same weights on the same batches, and compares the
loss of every step.

    bench/peers/loss_curve.py --text FILE [--device cuda] [--steps 200] [--size gpt2|tiny] [--dtype bfloat16]

PyTorch runs twice, in --dtype and in float32: how far these two are apart is the noise that rounding makes.
Plinth passes if its curve in --dtype is no farther from PyTorch's than twice that noise, on the mean over the
steps (or 1e-3 nats, whichever is more). The curves go to bench/results/<device>/loss_curve.json, on a GPU with
the share of a step in which the GPU waited for the host. Exit status 1 if it does not pass.
"""

import argparse
import csv
import dataclasses
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import device
import gpu_trace
import torch
import torch_gpt

SIZES = {
    "gpt2": torch_gpt.GPTShape(layers=12, dim=768, heads=12, seq=1024, batch=8, vocab=50257),
    "tiny": torch_gpt.GPTShape(layers=2, dim=64, heads=4, seq=64, batch=4, vocab=1024),
}
LR, WARM_UP, WEIGHT_DECAY, CLIP = 6e-4, 20, 0.1, 1.0
HEADER = 1024  # bytes of llm.c's token files before the tokens

CONFIG = """
[run]
directory = "{run}"
[data]
train = ["{data}/train_*.bin"]
tokenizer = "{data}"
order = "sequential"
[model]
init_from = "{model}"
[train]
steps = {steps}
batch = {batch}
precision = "{dtype}"
clip_norm = {clip}
[optimizer]
lr = {lr}
weight_decay = {decay}
beta1 = 0.9
beta2 = 0.95
[schedule]
name = "constant"
warmup_steps = {warm_up}
"""


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="what to train on")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--size", choices=SIZES, default="gpt2")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--plinth", type=Path, default=device.ROOT / "build" / "release" / "plinth")
    return parser.parse_args()


def hugging_face_tensors(model):
    """The weights by GPT-2's names in transformers, whose linear layers hold the transposed matrix."""
    tensors = {
        "transformer.wte.weight": model.tokens.weight,
        "transformer.wpe.weight": model.positions.weight,
        "transformer.ln_f.weight": model.norm.weight,
        "transformer.ln_f.bias": model.norm.bias,
    }
    parts = {"norm1": "ln_1", "qkv": "attn.c_attn", "project": "attn.c_proj", "norm2": "ln_2", "up": "mlp.c_fc", "down": "mlp.c_proj"}
    for number, block in enumerate(model.blocks):
        for ours, theirs in parts.items():
            layer = getattr(block, ours)
            transposed = layer.weight.t() if layer.weight.dim() == 2 else layer.weight
            tensors[f"transformer.h.{number}.{theirs}.weight"] = transposed
            tensors[f"transformer.h.{number}.{theirs}.bias"] = layer.bias
    return {name: tensor.detach().float().cpu().contiguous() for name, tensor in tensors.items()}


def write_safetensors(path, tensors):
    """Float32 tensors in the format of https://github.com/huggingface/safetensors."""
    header, at = {}, 0
    for name, tensor in tensors.items():
        end = at + 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.numpy().tobytes())


def write_model(folder, model, shape):
    folder.mkdir()
    config = {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "torch_dtype": "float32",
        "vocab_size": shape.vocab, "n_positions": shape.seq, "n_embd": shape.dim, "n_layer": shape.layers,
        "n_head": shape.heads, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
        "embd_pdrop": 0.0, "resid_pdrop": 0.0, "attn_pdrop": 0.0, "tie_word_embeddings": True,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    write_safetensors(folder / "model.safetensors", hugging_face_tensors(model))


def read_tokens(folder):
    tokens = []
    for path in sorted(folder.glob("train_*.bin")):
        content = path.read_bytes()
        magic = struct.unpack_from("<i", content)[0]
        kind = torch.uint16 if magic == 20240520 else torch.uint32
        tokens.append(torch.frombuffer(bytearray(content[HEADER:]), dtype=kind).to(torch.int64))
    return torch.cat(tokens)


def batches(tokens, shape, steps):
    """Consecutive chunks of `seq` tokens, each with the token behind it, epoch after epoch."""
    chunks = (len(tokens) - 1) // shape.seq
    for step in range(steps):
        rows = [(step * shape.batch + row) % chunks * shape.seq for row in range(shape.batch)]
        inputs = torch.stack([tokens[at : at + shape.seq] for at in rows])
        targets = torch.stack([tokens[at + 1 : at + shape.seq + 1] for at in rows])
        yield inputs, targets


def train_torch(model, shape, data, dtype):
    step = torch_gpt.TrainingStep(shape, compiled=False, dtype=dtype, model=model, lr=LR)
    losses = []
    for number, batch in enumerate(data):
        step.set_lr(LR * min(1.0, (number + 1) / WARM_UP))
        step.batch = tuple(part.to(model.tokens.weight.device) for part in batch)
        losses.append(step.run())
    return losses


def train_plinth(arguments, shape, work):
    config = work / "run.toml"
    config.write_text(CONFIG.format(
        run=work / "run", data=work / "data", model=work / "model", steps=arguments.steps, batch=shape.batch,
        dtype=arguments.dtype, clip=CLIP, lr=LR, decay=WEIGHT_DECAY, warm_up=WARM_UP,
    ))  # fmt: skip
    command = [arguments.plinth, "pretrain", config, "--device", arguments.device]
    if arguments.device == "cuda":
        last = arguments.steps
        command += ["--profile", work / "trace.json", "--profile-steps", f"{max(1, last - 9)}:{last}"]
    subprocess.run(list(map(str, command)), check=True)
    with open(work / "run" / "metrics.csv", newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def mean_distance(a, b):
    return sum(abs(x - y) for x, y in zip(a, b, strict=True)) / len(a)


def main():
    arguments = parse_arguments()
    shape = SIZES[arguments.size]
    torch.manual_seed(0)
    initial = torch_gpt.GPT(shape)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_model(work / "model", initial, shape)
        vocabulary = str(min(4096, shape.vocab))
        tokenize = [arguments.plinth, "tokenize", arguments.text, "--out", work / "data", "--train-vocab", vocabulary]
        subprocess.run(list(map(str, tokenize)), check=True)
        tokens = read_tokens(work / "data")
        curves = {"plinth": train_plinth(arguments, shape, work)}
        idle = gpu_trace.idle_share(work / "trace.json") if arguments.device == "cuda" else None
    for name in dict.fromkeys((arguments.dtype, "float32")):
        model = torch_gpt.GPT(shape)
        model.load_state_dict(initial.state_dict())
        data = batches(tokens, shape, arguments.steps)
        curves[f"torch {name}"] = train_torch(model.to(arguments.device), shape, data, getattr(torch, name))

    peer = curves[f"torch {arguments.dtype}"]
    noise = mean_distance(peer, curves["torch float32"])
    distance = mean_distance(curves["plinth"], peer)
    allowed = max(2 * noise, 1e-3)
    for step in range(0, arguments.steps, max(1, arguments.steps // 10)):
        print("  ".join([f"step {step + 1}", *(f"{name} {curve[step]:.4f}" for name, curve in curves.items())]))
    print(f"mean distance from torch {arguments.dtype}: {distance:.5f} nats; allowed {allowed:.5f} (noise {noise:.5f})")
    if idle is not None:
        print(f"the GPU waits for the host {idle:.2%} of a step")
    device.write_json(device.results_folder(arguments.device) / "loss_curve.json", {
        "device": device.short_name(arguments.device), "commit": device.commit(), "date": device.now(),
        "versions": device.versions(arguments.device, torch=torch.__version__),
        "size": arguments.size, "shape": dataclasses.asdict(shape), "dtype": arguments.dtype, "steps": arguments.steps,
        "noise": noise, "distance": distance, "allowed": allowed, "gpu_idle_share": idle, "curves": curves,
    })  # fmt: skip
    sys.exit(0 if distance <= allowed else 1)


if __name__ == "__main__":
    main()
