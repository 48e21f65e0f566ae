#!/usr/bin/env python3
"""Writes the inputs that fuzzing begins with, tests/fuzz/corpus/<target>/seed-*, small ones of every kind.

    tests/fuzz/make_seeds.py
"""

import json
import struct
from pathlib import Path

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parent / "fixtures"


def write(target, name, content):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed-{name}").write_bytes(content if isinstance(content, bytes) else content.encode())


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def tensors(**shapes):
    """A safetensors file of float32 zeros and, of `bytes`, uint8."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes.items():
        count = 1
        for size in shape:
            count *= size
        wide = name != "bytes"
        begin, end = end, end + count * (4 if wide else 1)
        header[name] = {"dtype": "F32" if wide else "U8", "shape": shape, "data_offsets": [begin, end]}
    text = compact(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


def write_tensors():
    write("safetensors", "two", tensors(weight=[2, 3], bias=[]))
    write("safetensors", "empty", tensors(weight=[0, 4], bytes=[3]))
    index = {"metadata": {"total_size": 16}, "weight_map": {"weight": "a.safetensors", "bias": "a.safetensors"}}
    write("shard_index", "one", compact(index).encode() + b"\0" + tensors(weight=[3], bias=[1]))


def byte_level(kind, merges, vocabulary):
    """A fixture's tokenizer.json with a vocabulary of single bytes and a few merges."""
    tokenizer = json.loads((FIXTURES / "tokenizer" / f"{kind}.json").read_text())
    added = {token["content"]: i for i, token in enumerate(tokenizer["added_tokens"])}
    spellings = [*added, *vocabulary, *(left + right for left, right in merges)]
    ids = {spelling: i for i, spelling in enumerate(dict.fromkeys(spellings))}
    tokenizer["model"] |= {"vocab": ids, "merges": [f"{left} {right}" for left, right in merges]}
    for token in tokenizer["added_tokens"]:
        token["id"] = ids[token["content"]]
    return compact(tokenizer)


def write_tokenizers():
    merges = [("h", "e"), ("l", "l"), ("he", "ll"), ("Ġ", "w")]
    write("tokenizer", "gpt2", byte_level("gpt2", merges, "Ġhelowrd'st1"))
    write("tokenizer", "llama3", byte_level("llama3", merges, "Ġhelowrd'st1Ċ"))
    pieces = json.loads((FIXTURES / "tokenizer" / "word_piece.json").read_text())
    special = [token["content"] for token in pieces["added_tokens"]]
    words = [*special, "hello", "un", "##aff", "##able", "中", "h", "##e", "##l", "##o", "!"]
    pieces["model"]["vocab"] = {word: i for i, word in enumerate(words)}
    write("tokenizer", "word_piece", compact(pieces))
    write_sentence_pieces()
    ends = json.loads((FIXTURES / "tokenizer" / "word_end.json").read_text())
    special = [token["content"] for token in ends["added_tokens"]]
    ids = {piece: i for i, piece in enumerate([*special, "h", "e", "l", "o</w>", "he", "ll", "hell", "hello</w>"])}
    ends["model"] |= {"vocab": ids, "merges": ["h e", "l l", "he ll", "hell o</w>"]}
    write("tokenizer", "word_end", compact(ends))
    del ends["normalizer"]
    write("tokenizer", "word_end_bare", compact(ends))

    config = compact({"do_lower_case": False, "strip_accents": None, "eos_token": {"content": "[SEP]"}})
    write("tokenizer_files", "word_piece", "w" + "\n".join(words) + "\n\0" + config)
    write("tokenizer_files", "sentence_piece",
          b"s" + (FIXTURES / "tokenizer" / "pieces" / "unigram" / "spiece.model").read_bytes())
    vocabulary = {token: i for i, token in enumerate(["h", "e", "l", "o", "he", "ll", "hell", "<|endoftext|>"])}
    config = compact({"eos_token": "<|endoftext|>", "pad_token": None})
    write("tokenizer_files", "gpt2", "b" + compact(vocabulary) + "\0#version: 0.2\nh e\nl l\nhe ll\n\0" + config)


