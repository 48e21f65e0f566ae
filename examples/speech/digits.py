#!/usr/bin/env python3
"""Writes strings of digits, letters and alphabet words as sound files with manifests.

    examples/speech/digits.py FOLDER

Two sources, both at 8 kHz as a telephone has it. Real: Debian's recordings for Asterisk, one voice and one recording a
word, joined with pauses, at changing speed and loudness. Synthetic: espeak-ng, a string at a time, in many voices.
English has digits, letters and the words alfa to zulu; Spanish, French, Italian and Russian have digits, each labelled
by the word that is said.

What is held out, and so in no line of FOLDER/train.jsonl: every fifth string by its hash, in all voices (single words
are no strings: all are trained); the espeak
voices of TEST_VARIANTS and TEST_ACCENTS; and all recordings of the French voice, whose words are trained in espeak's
voices alone. FOLDER/ then has

    real_digits, real_letters, real_words    the English recordings, held-out strings of them
    synthetic_digits, ..._letters, ..._words English, held-out strings in held-out voices
    unheard_digits                           French strings of a real voice that training has not heard

each as .jsonl, and validation.jsonl, strings held out from training and from these, in voices of training.
"""

import hashlib
import io
import json
import random
import subprocess
import sys
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

RATE = 8000
MOST_SECONDS = 2.95  # the model hears 3
SOUNDS = Path("/usr/share/asterisk/sounds")

DIGITS = {
    "en": "zero one two three four five six seven eight nine",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf",
    "it": "zero uno due tre quattro cinque sei sette otto nove",
    "ru": "ноль один два три четыре пять шесть семь восемь девять",
}
ALPHABET = ("alfa bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november oscar papa quebec"
            " romeo sierra tango uniform victor whiskey xray yankee zulu").split()
LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
RECORDED = {"en": "en_US_f_Allison", "es": "es_MX_f_Allison", "fr": "fr_CA_f_June", "it": "it_IT_m_Carlo",
            "ru": "ru_RU_f_IvrvoiceRU"}
ACCENTS = {"en": ["en-us", "en-gb", "en-gb-scotland", "en-gb-x-gbclan", "en-us-nyc"],
           "es": ["es", "es-419"], "fr": ["fr-fr"], "it": ["it"], "ru": ["ru"]}
VARIANTS = ["", "m1", "m2", "m4", "m6", "m7", "m8", "f1", "f3", "f4", "f5", "Alex", "Andy", "Alicia", "Gene", "Lee",
            "Mario", "adam", "anika", "belinda", "caleb", "david", "edward", "max", "paul", "robert", "shelby", "steph",
            "victor", "zac"]
TEST_ACCENTS = ["en-us", "en-gb", "en-gb-x-rp"]
TEST_VARIANTS = ["m3", "m5", "f2", "Annie", "Michael", "linda", "john", "steph3"]


def recordings(language):
    """The file of each word that a language's voice says."""
    folder = SOUNDS / RECORDED[language]
    files = {word: folder / "digits" / f"{i}.wav" for i, word in enumerate(DIGITS[language].split())}
    if language == "en":
        files |= {letter: folder / "letters" / f"{letter}.wav" for letter in LETTERS}
        files |= {word: folder / "phonetic" / f"{word[0]}_p.wav" for word in ALPHABET}
    return files


def read(file):
    with wave.open(file) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16) / 32768
        return samples.astype(np.float64), sound.getframerate()


