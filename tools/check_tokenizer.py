#!/usr/bin/env python3
"""Compares nervus's tokenizer with the `tokenizers` package on Qwen2.5's own vocabulary.

    check_tokenizer.py TOKENIZER_IDS [--work DIR] [--count N] [--seed S]
    check_tokenizer.py --write-goldens DIR [--work DIR]

TOKENIZER_IDS is the program that the build makes of tests/preprocess/tokenizer_ids.cpp. Into DIR (build/tokenizer by
default) goes a virtual environment with two packages of PyPI: `tokenizers`, and `dashscope` (Apache-2.0), whose
qwen.tiktoken holds the 151,643 tokens of Qwen2.5. From them it makes tokenizer.json, and vocab.json with merges.txt,
and compares: every character of Unicode between others, N varied texts in many scripts, and N prompts.
Exits with 0 if all are equal, 1 if not, 77 if the packages cannot be had. --write-goldens writes what
tests/goldens/tokenizer holds.
"""
import argparse
import base64
import json
import os
import pathlib
import random
import subprocess
import sys
import unicodedata
import venv

PACKAGES = ["tokenizers==0.23.3", "dashscope==2.0.2"]
SKIPPED = 77
PROMPT_LENGTH, PADDING = 72, 151643
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
           r"\s+(?!\S)|\s+")
ADDED = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
         "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
         "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>",
         "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"]

SENTENCES = [
    "pick up the red cup and put it on the blue plate", "<bos>Open the drawer, please.\n", "Don't drop it! It's HOT.",
    "I'LL say we'Ve done; you're RIGHT, they'd agree, I'M sure, isn'T it?", "it'\u017f a long s, 'K the Kelvin sign",
    "move 12.5 cm left, rotate -90°, repeat 3× (±5 %)", "½ cup, Ⅷ o’clock, x² + y₃",
    "Hebe die größte Tür über die Straße.", "Ça m’intéresse déjà, Noël",
    "Zvedni červený hrnek na stůl", "Kırmızı fincanı İstanbul’a götür",
    "Đặt cốc màu đỏ lên đĩa", "Σήκωσε το κόκκινο φλιτζάνι", "ἀρχῇ",
    "Подними красную чашку, йогурт ёж", "Առ բաժակը",
    "ارفع الكوب الأحمر ١٢٣ مَرْحَبًا", "הרם את הכוס שָׁלוֹם",
    "लाल कप उठाओ १२३ क्षत्रिय \u0958",
    "লাল কাপটি তোলো \u09df", "சிவப்பு கோப்பை",
    "หยิบแก้วสีแดงขึ้นมา ๑๒", "တွဲ ကြူ", "កែវ",
    "აიღე Ა", "ይዅት ፩", "把红色杯子放在盘子里，谢谢！",
    "赤いコップを持ち上げてか\u3099ハ\u309aｶﾞ", "빨간 컵을 들어 올려",
    "\u1112\u1161\u11ab\u1100\u1173\u11af \u1100\u1161\u11a8", "བོད ༠", "\ufa10⾀0\U0002f800\u212b\u2126",
    "ﬁﬃ \ufb2a \u0344 \u0958", "👨\u200d👩\u200d👧\u200d👦 👍🏽❤\ufe0f🇩🇪1\ufe0f\u20e3",
    "∀x∈ℝ: ∑∫√ 𝕏𝟘", "for (int i = 0; i < n; ++i) { a[i] += b[i]; }\n",
    "def f(x):\n    return x**2  # squared\n\n\n", "\tSELECT * FROM t WHERE a='b';\r\n\r\n",
    "https://example.org/?q=a%20b&c=d#e", "a\xa0b\u3000c\x85d\u2028e\u2029f\u180eg\u200bh\u205fi", " leading",
    "trailing ", "  two  spaces  ", " \n \r\n\t \n", "\n\n\n", "   ", "", "\x00\x01\x1f\x7f\x80\x9f", "\ufeffBOM",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "1234567890", "<|im_start|>user\n<|im_end|>",
    "<|endoftext|><|endoftext|>\u0338", "<|endoftext|", "<<tool_call>></tool_call>",
    "e\u0301\u0323 vs e\u0323\u0301, q\u0307\u0323", "ẛ\u0323 Å A\u030a",
    "Z\u0351\u036b\u0343a\u0321\u034el\u034ag\u0322o", "क\u093cं ো ୈ ဦ",
    "\u09fe\u07fd\u1715a\u0300", "\U00031350\U0001e4d0\U00011f50 x",
]
BLOCKS = [(0x20, 0x7e), (0x00, 0x7f), (0x80, 0x24f), (0x300, 0x36f), (0x370, 0x52f), (0x590, 0x6ff), (0x900, 0x97f),
          (0x980, 0xdff), (0xe00, 0xfff), (0x1100, 0x11ff), (0x1e00, 0x1fff), (0x2000, 0x206f), (0x2070, 0x2bff),
          (0x3000, 0x30ff), (0x4e00, 0x9fff), (0xa000, 0xabff), (0xac00, 0xd7a3), (0xf900, 0xfb4f), (0xfe00, 0xffff),
          (0x10000, 0x11fff), (0x16000, 0x16fff), (0x1d000, 0x1d7ff), (0x1e000, 0x1efff), (0x1f300, 0x1faff),
          (0x20000, 0x323af), (0, 0x10ffff)]