def write_sentence_pieces():
    """What transformers makes of SentencePiece's models, with fewer pieces."""
    unigram = json.loads((FIXTURES / "tokenizer" / "pieces" / "unigram.json").read_text())
    unigram["added_tokens"] = [token for token in unigram["added_tokens"]
                               if not token["content"].startswith("<extra_id_")]
    unigram["model"]["vocab"] = unigram["model"]["vocab"][:60]
    write("tokenizer", "unigram", compact(unigram))
    pairs = json.loads((FIXTURES / "tokenizer" / "pieces" / "bpe.json").read_text())
    pieces = [piece for piece, _ in sorted(pairs["model"]["vocab"].items(), key=lambda item: item[1])]
    kept = [piece for piece in pieces if len(piece) == 1 or piece.startswith("<")]
    merges = [pair for pair in pairs["model"]["merges"] if set(pair) <= set(kept)][:8]
    kept += map("".join, merges)
    pairs["model"] |= {"vocab": {piece: i for i, piece in enumerate(kept)}, "merges": merges}
    write("tokenizer", "pieces", compact(pairs))


def write_model_configs():
    for folder in sorted(FIXTURES.glob("*/config.json")):
        write("model_config", folder.parent.name, compact(json.loads(folder.read_text())))
    size = {"height": 224, "width": 224}
    preprocessing = {"do_resize": True, "size": size, "resample": 2, "do_normalize": True, "do_rescale": True,
                     "rescale_factor": 1 / 255, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    write("model_config", "preprocessor", compact(preprocessing))


def write_token_shards():
    def llmc(magic, version, code, ids):
        return struct.pack("<256i", magic, version, len(ids), *[0] * 253) + struct.pack(f"<{len(ids)}{code}", *ids)

    write("token_shard", "llmc16", b"-" + llmc(20240520, 1, "H", [1, 2, 3, 1]))
    write("token_shard", "llmc32", b"-" + llmc(20240801, 7, "I", [1, 70000]))
    write("token_shard", "nanogpt", b"-" + struct.pack("<5H", 5, 1, 6, 7, 1))
    lengths, documents = [2, 3], [0, 1, 2]
    index = b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, 8, len(lengths), len(documents))
    index += struct.pack("<2i2q3q", *lengths, 0, 4, *documents)
    write("token_shard", "megatron", b"m" + struct.pack("<H5H", 10, 1, 2, 3, 4, 5) + index)


def write_sounds():
    def wav(code, bits, channels, rate, data):
        block = channels * bits // 8
        form = struct.pack("<HHIIHH", code, channels, rate, rate * block, block, bits)
        body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
        return b"RIFF" + struct.pack("<I", len(body)) + body

    write("audio", "wav16", wav(1, 16, 1, 16000, struct.pack("<8h", *range(-4000, 4000, 1000))))
    write("audio", "wav8_stereo", wav(1, 8, 2, 8000, bytes(range(120, 136))))
    write("audio", "wav_float", wav(3, 32, 1, 22050, struct.pack("<4f", 0, 0.5, -0.5, 1)))
    write("audio", "wav_ulaw", wav(7, 8, 1, 8000, bytes(range(200, 216))))
    au = struct.pack(">4sIIIII", b".snd", 24, 16, 3, 44100, 1) + struct.pack(">8h", *range(8))
    write("audio", "au", au)
    write("audio", "flac", bytes.fromhex(FLAC))


# 16 samples at 16 kHz, as libsndfile writes them.
FLAC = (
    "664c6143000000221000100000002100002103e800f0000000103add93917c36bec94428120576af66848400002820000000"
    "7265666572656e6365206c6962464c414320312e342e3220323032323130323200000000fff86508000fd8114092e1be5773"
    "e7801f42edbe8b8bf3fd0b86f95dcf9e008fb7"
)