def resampled(samples, ratio):
    """`ratio` times as many samples, by Fourier interpolation: other speed and pitch at the same rate."""
    spectrum = np.fft.rfft(samples)
    count = max(1, round(len(samples) * ratio))
    return np.fft.irfft(spectrum[: count // 2 + 1], count) * (count / len(samples))


def trimmed(samples):
    """Without the silence at both ends, but for 30 ms."""
    step = RATE // 100
    power = np.square(samples[: len(samples) // step * step]).reshape(-1, step).mean(axis=1)
    loud = np.flatnonzero(power > power.max() * 2e-4)
    return samples[max(0, loud[0] - 3) * step : (loud[-1] + 4) * step]


def joined(words, files, draw):
    """Recordings one after the other."""
    speed = draw.uniform(0.85, 1.15)
    parts = []
    for word in words:
        samples, rate = read(str(files[word]))
        assert rate == RATE, files[word]
        part = trimmed(samples)
        parts.append(part * (0.7 * draw.uniform(0.7, 1) / np.abs(part).max()))
        parts.append(np.zeros(round(RATE * draw.uniform(0, 0.12))))
    return resampled(np.concatenate(parts[:-1]), 1 / speed)


def spoken(words, voice, language, draw):
    """espeak-ng's speech."""
    said = " ".join({"a": "[[eI]]", "xray": "x-ray"}.get(word, word.upper() if len(word) == 1 else word)
                    if language == "en" else word for word in words)
    speed, pitch = draw.randint(140, 200), draw.randint(35, 65)
    output = subprocess.run(["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", said],
                            check=True, capture_output=True).stdout
    samples, rate = read(io.BytesIO(output[:4] + (len(output) - 8).to_bytes(4, "little") + output[8:40] +
                                    (len(output) - 44).to_bytes(4, "little") + output[44:]))
    return trimmed(resampled(samples, RATE / rate))


def finished(samples, draw):
    """With silence around, noise and a loudness; nothing where it is longer than the model hears."""
    around = [np.zeros(round(RATE * draw.uniform(0.02, 0.15))) for _ in range(2)]
    samples = np.concatenate([around[0], samples, around[1]])
    if len(samples) > MOST_SECONDS * RATE:
        return None
    samples = samples * (draw.uniform(0.3, 0.9) / np.abs(samples).max())
    noise = np.random.default_rng(draw.getrandbits(32)).normal(size=len(samples))
    return np.clip(samples + noise * 10 ** draw.uniform(-4, -2.5), -1, 1)


def is_held_out(words, fold=0):
    return hashlib.sha256(" ".join(words).encode()).digest()[0] % 10 in ((0, 1) if fold == 0 else (2,))


def string_of(kind, language, draw):
    digits = DIGITS[language].split()
    if kind == "single":
        return [draw.choice(digits + LETTERS + ALPHABET if language == "en" else digits)]
    words, most = {"digits": (digits, 5), "letters": (LETTERS, 5), "words": (ALPHABET, 3)}[kind]
    return [draw.choice(words) for _ in range(draw.randint(2, most))]


class Writer:
    """Draws strings until a manifest has its count. A line depends on its number alone."""

    def __init__(self, folder):
        self.folder = folder

    def line(self, name, index, kind, language, voices, wanted):
        """`voices`: of espeak-ng; none: the recordings."""
        for attempt in range(1000):
            draw = random.Random(f"{name} {language} {kind} {index} {attempt}")
            words = string_of(kind, language, draw)
            if not wanted(words):
                continue
            if voices:
                samples = spoken(words, draw.choice(voices), language, draw)
            else:
                samples = joined(words, recordings(language), draw)
            samples = finished(samples, draw)
            if samples is None:
                continue
            file = f"{name}/{language}_{kind}_{'synthetic' if voices else 'real'}_{index:05}.wav"
            with wave.open(str(self.folder / file), "wb") as sound:
                sound.setparams((1, 2, RATE, 0, "NONE", ""))
                sound.writeframes((samples * 32767).astype("<i2").tobytes())
            return json.dumps({"audio": file, "text": " ".join(words)}, ensure_ascii=False)
        sys.exit(f"{name}: no string of {kind} is short enough")

    def write(self, name, parts):
        """`parts`: (how many, kind, language, voices, which strings)."""
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(2) as threads:
            lines = [line for count, *rest in parts
                     for line in threads.map(lambda i, rest=rest: self.line(name, i, *rest), range(count))]
        (self.folder / f"{name}.jsonl").write_text("".join(line + "\n" for line in lines))
        print(f"{name}: {len(lines)} sounds", flush=True)


def voices_of(accents, variants):
    return [accent + ("+" + variant if variant else "") for accent in accents for variant in variants]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    writer = Writer(Path(sys.argv[1]))
    heard = {language: voices_of(accents, VARIANTS) for language, accents in ACCENTS.items()}
    unheard = voices_of(TEST_ACCENTS, TEST_VARIANTS)

    def for_training(words):
        return len(words) == 1 or not (is_held_out(words) or is_held_out(words, 1))

    def for_validation(words):
        return is_held_out(words, 1)

    train = [(800, "digits", "en", None, for_training), (300, "letters", "en", None, for_training),
             (300, "words", "en", None, for_training), (1600, "digits", "en", heard["en"], for_training),
             (600, "letters", "en", heard["en"], for_training), (500, "words", "en", heard["en"], for_training),
             (500, "digits", "fr", heard["fr"], for_training), (600, "single", "en", None, for_training),
             (1000, "single", "en", heard["en"], for_training), (100, "single", "fr", heard["fr"], for_training)]
    for language in ("es", "it", "ru"):
        train += [(200, "digits", language, None, for_training), (60, "single", language, None, for_training),
                  (150, "digits", language, heard[language], for_training)]
    writer.write("train", train)
    writer.write("validation", [(40, kind, "en", voices, for_validation)
                                for kind in ("digits", "letters", "words") for voices in (None, heard["en"])])
    for kind in ("digits", "letters", "words"):
        writer.write(f"real_{kind}", [(200, kind, "en", None, is_held_out)])
        writer.write(f"synthetic_{kind}", [(200, kind, "en", unheard, is_held_out)])
    writer.write("unheard_digits", [(100, "digits", "fr", None, is_held_out)])


if __name__ == "__main__":
    main()