PIECES = ["'s", "'S", "'\u017f", "'K", "'re", "'RE", "'Ve", "'lL", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\r",
          "\u00a0", "\u3000", "\u0085", "\u180e", "\u200d", "\ufe0f", "\u0300", "\u0323", "\u0338", "\u0345", "<|",
          "|>", "<bos>", *ADDED[:3]]


def scalar(point):
    return not 0xD800 <= point <= 0xDFFF


def varied_texts(count, seed):
    """The sentences, pieces of them put together, and random characters of a few blocks each; a part of them in NFD."""
    source = random.Random(seed)
    texts = list(SENTENCES)
    while len(texts) < count:
        if source.random() < 0.3:
            words = [word for text in source.sample(SENTENCES, 3) for word in text.split(" ")]
            text = source.choice(["", " "]).join(source.choices(words, k=source.randint(1, 12)))
        else:
            blocks = source.sample(BLOCKS, source.randint(1, 3))
            points = [source.randint(*source.choice(blocks)) for _ in range(source.randint(0, 24))]
            text = "".join(source.choice(PIECES) if source.random() < 0.2 else chr(p) for p in points if scalar(p))
        form = source.random()
        texts.append(unicodedata.normalize("NFD", text) if form < 0.2 else text.upper() if form < 0.3 else text)
    return texts[:count]


def install(work):
    """A virtual environment with the packages; None if they cannot be had."""
    python = work / "venv" / "bin" / "python"
    if not (work / "venv" / "installed").exists():
        try:
            venv.create(work / "venv", with_pip=True, clear=True)
            pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
            subprocess.run([*pip, *PACKAGES], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"check_tokenizer: not checked, {' and '.join(PACKAGES)} cannot be installed: {error}")
            return None
        (work / "venv" / "installed").touch()
    return python


def byte_symbols():
    """The character that stands for each byte in a vocabulary."""
    printable = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(256 + i) for i, b in enumerate(others)}}


def split_token(token, ranks):
    """The two tokens that were merged into this one: what is left when all merges before it are done."""
    parts = [token[i:i + 1] for i in range(len(token))]
    while len(parts) > 2:
        rank, place = min((ranks.get(parts[i] + parts[i + 1], len(ranks)), i) for i in range(len(parts) - 1))
        assert rank < ranks[token]
        parts[place:place + 2] = [parts[place] + parts[place + 1]]
    return parts


def tokenizer_json(vocabulary, merges, first_added):
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": False}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": first_added + i, "content": text, **flags} for i, text in enumerate(ADDED)],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": byte_level, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                  "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": vocabulary, "merges": merges},
    }


