#!/usr/bin/env python3
"""Compares Plinth's tokenizer with Hugging Face's `tokenizers`, live, and times both.

    scripts/check_tokenizer_parity.py [--tool build/release/tests/tokenizer_tool] [CHECK...]

Checks (all of them if none is named):
    blocks       the fixtures' text, block by block
    code-points  every Unicode code point in several surroundings
    random       random strings, and random bytes as errors="replace" reads them
    train        the vocabulary and merges learned from the King James Bible
    words        the word pieces learned from it, but for ties, which theirs break as they come
    speed        training and encoding the Bible, interleaved, medians, 2 threads
    pieces       SentencePiece's models, as the package sentencepiece reads them, and as tokenizers reads
                 what transformers makes of them: the text in lines, encoded and decoded, random tokens,
                 and every code point

Prints the first difference of each check and exits 1 if there is one. Needs the package tokenizers and, for
`train`, `words` and `speed`, the command `bible` (Debian's bible-kjv); for `pieces`, the packages transformers and
sentencepiece up to 0.2.1: later ones choose otherwise among segmentations that are equally likely.
"""

import argparse
import collections
import heapq
import json
import os
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("RAYON_NUM_THREADS", "2")
os.environ.setdefault("OMP_NUM_THREADS", "2")

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "fixtures"))

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers  # noqa: E402

import make_tokenizer_fixtures as fixtures  # noqa: E402
import make_word_piece_fixtures as word_pieces  # noqa: E402
import tokenizer_text  # noqa: E402

# As in GPT-2's encoder.py, and as ByteLevel has it.
GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
PATTERNS = {"gpt2": GPT2_PATTERN, "llama3": fixtures.LLAMA3_PATTERN, "o200k": fixtures.O200K_PATTERN}


class Tool:
    def __init__(self, path):
        self.path = path

    def run(self, arguments, documents):
        """Standard output, and the seconds of the work."""
        data = b"".join(struct.pack("<I", len(document)) + document for document in documents)
        done = subprocess.run([self.path, *arguments], input=data, capture_output=True)
        if done.returncode != 0:
            sys.exit(f"{self.path} {arguments[0]}: {done.stderr.decode()}")
        return done.stdout, float(done.stderr)

    def decode(self, tokenizer_file, documents):
        """Texts of lists of ids."""
        data = b"".join(struct.pack(f"<I{len(ids)}i", len(ids), *ids) for ids in documents)
        done = subprocess.run([self.path, "decode", str(tokenizer_file)], input=data, capture_output=True)
        if done.returncode != 0:
            sys.exit(f"{self.path} decode: {done.stderr.decode()}")
        texts, at = [], 0
        while at < len(done.stdout):
            (size,) = struct.unpack_from("<I", done.stdout, at)
            texts.append(done.stdout[at + 4 : at + 4 + size].decode())
            at += 4 + size
        return texts

    def encode(self, tokenizer_file, documents, command="encode"):
        output, seconds = self.run([command, str(tokenizer_file)], documents)
        ids, at = [], 0
        while at < len(output):
            (count,) = struct.unpack_from("<I", output, at)
            ids.append(list(struct.unpack_from(f"<{count}i", output, at + 4)))
            at += 4 + 4 * count
        return ids, seconds


def variants(folder):
    """The fixtures' tokenizers, with each pattern and each normalizer: (name, Hugging Face's, file)."""
    base = json.loads((fixtures.FOLDER / "gpt2.json").read_text())
    for name, pattern in PATTERNS.items():
        base["pre_tokenizer"] = fixtures.sequence(fixtures.split(pattern), fixtures.byte_level(use_regex=False))
        path = folder / f"{name}.json"
        path.write_text(json.dumps(base))
        yield name, Tokenizer.from_file(str(path)), path
    pieces = (fixtures.FOLDER / "word_piece.json").read_text()
    for name, changes in word_pieces.VARIANTS.items():
        path = folder / f"word_piece_{name.replace(' ', '_')}.json"
        path.write_text(word_pieces.variant(pieces, changes).to_str())
        yield f"word pieces, {name}", Tokenizer.from_file(str(path)), path
    path = fixtures.FOLDER / "word_end.json"
    yield "byte pairs that end words", Tokenizer.from_file(str(path)), path


