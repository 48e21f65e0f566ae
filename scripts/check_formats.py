#!/usr/bin/env python3
"""Checks the files that `plinth convert` writes with the programs that read them.

    scripts/check_formats.py [--plinth build/release/plinth] [--llmc FOLDER]

Small random models go to GGUF, which the package gguf and transformers' from_pretrained(gguf_file=...) read, and back
to a directory; to ONNX, which onnx checks and onnxruntime runs; and to llm.c's checkpoint, which llm.c itself runs
where --llmc names its sources (github.com/karpathy/llm.c). Each line says how far logits lie from those that
transformers computes from the directory, over the largest of them. Needs torch, transformers, accelerate, gguf, onnx
and onnxruntime. Exits 1 beyond a bound.
"""

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

import gguf
import numpy
import onnx
import onnxruntime
import torch
import transformers

ROOT = Path(__file__).resolve().parent.parent
TOKENIZERS = ROOT / "tests" / "fixtures" / "tokenizer"
TEXTS = ["Hello, world!", "In the beginning God created the heaven and the earth.", "1066 and  2024's été\n\n"]
ROUNDING = 2e-6  # of float32, from one order of sums to another
# How far logits may lie from float32's where weights are rounded; that these are rounded as the package gguf rounds
# is checked to the bit.
GGUF_BOUNDS = {"float32": ROUNDING, "float16": 1e-2, "bfloat16": 1e-1, "q8_0": 1e-1}


class Checks:
    def __init__(self):
        self.failed = False

    def distance(self, what, found, expected, bound):
        far = float(numpy.abs(found - expected).max() / numpy.abs(expected).max())
        self.that(what, far <= bound, f"{far:.1e}, at most {bound:.0e}")

    def that(self, what, holds, detail=""):
        print(f"{'ok  ' if holds else 'FAIL'} {what} {detail}".rstrip(), flush=True)
        self.failed |= not holds


def randomize(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((1 if parameter.dim() == 1 else 0) + 0.1 * torch.randn_like(parameter))
    return model.eval()


def add_tokenizer(folder, name):
    shutil.copy(TOKENIZERS / f"{name}.json", folder / "tokenizer.json")
    tokens = {"gpt2": "<|endoftext|>", "llama3": "<|end_of_text|>", "pieces/bpe": "</s>"}
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "%s"}' % tokens[name])


def make_models(folder):
    """{name: (directory, tokenizer's fixture)}"""
    llama = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "max_position_embeddings": 256}
    models = {
        # Of a GGUF transformers takes 1024 positions for granted.
        "gpt2": (transformers.GPT2LMHeadModel(transformers.GPT2Config(
            vocab_size=1500, n_positions=1024, n_embd=64, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0)),
            "gpt2"),
        "llama": (transformers.LlamaForCausalLM(transformers.LlamaConfig(
            vocab_size=1302, tie_word_embeddings=False, **llama)), "llama3"),
        "llama_tied": (transformers.LlamaForCausalLM(transformers.LlamaConfig(
            vocab_size=400, tie_word_embeddings=True, rope_theta=500000.0, **llama)), "pieces/bpe"),
        "bert": (transformers.BertForMaskedLM(transformers.BertConfig(
            vocab_size=120, hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96,
            max_position_embeddings=64)), None),
    }
    made = {}
    for name, (model, tokenizer) in models.items():
        randomize(model).save_pretrained(folder / name)
        if tokenizer:
            add_tokenizer(folder / name, tokenizer)
        made[name] = (folder / name, tokenizer)
    return made


def load(folder, **options):
    classes = {"bert": transformers.AutoModelForMaskedLM}
    kind = classes.get(folder.name, transformers.AutoModelForCausalLM)
    return kind.from_pretrained(folder, dtype=torch.float32, **options).eval()


def logits_of(model, ids, **inputs):
    with torch.no_grad():
        return model(input_ids=torch.from_numpy(ids), **inputs).logits.numpy()


