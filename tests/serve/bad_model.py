#!/usr/bin/env python3
"""Models that `nervus serve` must not serve: bad_model.py NERVUS

Each breaks the tiny checkpoint in one way. The server ends by itself and soon, with the exit code of what is wrong and
one line that names the place and the mend, having told nobody an address. Prints how long the slowest took.
"""

import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

PATIENCE = 30  # seconds: of a machine that does much else; left alone it takes less than one


def change_header(change):
    def apply(directory):
        path = directory / "model.safetensors"
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        change(header)
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])

    return apply


BIAS = "model.action_out_proj.bias"


def rename(header):
    header["model.other.bias"] = header.pop(BIAS)


def reshape(header):
    header[BIAS]["shape"] = [25, 3]


def retype(header):
    header[BIAS]["dtype"] = "I32"


def set_weight(pattern):
    def apply(directory):
        path = directory / "model.safetensors"
        data = bytearray(path.read_bytes())
        (length,) = struct.unpack("<Q", data[:8])
        begin = 8 + length + json.loads(data[8 : 8 + length])[BIAS]["data_offsets"][0]
        data[begin : begin + 4] = pattern
        path.write_bytes(data)

    return apply


def cut(name, share):
    return lambda directory: os.truncate(directory / name, int((directory / name).stat().st_size * share))


def replace(name, old, new):
    def apply(directory):
        text = (directory / name).read_text()
        assert old in text, old
        (directory / name).write_text(text.replace(old, new))

    return apply


def remove(name):
    return lambda directory: (directory / name).unlink()


CUT_SHORT = "it was cut short, copy it again"
ONE_CHECKPOINT = "take config.json and the weights from one checkpoint"
NOT_FINITE = "expected a finite value, found .*check the checkpoint"
OTHER_TENSOR = "tensor 'model.action_out_proj.bias': expected"
# What is done, the exit code, and what the message says: the place with what is wrong, and the mend where there is one.
CASES = {
    "no directory": (shutil.rmtree, 6, "expected a checkpoint directory, found nothing there"),
    "no config": (remove("config.json"), 6, "config.json: cannot be opened: No such file or directory"),
    "config that ends early": (cut("config.json", 0.5), 4, "config.json: not valid JSON at line 8, column 26"),
    "config of another family": (replace("config.json", '"lingbotvla"', '"other"'), 4,
                                 "config.json: no known model family; expected one of: lingbot-vla"),
    "config of another size": (replace("config.json", '"hidden_size": 256', '"hidden_size": 128'), 4,
                               r"more: `nervus inspect` lists them all " + ONE_CHECKPOINT),
    "no weights": (remove("model.safetensors"), 4, "expected model.safetensors or .* found neither"),
    "weights that end early": (cut("model.safetensors", 0.5), 4, CUT_SHORT),
    "weights that end in their header": (cut("model.safetensors", 0.0001), 4, "the file was cut short, copy it again"),
    "weights of no bytes": (cut("model.safetensors", 0), 4, "expected a safetensors file, found only 0 bytes"),
    "missing tensor": (change_header(rename), 4, OTHER_TENSOR + r" \[75\], found no such tensor " + ONE_CHECKPOINT),
    "wrong shape": (change_header(reshape), 4, OTHER_TENSOR + r" \[75\], found \[25, 3\] " + ONE_CHECKPOINT),
    "wrong type": (change_header(retype), 4, OTHER_TENSOR + " f32, f16 or bf16, found i32 " + ONE_CHECKPOINT),
    "weight that is no number": (set_weight(b"\x00\x00\xc0\x7f"), 7, NOT_FINITE),
    "infinite weight": (set_weight(b"\x00\x00\x80\x7f"), 7, NOT_FINITE),
    "no tokenizer": (remove("tokenizer.json"), 4, "found neither: copy Qwen2.5's into the checkpoint's directory"),
    "tokenizer that ends early": (cut("tokenizer.json", 0.5), 4, "tokenizer.json: not valid JSON at line"),
    "no statistics": (remove("norm_stats.json"), 2, "found no .*norm_stats.json: name the file, or choose"),
    "statistics that end early": (cut("norm_stats.json", 0.5), 4, "norm_stats.json: not valid JSON at line"),
}


def serve(nervus, directory):
    """What became of the server, and after how many seconds."""
    command = [nervus, "serve", "--checkpoint", directory, "--robot", "aloha", "--port", "0", "--json", "--quiet"]
    began = time.monotonic()
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"{directory.name}: served, or did not end within {PATIENCE} s: {late.stdout}") from None
    return ended, time.monotonic() - began


def check(name, ended, code, words):
    said = f"{name}: {ended.returncode} {ended.stdout} {ended.stderr}"
    assert ended.returncode == code, f"{said}: expected exit code {code}"
    lines = ended.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("nervus: error: "), f"{said}: expected one line of error"
    assert re.search(words, lines[0]), f"{said}: expected {words}"
    told = json.loads(ended.stdout)
    assert list(told) == ["error"] and told["error"]["exit_code"] == code, f"{said}: expected the error, no address"


def main():
    nervus, slowest = sys.argv[1], (0.0, "")
    with tempfile.TemporaryDirectory() as work:
        whole = pathlib.Path(work) / "whole"
        subprocess.run([nervus, "synth", "--preset", "tiny", "--seed", "1", "--out", whole, "--quiet"], check=True,
                       stdout=subprocess.DEVNULL)
        for name, (spoil, code, words) in CASES.items():
            directory = pathlib.Path(work) / name.replace(" ", "_")
            shutil.copytree(whole, directory)
            spoil(directory)
            ended, took = serve(nervus, directory)
            check(name, ended, code, words)
            slowest = max(slowest, (took, name))
    print(f"bad models: {len(CASES)} refused with code and mend, the slowest ({slowest[1]}) after {slowest[0]:.2f} s")


main()