def compare(label, documents, tool, tokenizer, path):
    """Encodes documents (str) by both; prints the first difference. True if there is none."""
    theirs = [encoding.ids for encoding in tokenizer.encode_batch(documents)]
    ours, _ = tool.encode(path, [document.encode() for document in documents])
    characters = sum(map(len, documents))
    for document, expected, got in zip(documents, theirs, ours):
        if expected == got:
            continue
        at = next((i for i, pair in enumerate(zip(expected, got)) if pair[0] != pair[1]), min(len(expected), len(got)))
        before = tokenizer.decode(expected[:at], skip_special_tokens=False)
        print(f"{label}: DIFFERENT at token {at}, behind {before[-40:]!r}")
        for name, ids in (("theirs", expected), ("ours", got)):
            print(f"  {name}: {[tokenizer.id_to_token(number) for number in ids[at : at + 8]]}")
        return False
    print(f"{label}: {characters:,} characters, {sum(map(len, ours)):,} tokens, no difference")
    return True


def check_blocks(tool, folder):
    blocks = [tokenizer_text.block(number) for number in range(tokenizer_text.BLOCKS)]
    return all([compare(f"blocks, {name}", blocks, tool, *rest) for name, *rest in variants(folder)])


def check_code_points(tool, folder):
    documents = []
    for start in range(0, 0x110000, 512):
        characters = [chr(code) for code in range(start, start + 512) if not 0xD800 <= code < 0xE000]
        documents.append("".join(f"a{c}b 1{c}2 {c}{c}  {c}\n{c}'{c}s" for c in characters))
    return all([compare(f"code points, {name}", documents, tool, *rest) for name, *rest in variants(folder)])


def check_random(tool, folder):
    chance = random.Random(20240520)
    ranges = [(0, 0x7F), (0, 0x2FF), (0x300, 0x36F), (0x2000, 0x206F), (0, 0xD7FF), (0x10000, 0x10FFFF)]

    def string():
        first, last = chance.choice(ranges)
        return "".join(chr(chance.randint(first, last)) for _ in range(chance.randint(1, 12)))

    documents = ["".join(string() + chance.choice(["", " ", "\n", "'s"]) for _ in range(200)) for _ in range(200)]
    documents += [chance.randbytes(3000).decode(errors="replace") for _ in range(100)]
    return all([compare(f"random, {name}", documents, tool, *rest) for name, *rest in variants(folder)])


def bible():
    return subprocess.run(["bible", "-f", "gen1:1-rev22:21"], capture_output=True, check=True).stdout.decode()


def train_theirs(text, vocab_size, pattern=None):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if pattern:
        split = pre_tokenizers.Split(Regex(pattern), "isolated")
        bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_only])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    started = time.perf_counter()
    tokenizer.train_from_iterator(text, trainer)
    return tokenizer, time.perf_counter() - started


def check_train(tool, folder):
    text = bible()
    lines = text.splitlines(keepends=True)
    cases = [("whole", [text], 8192, ""), ("lines", lines, 8192, ""), ("llama3", lines, 20000, PATTERNS["llama3"])]
    same = True
    for name, documents, vocab_size, pattern in cases:
        theirs = json.loads(train_theirs(documents, vocab_size, pattern)[0].to_str())["model"]
        tool.run(["train", str(vocab_size), "2", pattern, str(folder)], [line.encode() for line in documents])
        ours = json.loads((folder / "tokenizer.json").read_text())["model"]
        loaded = Tokenizer.from_file(str(folder / "tokenizer.json"))
        equal = theirs["vocab"] == ours["vocab"] and theirs["merges"] == ours["merges"]
        print(f"train, {name}: {len(ours['vocab'])} tokens, {'no difference' if equal else 'DIFFERENT'}")
        same = same and equal and compare(f"train, {name}, encoded", documents, tool, loaded, folder / "tokenizer.json")
    return same


