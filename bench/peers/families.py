#!/usr/bin/env python3
"""Measures a training step of each family of models beside transformers on PyTorch, in one run, by medians.

    python3 -m venv venv && venv/bin/pip install torch transformers
    venv/bin/python bench/peers/families.py [--only NAME ...] [--turns N] [--repetitions N] [--no-result]

Both sides read one config.json, compute in float32 on two threads, and take turns, as in run.py. Prints a table
and writes bench/results/<device>/families.json.
"""

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path

import cases
import device
import report
import run
import workers

TEXT = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8}
IMAGE = TEXT | {"intermediate_size": 1024, "image_size": 128, "patch_size": 16}


def configurations():
    """{family: (transformers' configuration, what a step takes)}; dropout is off on both sides."""
    import transformers

    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return {
        "GPT-2": (
            transformers.GPT2Config(
                vocab_size=8192, n_positions=256, n_embd=256, n_layer=4, n_head=8,
                resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
            ),
            {"batch": 4, "seq": 256},
        ),
        "Llama": (
            transformers.LlamaConfig(
                **TEXT, vocab_size=8192, intermediate_size=768, num_key_value_heads=4, max_position_embeddings=256,
            ),
            {"batch": 4, "seq": 256},
        ),
        "BERT": (
            transformers.BertConfig(
                **TEXT, **no_dropout, vocab_size=8192, intermediate_size=1024, max_position_embeddings=128,
            ),
            {"batch": 8, "seq": 128},
        ),
        "ViT": (
            transformers.ViTConfig(**IMAGE, **no_dropout, num_labels=100),
            {"batch": 16},
        ),
        "Whisper": (
            transformers.WhisperConfig(
                vocab_size=8192, num_mel_bins=80, d_model=256, max_source_positions=250, max_target_positions=64,
                encoder_layers=3, encoder_attention_heads=8, encoder_ffn_dim=1024,
                decoder_layers=3, decoder_attention_heads=8, decoder_ffn_dim=1024,
                pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
                suppress_tokens=None, begin_suppress_tokens=None,
            ),
            {"batch": 4, "seq": 64},
        ),
        "T5": (
            transformers.T5Config(
                vocab_size=8192, d_model=256, d_kv=32, d_ff=1024, num_layers=3, num_heads=8, dropout_rate=0.0,
                decoder_start_token_id=0,
            ),
            {"batch": 8, "seq": 128},
        ),
        "CLIP": (
            transformers.CLIPConfig(
                text_config=TEXT | {
                    "intermediate_size": 1024, "vocab_size": 8192, "max_position_embeddings": 64,
                    "bos_token_id": 8190, "eos_token_id": 8191, "pad_token_id": 8191,
                },
                vision_config=IMAGE,
                projection_dim=256,
            ),
            {"batch": 8, "seq": 64},
        ),
    }


@dataclasses.dataclass(frozen=True)
class FamilyCase(cases.Case):
    directory: str = ""  # of config.json

    def plinth_arguments(self):
        sizes = [word for key, value in self.shape.items() for word in (f"--{key}", str(value))]
        return ["bench", "model", self.directory, *sizes, "--threads", workers.THREADS, "--serve"]

    def torch_order(self):
        order = {"directory": self.directory, "seq": 0} | self.shape
        return ["model", order, self.device, self.dtype]


def make_cases(folder, only, repetitions):
    step = cases.Pass("step", ("step_ms",), 0, 0)
    for name, (config, shape) in configurations().items():
        if only and name not in only:
            continue
        directory = Path(folder) / name
        config.architectures = {"ViT": ["ViTForImageClassification"], "BERT": ["BertForMaskedLM"]}.get(name)
        config.save_pretrained(directory)
        yield FamilyCase(
            "families", name, shape, (step,), peers=("eager",), repetitions=repetitions,
            directory=str(directory),
        )


def print_table(rows):
    print(f"\n{'family':10}{'Plinth':>12}{'PyTorch':>12}{'PyTorch / Plinth':>20}")
    for row in rows:
        peer = row["peers"]["torch-eager"]
        print(f"{row['name']:10}{row['ours_ms']:9.1f} ms{peer:9.1f} ms{row['ratio_best']:20.2f}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these families only: GPT-2, Llama, ...")
    parser.add_argument("--turns", type=int, default=7, help="times that each side takes its turn")
    parser.add_argument("--repetitions", type=int, default=5, help="timed steps of one turn")
    parser.add_argument("--plinth", type=Path, default=report.ROOT / "build" / "release" / "plinth")
    parser.add_argument("--no-result", action="store_true", help="print alone; write no result file")
    arguments = parser.parse_args()
    unknown = set(arguments.only or ()) - set(configurations())
    if unknown:
        parser.error(f"no family {', '.join(sorted(unknown))}; there are {', '.join(configurations())}")
    if not arguments.plinth.exists():
        parser.error(f"{arguments.plinth} does not exist; build it first: scripts/test.sh")
    return arguments


def main():
    arguments = parse_arguments()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for case in make_cases(folder, arguments.only, arguments.repetitions):
                rows += run.measure_case(case, arguments.plinth.resolve(), arguments.turns, None)
        except workers.WorkerError as error:
            sys.exit(f"families.py: {error}")
    print_table(rows)
    if not arguments.no_result:
        import torch
        import transformers

        found = device.versions("cpu", torch=torch.__version__, transformers=transformers.__version__)
        report.write_results("cpu", "families", rows, found)


if __name__ == "__main__":
    main()