def write_qwen(work):
    """Qwen2.5's tokenizer in both forms, from the ranks that dashscope ships."""
    import importlib.util
    package = pathlib.Path(importlib.util.find_spec("dashscope").submodule_search_locations[0])
    lines = (package / "resources" / "qwen.tiktoken").read_bytes().splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines if line)}
    symbols = byte_symbols()

    def written(token):
        return "".join(symbols[byte] for byte in token)

    merges = [[written(part) for part in split_token(token, ranks)]
              for token in sorted(ranks, key=ranks.get) if len(token) > 1]
    vocabulary = {written(token): rank for token, rank in ranks.items()}
    whole = tokenizer_json(vocabulary, merges, len(vocabulary))
    for name in ("whole", "parts"):
        (work / name).mkdir(exist_ok=True)
    (work / "whole" / "tokenizer.json").write_text(json.dumps(whole), encoding="utf-8")
    (work / "parts" / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    (work / "parts" / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = {"added_tokens_decoder": {str(token["id"]): token for token in whole["added_tokens"]}}
    (work / "parts" / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def compare(name, program, texts, expected):
    """Prints how many texts differ, and the first few of them."""
    lines = "".join(text.encode().hex() + "\n" for text in texts)
    output = subprocess.run(program, input=lines, capture_output=True, text=True)
    if output.returncode != 0:
        print(f"check_tokenizer: {' '.join(map(str, program))}: {output.stderr.strip()}")
        return False
    found = [[int(id) for id in line.split()] for line in output.stdout.splitlines()]
    wrong = [i for i in range(len(texts)) if i >= len(found) or found[i] != expected[i]]
    print(f"{name}: {len(texts) - len(wrong)} of {len(texts)} equal")
    for i in wrong[:5]:
        print(f"  {texts[i]!a}\n    expected {expected[i]}\n    found    {found[i] if i < len(found) else 'nothing'}")
    return not wrong


def check(work, program, count, seed):
    from tokenizers import Tokenizer
    write_qwen(work)
    reference = Tokenizer.from_file(str(work / "whole" / "tokenizer.json"))

    def encode(texts):
        return [encoding.ids for encoding in reference.encode_batch(texts)]

    characters = ["a" + chr(p) + "1 " + chr(p) + "'\u0301" for p in range(0x110000) if scalar(p)]
    texts = varied_texts(count, seed)
    prompts = [text for text in texts if "\0" not in text]
    wrapped = [text if text.startswith("<bos>") else "<bos>" + text for text in prompts]
    wrapped = [text if text.endswith("\n") else text + "\n" for text in wrapped]
    cut = [ids[:PROMPT_LENGTH] for ids in encode(wrapped)]
    padded = [[*ids, *[PADDING] * (PROMPT_LENGTH - len(ids)), len(ids)] for ids in cut]
    ids = encode(texts)
    results = [compare("every character", [program, work / "whole"], characters, encode(characters)),
               compare("texts", [program, work / "whole"], texts, ids),
               compare("texts, vocab.json and merges.txt", [program, work / "parts"], texts, ids),
               compare("prompts", [program, work / "whole", str(PROMPT_LENGTH)], prompts, padded)]
    return 0 if all(results) else 1


def write_goldens(target):
    """A small tokenizer, trained on the varied texts themselves, and what `tokenizers` makes of some of them."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers, Regex
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trained.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trained.train_from_iterator(varied_texts(4000, 1), trainers.BpeTrainer(
        vocab_size=3000, min_frequency=2, initial_alphabet=alphabet, show_progress=False))
    model = json.loads(trained.to_str())["model"]
    whole = tokenizer_json(model["vocab"], model["merges"], len(model["vocab"]))
    target.mkdir(parents=True, exist_ok=True)
    (target / "tokenizer.json").write_text(json.dumps(whole, separators=(",", ":")) + "\n", encoding="utf-8")
    reference = Tokenizer.from_file(str(target / "tokenizer.json"))
    cases = [{"text": text, "ids": reference.encode(text).ids} for text in varied_texts(600, 2)]
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (target / "cases.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"{target}: {len(model['vocab'])} tokens, {len(cases)} cases")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?", type=pathlib.Path, metavar="TOKENIZER_IDS")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("build/tokenizer"))
    parser.add_argument("--count", type=int, default=20000, help="texts to compare (default 20000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write-goldens", type=pathlib.Path, metavar="DIR")
    options = parser.parse_args()
    if (options.program is None) == (options.write_goldens is None):
        parser.error("expected either TOKENIZER_IDS or --write-goldens DIR")
    options.work.mkdir(parents=True, exist_ok=True)
    python = install(options.work.resolve())
    if python is None:
        return SKIPPED
    if pathlib.Path(sys.prefix) != python.parent.parent:    # again, where the packages are
        sys.stdout.flush()
        os.execv(python, [python, *sys.argv])
    if options.write_goldens:
        return write_goldens(options.write_goldens)
    return check(options.work, options.program.resolve(), options.count, options.seed)


if __name__ == "__main__":
    sys.exit(main())