def write_images():
    for name in ("bits.png", "grey.png", "grey_alpha.png", "palette_clear.png", "grey.jpg", "progressive.jpeg",
                 "cmyk.jpg"):
        write("image", name, (FIXTURES / "images" / name).read_bytes())


def write_examples():
    write("examples", "csv", 'ctext,label,id\n"a, ""b""",1,2\r\nplain,0,3\n\n"two\nlines",1,4\n')
    write("examples", "headless", "n1,first\n0,second\n")
    write("examples", "tsv", "ttext\tlabel\na b\tpositive\n")
    write("examples", "jsonl", 'j{"text":"é","label":1}\n{"label":true,"text":2.5}\n\n{"text":"x"}\n')
    write("examples", "conll", "w-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\n. . O\n")
    answer = {"text": "1066", "answer_start": 13}
    questions = [{"id": "1", "question": "When?", "answers": [answer], "is_impossible": False},
                 {"id": "2", "question": "Who?", "answers": [], "is_impossible": True}]
    paragraph = {"context": "It was in été 1066.", "qas": questions}
    write("examples", "squad", "s" + compact({"version": "v2.0", "data": [{"title": "t", "paragraphs": [paragraph]}]}))
    entries = [{"image_id": 7, "category_id": 5, "bbox": [1, 2, 3.5, 4], "area": 9.5, "iscrowd": 0}]
    boxes = {"images": [{"id": 7, "file_name": "a.png", "height": 20, "width": 30}], "annotations": entries,
             "categories": [{"id": 5, "name": "dog"}]}
    write("examples", "boxes", "o" + compact(boxes))
    write("examples", "images", 'ipath,label\na.png,cat\n"b,c.png",dog\n')
    write("examples", "sounds", 'a{"audio":"1.flac","text":"hello"}\n\n{"audio":"2.wav","text":""}\n')


def write_run_configs():
    write("run_config", "file", '# a run\nname = "tiny"\n[model]\nfamily = "llama"\nheads = 8\n[train]\nsteps = 1_000\n'
          'parallel.mesh = [2, 4]\ncompile = false\n[optimizer]\nlr = 3e-4\nbeta = 0.9\n[data]\n'
          'shards = ["a.bin", \'b\']\nweights = [0.5, 1]\n[run]\ndirectory = """runs/a"""\n')
    write("run_config", "override", "!data.shards=a,b")
    write("run_config", "list_override", "!train.parallel.mesh=[1, 2]")


def write_checkpoints():
    files = {"model.safetensors": {"bytes": 7, "xxh3": "0123456789abcdef"}, "state.json": {"bytes": 2, "xxh3": ""}}
    write("checkpoint", "manifest", "m" + compact({"version": 1, "files": files}))
    state = {"step": 12, "seed": 7, "loader": "{}", "skipped_steps": 0, "bad_in_a_row": 0, "average_loss": 2.5,
             "best_step": None, "best_loss": None, "metrics": {},
             "samples": [{"step": 10, "prompt": "a", "continuation": "b"}], "versions": {"plinth": "1"}}
    write("checkpoint", "state", "s" + compact(state))


def gguf_file(fields, tensors):
    """A GGUF file of version 3. A field is (key, type, value), a list's type ("list", type); a tensor is (name,
    sizes, type, bytes)."""
    codes = {"u32": (4, "<I"), "i32": (5, "<i"), "f32": (6, "<f"), "bool": (7, "<?"), "text": (8, None)}

    def text(value):
        return struct.pack("<Q", len(value.encode())) + value.encode()

    def element(kind, value):
        return text(value) if kind == "text" else struct.pack(codes[kind][1], value)

    out = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(fields))
    for key, kind, value in fields:
        out += text(key)
        if isinstance(kind, tuple):
            out += struct.pack("<IIQ", 9, codes[kind[1]][0], len(value)) + b"".join(element(kind[1], v) for v in value)
        else:
            out += struct.pack("<I", codes[kind][0]) + element(kind, value)
    data = b""
    for name, sizes, code, content in tensors:
        out += text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, code, len(data))
        data += content + bytes(-len(content) % 32)
    return out + bytes(-len(out) % 32) + data