def convert(program, *arguments):
    subprocess.run([program, "convert", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def check_tokenizer(checks, name, folder, file):
    """The file's tokenizer beside the directory's."""
    ours = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    theirs = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=file.name)
    same = all(ours.encode(t, add_special_tokens=False) == theirs.encode(t, add_special_tokens=False) for t in TEXTS)
    checks.that(f"{name}: tokenizer read by transformers", same)


def check_gguf(checks, program, name, folder, tokenizer, ids):
    expected = logits_of(load(folder), ids)
    for dtype, bound in GGUF_BOUNDS.items():
        file = folder / f"{dtype}.gguf"
        convert(program, folder, file, "--dtype", dtype)
        reader = gguf.GGUFReader(file)
        exact = {tensor.name: tensor.data for tensor in gguf.GGUFReader(folder / "float32.gguf").tensors}
        kinds = sorted({tensor.tensor_type.name for tensor in reader.tensors})
        same = all(numpy.array_equal(gguf.quants.quantize(exact[tensor.name], tensor.tensor_type), tensor.data)
                   for tensor in reader.tensors)
        checks.that(f"{name}: {dtype}.gguf holds what gguf makes of each tensor",
                    same and len(reader.tensors) == len(exact), f"{len(reader.tensors)} of {', '.join(kinds)}")
        read = logits_of(load(folder, gguf_file=file.name), ids)
        checks.distance(f"{name}: {dtype}.gguf read by transformers", read, expected, bound)
        back = folder / f"back-{dtype}" / folder.name
        back.parent.mkdir()
        convert(program, file, back)
        checks.distance(f"{name}: {dtype}.gguf read by plinth, beside transformers", logits_of(load(back), ids), read,
                        ROUNDING)
    check_tokenizer(checks, name, folder, folder / "float32.gguf")
    ours, again = (transformers.PreTrainedTokenizerFast(tokenizer_file=str(f / "tokenizer.json"))
                   for f in (folder, folder / "back-float32" / folder.name))
    checks.that(f"{name}: tokenizer read by plinth", all(ours.encode(t) == again.encode(t) for t in TEXTS))


def check_onnx(checks, program, name, folder, ids):
    file = folder / "model.onnx"
    convert(program, folder, file)
    onnx.checker.check_model(str(file), full_check=True)
    feeds = {"input_ids": ids}
    inputs = {}
    if name == "bert":
        mask = numpy.ones_like(ids)
        mask[1, 17:] = 0
        kinds = (numpy.arange(ids.shape[1])[None] > 9).astype(numpy.int64).repeat(len(ids), 0)
        feeds |= {"attention_mask": mask, "token_type_ids": kinds}
        inputs = {key: torch.from_numpy(value) for key, value in feeds.items() if key != "input_ids"}
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    found = session.run(["logits"], feeds)[0]
    checks.distance(f"{name}: model.onnx run by onnxruntime {onnxruntime.__version__}", found,
                    logits_of(load(folder), ids, **inputs), ROUNDING)


LLMC_PROGRAM = r"""
#define TESTING
#include "train_gpt2.c"
int main(int argc, char** argv) {
  GPT2 model;
  gpt2_build_from_checkpoint(&model, argv[1]);
  int B = 2, T = 24, ids[48];
  FILE* in = fopen(argv[2], "rb");
  if (fread(ids, sizeof(int), 48, in) != 48) return 1;
  gpt2_forward(&model, ids, NULL, B, T);
  FILE* out = fopen(argv[3], "wb");
  for (int i = 0; i < B * T; ++i)
    fwrite(model.acts.logits + (size_t)i * model.config.padded_vocab_size, sizeof(float), model.config.vocab_size, out);
  fclose(out);
  return 0;
}
"""


def check_llmc(checks, program, folder, ids, sources):
    for dtype in ("float32", "bfloat16"):
        file, back = folder / f"{dtype}.bin", folder / f"llmc-{dtype}" / folder.name
        convert(program, folder, file, "--dtype", dtype)
        back.parent.mkdir()
        convert(program, file, back)
        expected = load(folder)
        if dtype == "bfloat16":
            expected = expected.to(torch.bfloat16).to(torch.float32)
        checks.distance(f"gpt2: {dtype}.bin read by plinth", logits_of(load(back), ids), logits_of(expected, ids),
                        ROUNDING)
    if not sources:
        print("     gpt2: llm.c itself was not asked; --llmc names its sources")
        return
    (folder / "run.c").write_text(LLMC_PROGRAM)
    subprocess.run(["cc", "-O2", "-w", f"-I{sources}", "-o", folder / "run", folder / "run.c", "-lm"], check=True)
    ids[:, :24].astype(numpy.int32).tofile(folder / "ids")
    command = [folder / "run", folder / "float32.bin", folder / "ids", folder / "logits"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    expected = logits_of(load(folder), ids[:, :24])
    found = numpy.fromfile(folder / "logits", numpy.float32).reshape(expected.shape)
    checks.distance("gpt2: float32.bin run by llm.c", found, expected, ROUNDING)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plinth", default=str(ROOT / "build" / "release" / "plinth"))
    parser.add_argument("--llmc", help="a folder with llm.c's train_gpt2.c")
    arguments = parser.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    checks = Checks()
    with tempfile.TemporaryDirectory() as work:
        for name, (folder, tokenizer) in make_models(Path(work)).items():
            most = transformers.AutoConfig.from_pretrained(folder).vocab_size
            ids = numpy.random.default_rng(3).integers(0, most, (2, 31))
            if tokenizer:
                check_gguf(checks, arguments.plinth, name, folder, tokenizer, ids)
            check_onnx(checks, arguments.plinth, name, folder, ids)
            if name == "gpt2":
                check_llmc(checks, arguments.plinth, folder, ids, arguments.llmc)
    raise SystemExit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
