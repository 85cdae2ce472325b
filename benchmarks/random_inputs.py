#!/usr/bin/env python3
"""Random inputs for a checkpoint of random weights, such as calibrations need.

    python3 benchmarks/random_inputs.py --checkpoint DIR --out DIR [--count 4] [--seed 1000] [--text 50]

Writes OUT/0.safetensors and so on, as `nervus run --inputs` takes them and `nervus bench` draws them: three views of
normal patches, --text tokens that count, a normal state and noise. Needs numpy and safetensors.
"""
import argparse
import json
import pathlib

import numpy
from safetensors.numpy import save_file


def make_inputs(config, seed, valid):
    random = numpy.random.default_rng(seed)
    side = config["resize_imgs_with_padding"][0] // config["vision_config"]["patch_size"]
    text = config["tokenizer_max_length"]
    normal = lambda *shape: random.standard_normal(shape, dtype=numpy.float32)
    return {
        "images": normal(1, 3, side * side, 1176),
        "img_masks": numpy.ones((1, 3), dtype=bool),
        "lang_tokens": random.integers(0, 100, (1, text), dtype=numpy.int64),
        "lang_masks": (numpy.arange(text) < valid)[None],
        "state": normal(1, config["max_state_dim"]),
        "noise": normal(1, config["n_action_steps"], config["max_action_dim"]),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--count", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1000, help="of the first; the next ones follow")
    parser.add_argument("--text", type=int, default=50, help="tokens that count")
    options = parser.parse_args()
    config = json.loads((options.checkpoint / "config.json").read_text())
    options.out.mkdir(parents=True, exist_ok=True)
    for i in range(options.count):
        save_file(make_inputs(config, options.seed + i, options.text), options.out / f"{i}.safetensors")


if __name__ == "__main__":
    main()