def write_ggufs():
    def settings(architecture, **values):
        fields = [("general.architecture", "text", architecture)]
        return fields + [(f"{architecture}.{k.replace('__', '.')}", "u32", v) for k, v in values.items()]

    vocabulary = ["<|endoftext|>", "h", "e", "l", "o", "Ġ", "he", "ll", "hell", "hello"]
    gpt2 = settings("gpt2", context_length=8, embedding_length=32, block_count=1, feed_forward_length=64,
                    attention__head_count=2)
    gpt2 += [("gpt2.attention.layer_norm_epsilon", "f32", 1e-5), ("tokenizer.ggml.model", "text", "gpt2"),
             ("tokenizer.ggml.tokens", ("list", "text"), vocabulary),
             ("tokenizer.ggml.token_type", ("list", "i32"), [3] + [1] * 9),
             ("tokenizer.ggml.merges", ("list", "text"), ["h e", "l l", "he ll", "hell o"]),
             ("tokenizer.ggml.eos_token_id", "u32", 0), ("tokenizer.ggml.add_bos_token", "bool", False)]
    tensors = [("token_embd.weight", [32, 10], 8, bytes(340)), ("output_norm.weight", [32], 0, bytes(128)),
               ("blk.0.ffn_up.weight", [32, 2], 2, bytes(36)), ("position_embd.weight", [32, 1], 1, bytes(64)),
               ("blk.0.ffn_down.weight", [2], 30, bytes(4)), ("k", [256, 1], 12, bytes(144))]
    write("gguf", "gpt2", gguf_file(gpt2, tensors))
    pieces = ["<unk>", "<s>", "</s>", "<0x0A>", "▁", "h", "i", "hi", "▁hi"]
    llama = settings("llama", context_length=8, embedding_length=4, block_count=1, feed_forward_length=8,
                     attention__head_count=2, attention__head_count_kv=1)
    llama += [("llama.attention.layer_norm_rms_epsilon", "f32", 1e-6), ("llama.rope.freq_base", "f32", 1e4),
              ("llama.rope.scaling.type", "text", "linear"), ("llama.rope.scaling.factor", "f32", 2),
              ("tokenizer.ggml.model", "text", "llama"), ("tokenizer.ggml.tokens", ("list", "text"), pieces),
              ("tokenizer.ggml.scores", ("list", "f32"), [0, 0, 0, 0, -3, -4, -5, 0, -1]),
              ("tokenizer.ggml.token_type", ("list", "i32"), [2, 3, 3, 1, 1, 1, 1, 1, 1]),
              ("tokenizer.ggml.bos_token_id", "u32", 1), ("tokenizer.ggml.eos_token_id", "u32", 2),
              ("tokenizer.ggml.unknown_token_id", "u32", 0)]
    write("gguf", "llama", gguf_file(llama, [("token_embd.weight", [4, 9], 0, bytes(144))]))


def write_llmc_models():
    def model(version, context, vocabulary, layers, heads, dim, padded):
        elements = (padded + context) * dim + layers * (12 * dim * dim + 13 * dim) + 2 * dim
        header = struct.pack("<256i", 20240326, version, context, vocabulary, layers, heads, dim, padded, *[0] * 248)
        return header + bytes(elements * (4 if version == 3 else 2))

    write("llmc_model", "float32", model(3, 2, 3, 1, 1, 2, 4))
    write("llmc_model", "bfloat16", model(5, 1, 2, 2, 2, 2, 3))


def main():
    for seed in HERE.glob("corpus/*/seed-*"):
        seed.unlink()
    write_tensors()
    write_tokenizers()
    write_model_configs()
    write_token_shards()
    write_sounds()
    write_images()
    write_examples()
    write_run_configs()
    write_checkpoints()
    write_ggufs()
    write_llmc_models()


if __name__ == "__main__":
    main()
