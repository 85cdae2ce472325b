#!/usr/bin/env python3
"""nervus beside PyTorch on the CPU, in one run: the same checkpoint, inputs, precision and threads.

    pip install torch safetensors numpy
    python3 benchmarks/torch_peer.py --checkpoint DIR [--nervus build/cli/nervus] [--rounds 2] [--threads 2]
                                     [--steps 10] [--json FILE]

PyTorch runs tests/reference/lingbot_reference.py, the model as one page, in bfloat16. The two take turns (A B A B), so
that a machine that slows down slows both. Memory: both hold the weights, 8.4 GB each for LingBot-VLA-4B; give it a
checkpoint stored in bf16 (nervus synth --dtype bf16), which also loads faster.

Prints each round, the medians, their ratio, and how far the actions are apart; --json writes the same with the
machine and the versions.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from machine import processor

repository = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(repository / "tests" / "reference"))
import lingbot_reference  # noqa: E402


def read_weights(directory):
    """All tensors of a checkpoint in bf16, named as the reference names them."""
    weights = {}
    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():
                weights[name.removeprefix("model.")] = file.get_tensor(name).to(torch.bfloat16)
    return weights


def make_inputs(config, valid_tokens):
    """Three views, 72 text tokens of which `valid_tokens` count, one state, fixed noise."""
    generator = torch.Generator().manual_seed(0)
    random = lambda *shape: torch.randn(*shape, generator=generator)
    text = config["tokenizer_max_length"]
    side = config["resize_imgs_with_padding"][0] // config["vision_config"]["patch_size"]
    return {
        "images": random(1, 3, side * side, 1176),
        "img_masks": torch.ones(1, 3, dtype=torch.bool),
        "lang_tokens": torch.randint(0, config["vocab_size"], (1, text), generator=generator),
        "lang_masks": (torch.arange(text) < valid_tokens)[None],
        "state": random(1, config["max_state_dim"]),
        "noise": random(1, config["n_action_steps"], config["max_action_dim"]),
    }


def run_torch(weights, config, inputs, steps):
    """-> actions f32, seconds."""
    narrow = {name: x.bfloat16() if x.is_floating_point() else x for name, x in inputs.items()}
    started = time.perf_counter()
    actions = lingbot_reference.sample_actions(
        weights, config, narrow["images"], narrow["img_masks"], narrow["lang_tokens"], narrow["lang_masks"],
        narrow["state"], narrow["noise"], steps)
    return actions.float(), time.perf_counter() - started


def run_nervus(program, checkpoint, inputs_path, steps, threads, runs):
    """-> bench's JSON report."""
    command = [program, "bench", "--checkpoint", checkpoint, "--inputs", inputs_path,
               "--steps", str(steps), "--threads",
               str(threads), "--precision", "bf16", "--warmup", "1", "--runs", str(runs), "--json", "--quiet"]
    return json.loads(subprocess.run([str(part) for part in command], check=True, capture_output=True).stdout)


def nervus_actions(program, checkpoint, inputs_path, steps, threads, folder):
    out = folder / "actions.safetensors"
    command = [program, "run", "--checkpoint", checkpoint, "--inputs", inputs_path,
               "--steps", str(steps), "--threads",
               str(threads), "--precision", "bf16", "--out", out, "--quiet"]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    return next(iter(load_file(out).values())).float()


def total_milliseconds(report):
    """The median of the whole call."""
    return report["results"][0]["latency_ms"]["total"]["p50"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=pathlib.Path, required=True)
    parser.add_argument("--nervus", type=pathlib.Path, default=repository / "build" / "cli" / "nervus")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3, help="calls of each in a round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--valid-tokens", type=int, default=50)
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    config = json.loads((arguments.checkpoint / "config.json").read_text())
    inputs = make_inputs(config, arguments.valid_tokens)
    weights = read_weights(arguments.checkpoint)
    torch_times, nervus_times, reports = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        save_file(inputs, folder / "inputs.safetensors")
        expected, _ = run_torch(weights, config, inputs, arguments.steps)  # warm-up
        for _ in range(arguments.rounds):
            for _ in range(arguments.runs):
                torch_times.append(1e3 * run_torch(weights, config, inputs, arguments.steps)[1])
            report = run_nervus(arguments.nervus, arguments.checkpoint, folder / "inputs.safetensors", arguments.steps,
                                arguments.threads, arguments.runs)
            nervus_times.append(total_milliseconds(report))
            reports.append(report)
            print(f"round: PyTorch {torch_times[-1]:.0f} ms, nervus {nervus_times[-1]:.0f} ms", flush=True)
        found = nervus_actions(arguments.nervus, arguments.checkpoint, folder / "inputs.safetensors", arguments.steps,
                               arguments.threads, folder)
    cosine = torch.nn.functional.cosine_similarity(found.flatten(), expected.flatten(), 0).item()
    result = {
        "what": f"{arguments.checkpoint.name}, bf16, {arguments.steps} steps, 3 views, "
                f"{arguments.valid_tokens} text tokens",
        "processor": processor(), "threads": arguments.threads, "torch": torch.__version__,
        "torch_ms": torch_times, "nervus_ms": nervus_times,
        "torch_median_ms": statistics.median(torch_times), "nervus_median_ms": statistics.median(nervus_times),
        "ratio": statistics.median(nervus_times) / statistics.median(torch_times),
        "cosine_of_actions": cosine, "nervus_reports": reports,
    }
    print(f"PyTorch {result['torch_median_ms']:.0f} ms, nervus {result['nervus_median_ms']:.0f} ms: "
          f"nervus takes {result['ratio']:.2f} of PyTorch's time; cosine of the actions {cosine:.5f}")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