SPECIAL_WORD_PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def train_their_words(text, vocab_size):
    """The vocabulary, {token: id}, and how often each word occurs."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=2, special_tokens=SPECIAL_WORD_PIECES, show_progress=False
    )
    tokenizer.train_from_iterator([text], trainer)
    words = tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))
    return tokenizer.get_vocab(), collections.Counter(word for word, _ in words)


def most_frequent_pairs_joined(words, vocab):
    """The tokens that training gives if, of equally frequent pairs, it joins the one whose token is first in vocab.

    Sennrich et al. 2016, algorithm 1, until there are as many tokens as in vocab, or no pair occurs twice.
    """
    words = [([word[0], *("##" + c for c in word[1:])], count) for word, count in words.items()]
    tokens = {*SPECIAL_WORD_PIECES, *(piece for pieces, _ in words for piece in pieces)}
    tokens |= {piece.removeprefix("##") for pieces, _ in words for piece in pieces}
    counts, places = collections.Counter(), collections.defaultdict(set)

    def count_pairs(number, sign):
        pieces, count = words[number]
        pairs = list(zip(pieces, pieces[1:]))
        for pair in pairs:
            counts[pair] += sign * count
            places[pair].add(number)
        return pairs

    def candidate(pair):
        joined = pair[0] + pair[1].removeprefix("##")
        return -counts[pair], vocab.get(joined, len(vocab)), pair, joined

    for number in range(len(words)):
        count_pairs(number, 1)
    heap = [candidate(pair) for pair in counts]
    heapq.heapify(heap)
    while heap and len(tokens) < len(vocab):
        frequency, _, pair, joined = heapq.heappop(heap)
        if -frequency != counts[pair]:
            continue  # it has been put there again with its present count
        if counts[pair] < 2:
            break
        tokens.add(joined)
        changed = set()
        for number in places.pop(pair):
            changed.update(count_pairs(number, -1))
            words[number] = (join(words[number][0], pair, joined), words[number][1])
            changed.update(count_pairs(number, 1))
        for other in changed:
            if counts[other] > 0:
                heapq.heappush(heap, candidate(other))
    return tokens


def join(pieces, pair, joined):
    """The pieces with each occurrence of the pair, from the left, as one."""
    out = []
    for piece in pieces:
        if out and (out[-1], piece) == pair:
            out[-1] = joined
        else:
            out.append(piece)
    return out


def check_words(tool, folder):
    """Which of equally frequent pairs is joined first is free, and theirs varies: no other choice may differ."""
    text = bible()
    same = True
    for vocab_size in (2000, 4000, 8000):
        theirs, words = train_their_words(text, vocab_size)
        tool.run(["train-words", str(vocab_size), str(folder)], [text.encode()])
        loaded = Tokenizer.from_file(str(folder / "tokenizer.json"))
        ours = loaded.get_vocab()
        by_rule = all(most_frequent_pairs_joined(words, vocab) == set(vocab) for vocab in (ours, theirs))
        differing = len(set(ours) - set(theirs))
        print(f"word pieces, {vocab_size}: {differing} tokens differ, {'all' if by_rule else 'NOT all'} by ties")
        label = f"word pieces, {vocab_size}, encoded"
        same = compare(label, text.splitlines(), tool, loaded, folder / "tokenizer.json") and same
        same = same and len(ours) == vocab_size and by_rule
    return same


def check_speed(tool, folder):
    text = bible()
    lines = text.splitlines(keepends=True)
    chapters = ["".join(lines[at : at + 30]) for at in range(0, len(lines), 30)]
    megabytes = len(text.encode()) / 1e6
    rows = {}

    def note(what, ours, theirs):
        rows.setdefault(what, ([], []))
        rows[what][0].append(ours)
        rows[what][1].append(theirs)

    for _ in range(5):
        for what, documents in (("train 8192, chapters", chapters), ("train 8192, one text", [text])):
            tokenizer, theirs = train_theirs(documents, 8192)
            data = [document.encode() for document in documents]
            _, ours = tool.run(["train", "8192", "2", "", str(folder)], data)
            note(what, ours, theirs)
        for what, documents in (("encode, chapters", chapters), ("encode, one text", [text])):
            fresh = Tokenizer.from_str(tokenizer.to_str())  # with an empty cache, as ours
            started = time.perf_counter()
            fresh.encode_batch_fast(documents)
            theirs = time.perf_counter() - started
            _, ours = tool.encode(folder / "tokenizer.json", [document.encode() for document in documents])
            note(what, ours, theirs)
    for what, (ours, theirs) in rows.items():
        ours, theirs = statistics.median(ours), statistics.median(theirs)
        print(f"{what}: ours {ours:.3f} s ({megabytes / ours:.1f} MB/s), theirs {theirs:.3f} s, {theirs / ours:.1f}x")
    return True


def piece_texts():
    """Lines of the text, and every code point among others."""
    lines = []
    for number in range(tokenizer_text.BLOCKS):
        lines += tokenizer_text.block(number).split("\n")
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    for start in range(0, len(characters), 64):
        part = characters[start : start + 64]
        lines += ["".join(form.format(c) for c in part) for form in ("a{0}b {0}{0} ", "\uff45{0}x\u00aa{0}", "{0}\u0301")]
    return lines + list(fixtures.TEXTS)


def first_difference(label, inputs, theirs, ours):
    for given, expected, got in zip(inputs, theirs, ours):
        if expected != got:
            print(f"{label}: DIFFERENT on {given!r:.200}\n  theirs: {expected!r:.300}\n  ours:   {got!r:.300}")
            return False
    return len(theirs) == len(ours)


def compare_pieces(label, texts, tool, path, command, encode, decode, tokens):
    chance = random.Random(7)
    theirs = encode(texts)
    ours, _ = tool.encode(path, [text.encode() for text in texts], command)
    same = first_difference(f"{label}, encoded", texts, theirs, ours)
    guesses = [[chance.randrange(tokens) for _ in range(chance.randrange(1, 12))] for _ in range(20000)]
    for name, ids in (("decoded", theirs), ("random tokens decoded", guesses)):
        same = first_difference(f"{label}, {name}", ids, decode(ids), tool.decode(path, ids)) and same
    if same:
        print(f"{label}: {sum(map(len, texts)):,} characters, {sum(map(len, ours)):,} tokens, no difference")
    return same


def check_pieces(tool, folder):
    import sentencepiece
    from transformers import LlamaTokenizerFast, T5TokenizerFast

    import make_sentence_piece_fixtures as pieces

    texts = piece_texts()
    same = True
    for name, options in pieces.KINDS.items():
        model = folder / name / options["file"]
        model.parent.mkdir()
        model.write_bytes(pieces.train(texts[: tokenizer_text.BLOCKS * 50], name, 8000))
        package = sentencepiece.SentencePieceProcessor(model_file=str(model))
        same &= compare_pieces(f"{name}, sentencepiece {sentencepiece.__version__}", texts, tool, model, "plain",
                               package.encode, package.decode, package.get_piece_size())
        family = T5TokenizerFast if name == "unigram" else LlamaTokenizerFast
        family.from_pretrained(str(model.parent)).save_pretrained(str(folder / f"{name}_json"))
        for variant, path in pieces.json_variants(folder / f"{name}_json" / "tokenizer.json", folder / f"{name}_json"):
            theirs = Tokenizer.from_file(str(path))
            same &= compare_pieces(f"{name}, tokenizers, {variant}", texts, tool, path, "encode",
                                   lambda batch: [encoding.ids for encoding in theirs.encode_batch(batch)],
                                   lambda batch: theirs.decode_batch(batch, skip_special_tokens=False),
                                   theirs.get_vocab_size())
    return bool(same)


CHECKS = {
    "blocks": check_blocks,
    "code-points": check_code_points,
    "random": check_random,
    "train": check_train,
    "words": check_words,
    "speed": check_speed,
    "pieces": check_pieces,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", default=str(ROOT / "build" / "release" / "tests" / "tokenizer_tool"))
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=", ".join(CHECKS))
    arguments = parser.parse_args()
    unknown = set(arguments.checks) - set(CHECKS)
    if unknown:
        parser.error(f"unknown check {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as folder:
        results = [CHECKS[name](Tool(arguments.tool), Path(folder)) for name in arguments.checks or CHECKS]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
