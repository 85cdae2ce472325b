#!/usr/bin/env python3
"""Images to patches by nervus and by Pillow with numpy, in turns on one machine and one thread.

    pip install pillow numpy
    benchmarks/image_peer.py build/benchmarks/images/bench_images [--rounds N] [--json FILE]

Pillow does Image.resize((224, 224), BILINEAR); numpy the normalisation and the order of patches, as the Qwen2-VL image
processor does. Both see frames of random bytes, of the sizes of common cameras.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import time

import numpy
import PIL
from PIL import Image

from machine import processor

SIDE, PATCH, MERGE, CALLS = 224, 14, 2, 20
SIZES = [(640, 480), (1280, 720), (1920, 1080)]
MEAN = numpy.array([0.48145466, 0.4578275, 0.40821073], numpy.float32) * 255
DEVIATION = numpy.array([0.26862954, 0.26130258, 0.27577711], numpy.float32) * 255


def patches_of(image):
    """[256, 1176] float32: blocks of 2 x 2 patches, each (channel, frame, row, column)."""
    pixels = (numpy.asarray(image, numpy.float32) - MEAN) / DEVIATION
    blocks = SIDE // PATCH // MERGE
    cut = pixels.reshape(blocks, MERGE, PATCH, blocks, MERGE, PATCH, 3).transpose(0, 3, 1, 4, 6, 2, 5)
    cut = cut.reshape(-1, 3, 1, PATCH, PATCH)
    return numpy.ascontiguousarray(numpy.broadcast_to(cut, (cut.shape[0], 3, 2, PATCH, PATCH))).reshape(-1, 1176)


def time_peer(frame):
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        resized = frame.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        middle = time.perf_counter()
        patches_of(resized)
        times.append((1e3 * (middle - start), 1e3 * (time.perf_counter() - middle)))
    return times


def time_nervus(program, width, height):
    text = subprocess.run([program, str(width), str(height), str(SIDE), str(CALLS)], check=True, capture_output=True,
                          text=True).stdout
    return [tuple(map(float, line.split())) for line in text.splitlines()]


def summary(times):
    found = {"calls": len(times)}
    for i, part in enumerate(("resize", "patches")):
        column = sorted(t[i] for t in times)
        found[part] = {"p50_ms": round(statistics.median(column), 4),
                       "p99_ms": round(column[(len(column) - 1) * 99 // 100], 4)}
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True,
                            check=False).stdout.strip()
    result = {"machine": processor(), "commit": commit, "pillow": PIL.__version__, "numpy": numpy.__version__,
              "sizes": []}
    random = numpy.random.default_rng(1)
    for width, height in SIZES:
        frame = Image.fromarray(random.integers(0, 256, (height, width, 3), numpy.uint8))
        ours, theirs = [], []
        for _ in range(options.rounds):
            ours += time_nervus(options.program, width, height)[1:]
            theirs += time_peer(frame)[1:]
        row = {"width": width, "height": height, "nervus": summary(ours), "pillow": summary(theirs)}
        result["sizes"].append(row)
        print(f"{width} x {height}: " + ", ".join(
            f"{part} {row['nervus'][part]['p50_ms']:.2f} ms, Pillow {row['pillow'][part]['p50_ms']:.2f} ms"
            for part in ("resize", "patches")))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
