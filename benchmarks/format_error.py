#!/usr/bin/env python3
"""What number formats cost in accuracy, by part of the model and kind of linear, simulated on a GPU in PyTorch.

    python3 benchmarks/format_error.py --checkpoint DIR [--seeds 3] [--steps 10 25 50] [--json FILE]

The model is tests/reference/lingbot_reference.py in float32; linears round their inputs and weights to a format and
multiply in float32. Needs PyTorch, safetensors and a GPU that holds the weights in float32 (17 GB for LingBot-VLA-4B).

Formats: bf16; f16; e4m3 with one scale an output of the weight, and one for the inputs that is static (the largest |x|
of calibration samples of other seeds) or one a row (dynamic); int8 with one scale an output and one a row, plain, or
smoothed (channels of the input divided by the square root of what they exceed the weight's by, folded into the weight),
or rotated: vision's linears read and write a residual stream that an orthogonal matrix has spread over all channels, as
src/models/nn/rotation.cpp does; what does not read or write it is plain.

Prints, for each, the least cosine over the seeds of the prefix's keys and values and of the actions against float32.
"""
import argparse
import json
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

repository = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(repository / "tests" / "reference"))
import lingbot_reference as reference  # noqa: E402

E4M3_LARGEST = 448.0
PARTS = {"vision": "qwenvl_with_expert.qwenvl.visual.", "language": "qwenvl_with_expert.qwenvl.model.layers.",
         "expert": "qwenvl_with_expert.qwen_expert.model.layers."}
KINDS = {"qkv": ("attn.qkv", "q_proj", "k_proj", "v_proj"), "out": ("attn.proj", "o_proj"),
         "gate_up": ("gate_proj", "up_proj"), "down": ("down_proj",), "merger": ("merger.mlp.0", "merger.mlp.2")}


def round_e4m3(x, scale):
    return (x / scale).clamp(-E4M3_LARGEST, E4M3_LARGEST).to(torch.float8_e4m3fn).float() * scale


def round_int8(x, scale):
    return (x / scale).round().clamp(-127, 127) * scale


def largest(x, axis=None):
    found = x.abs().amax() if axis is None else x.abs().amax(axis, keepdim=True)
    return found.clamp_min(1e-20)


def hadamard(order):
    """Sylvester's [order, order] of a power of two, Paley's where order - 1 is a prime of 4 n - 1; None otherwise."""
    if order & (order - 1) == 0:
        matrix = torch.ones(1, 1)
        while matrix.shape[0] < order:
            matrix = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]]), matrix)
        return matrix
    p = order - 1
    if order % 4 or any(p % d == 0 for d in range(2, int(p ** 0.5) + 1)):
        return None
    squares = {i * i % p for i in range(1, p)}
    matrix = torch.ones(order, order)
    for i in range(1, order):
        for j in range(order):
            matrix[i, j] = 1.0 if i == j or (j > 0 and (i - j) % p in squares) else -1.0
    return matrix


def sign(index):
    """-1 or 1: a bit of splitmix64."""
    z = (index + 1) * 0x9e3779b97f4a7c15 % 2**64
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9 % 2**64
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb % 2**64
    return -1.0 if z >> 63 else 1.0


def rotation(width):
    """The orthogonal Q [width, width] of the engine."""
    power = width & -width
    order = 4 * (width // power)
    other = hadamard(order) if order > 4 and power >= 4 else None
    h = torch.kron(torch.eye(width // power), hadamard(power)) if other is None else \
        torch.kron(other, hadamard(power // 4))
    return h * torch.tensor([sign(i) for i in range(width)]) / h[0].abs().sum().sqrt()


class Linears:
    """Stands in for the reference's linear: `rules` maps (part, kind) to a format; others stay float32."""

    def __init__(self, weights):
        self.weights, self.rules, self.ranges, self.observing = weights, {}, {}, False
        width = weights[PARTS["vision"] + "merger.ln_q.weight"]
        self.rotation = rotation(len(width)).to(width.device)

    @staticmethod
    def place(name):
        part = next((p for p, beginning in PARTS.items() if name.startswith(beginning)), None)
        kind = next((k for k, ends in KINDS.items() if name.endswith(ends)), None)
        return part, kind

    def __call__(self, w, name, x):
        weight, bias = w[name + ".weight"], w.get(name + ".bias")
        if self.observing:
            rows = x.flatten(0, -2)
            seen = self.ranges.get(name)
            now = (largest(x), largest(rows, 0)[0])
            self.ranges[name] = now if seen is None else tuple(torch.maximum(a, b) for a, b in zip(seen, now))
        rule = self.rules.get(self.place(name))
        if rule is not None:
            x, weight = getattr(self, rule)(name, x, weight)
        return F.linear(x, weight, bias)

    def bf16(self, name, x, weight):
        return x.bfloat16().float(), weight.bfloat16().float()

    def f16(self, name, x, weight):
        return x.half().float(), weight.half().float()

    def e4m3_static(self, name, x, weight):
        scale = self.ranges[name][0] / E4M3_LARGEST
        return round_e4m3(x, scale), round_e4m3(weight, largest(weight, 1) / E4M3_LARGEST)

    def e4m3_dynamic(self, name, x, weight):
        return round_e4m3(x, largest(x, -1) / E4M3_LARGEST), round_e4m3(weight, largest(weight, 1) / E4M3_LARGEST)

    def e4m3_weights(self, name, x, weight):
        return x.bfloat16().float(), round_e4m3(weight, largest(weight, 1) / E4M3_LARGEST)

    def int8(self, name, x, weight):
        return round_int8(x, largest(x, -1) / 127), round_int8(weight, largest(weight, 1) / 127)

    def int8_smooth(self, name, x, weight):
        channels = (self.ranges[name][1] / largest(weight, 0)[0]).sqrt()
        channels = channels / channels.median()
        return self.int8(name, x / channels, weight * channels)

    def int8_rotated(self, name, x, weight):
        q, norm = self.rotation, self.norm_before(name)
        if norm is not None:  # norm(h) is Q norm(h) without scale; the merger reads some rows side by side
            parts = lambda y: y.unflatten(-1, (-1, len(q)))
            x = (parts(x) / norm.where(norm != 0, 1) @ q.T).flatten(-2)
            weight = (parts(weight) * norm @ q.T).flatten(-2)
        if not name.endswith(("attn.proj", "down_proj")):
            return self.int8(name, x, weight)
        x, weight = self.int8(name, x, q @ weight)
        return x, q.T @ weight  # the page's stream is not rotated

    def norm_before(self, name):
        """The scale of the norm that a linear reads vision's stream through; None where it reads something else."""
        for end, norm in {"attn.qkv": "norm1", "mlp.gate_proj": "norm2", "mlp.up_proj": "norm2",
                          "mlp.0": "ln_q"}.items():
            if name.endswith(end):
                return self.weights[name.removesuffix(end) + norm + ".weight"]
        return None


def mixes():
    """Candidates for recipes: what 8 bits save time on, with the format that costs least."""
    def places(text, rule):
        return {tuple(place.split(".")): rule for place in text.split()}
    rest, expert = "vision.out vision.down language.out", " expert.qkv expert.out expert.gate_up expert.down"
    mlps = places("language.gate_up language.down", "e4m3_static")
    normed = places("vision.qkv vision.gate_up language.qkv language.gate_up language.down", "int8")
    turned = places("vision.qkv vision.gate_up", "int8_rotated")
    added = places("expert.out expert.down", "e4m3_static")
    return {
        "fp8 on language mlps": mlps,
        "fp8 on language mlps, vision down": mlps | places("vision.down", "e4m3_static"),
        "fp8 on language mlps, vision qkv": mlps | places("vision.qkv", "e4m3_static"),
        "fp8 on language mlps, language out": mlps | places("language.out", "e4m3_static"),
        "fp8 on language mlps, expert": mlps | places(expert, "e4m3_static"),
        "int8 on vision qkv, gate_up, language qkv, mlps": normed,
        "the same, language mlps in fp8": normed | mlps,
        "the same in int8, vision down in fp8": normed | places("vision.down", "e4m3_static"),
        "the same in int8, vision down in int8": normed | places("vision.down", "int8"),
        "int8 on all of vision and language but the merger": normed | places(rest, "int8"),
        "the same, expert": normed | places(rest + expert, "int8"),
        "fp8 on language mlps, expert out, down": mlps | added,
        "the same, int8 on vision qkv, gate_up": mlps | added | places("vision.qkv vision.gate_up", "int8"),
        "all three, the stream rotated": mlps | added | turned,
        "int8 on vision qkv, gate_up": places("vision.qkv vision.gate_up", "int8"),
        "int8 on vision qkv, gate_up, the stream rotated": turned,
    }


def recipes():
    """Name -> rules."""
    every = [(part, kind) for part in PARTS for kind in KINDS]
    prefix = [place for place in every if place[0] != "expert"]
    made = {f"mix: {name}": rules for name, rules in mixes().items()}
    for rule in ("e4m3_static", "bf16", "f16", "int8_smooth", "int8", "e4m3_dynamic", "e4m3_weights"):
        made[f"vision+language {rule}"] = {p: rule for p in prefix}
        for part in PARTS:
            made[f"{part} {rule}"] = {p: rule for p in every if p[0] == part}
        made[f"all {rule}"] = {p: rule for p in every}
    made["vision int8_rotated"] = {p: "int8_rotated" for p in every if p[0] == "vision"}
    for kept in KINDS:
        made[f"vision+language but {kept} e4m3_static"] = {p: "e4m3_static" for p in prefix if p[1] != kept}
    for part in PARTS:
        for kind in KINDS:
            if kind != "merger" or part == "vision":
                made[f"{part} {kind} e4m3_static"] = {(part, kind): "e4m3_static"}
    return made


def make_inputs(config, seed, device):
    """As `nervus bench` draws them: three views, 72 text tokens of which 50 count."""
    generator = torch.Generator().manual_seed(seed)
    side = config["resize_imgs_with_padding"][0] // config["vision_config"]["patch_size"]
    text = config["tokenizer_max_length"]
    random = lambda *shape: torch.randn(*shape, generator=generator)
    inputs = (random(1, 3, side * side, 1176), torch.ones(1, 3, dtype=torch.bool),
              torch.randint(0, 100, (1, text), generator=generator), (torch.arange(text) < 50)[None],
              random(1, config["max_state_dim"]), random(1, config["n_action_steps"], config["max_action_dim"]))
    return [x.to(device) for x in inputs]


@torch.no_grad()
def run(weights, config, inputs, steps):
    """-> actions by step count, keys and values of the valid prefix."""
    images, image_mask, tokens, token_mask, state, noise = inputs
    x, valid, mask = reference.embed_prefix(weights, config, images, image_mask, tokens, token_mask)
    cache = reference.encode_prefix(weights, config, x, valid, mask)
    actions = {}
    for count in steps:
        a = noise
        for i in range(count):
            t = torch.full((1,), 1.0 - i / count, device=noise.device)
            a = a - reference.velocity(weights, config, state, a, t, cache, valid) / count
        actions[count] = a
    return actions, [part[valid] for pair in cache for part in pair]


def cosine(a, b):
    return F.cosine_similarity(a.double().flatten(), b.double().flatten(), 0).item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=pathlib.Path, required=True)
    parser.add_argument("--seeds", type=int, default=3, help="inputs and noise, beside four for calibration")
    parser.add_argument("--steps", type=int, nargs="+", default=[10])
    parser.add_argument("--only", default="", help="recipes whose name contains this")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    config = json.loads((options.checkpoint / "config.json").read_text())
    weights = {}
    for path in sorted(options.checkpoint.glob("*.safetensors")):
        for name, tensor in load_file(path, options.device).items():
            weights[name.removeprefix("model.")] = tensor.float()
    linears = Linears(weights)
    reference.linear = linears
    linears.observing = True
    for seed in range(1000, 1004):
        run(weights, config, make_inputs(config, seed, options.device), options.steps[:1])
    linears.observing = False
    samples = [make_inputs(config, seed, options.device) for seed in range(options.seeds)]
    expected = [run(weights, config, inputs, options.steps) for inputs in samples]
    report = {"gpu": torch.cuda.get_device_name() if options.device == "cuda" else "cpu", "torch": torch.__version__,
              "checkpoint": options.checkpoint.name, "seeds": options.seeds, "recipes": {}}
    print(f"{'recipe':60} keys and values " + " ".join(f"actions {count:3}" for count in options.steps))
    for name, rules in recipes().items():
        if options.only not in name:
            continue
        linears.rules = rules
        least = {"keys_and_values": 1.0, **{f"actions.{count}": 1.0 for count in options.steps}}
        for inputs, (actions, cache) in zip(samples, expected):
            found, found_cache = run(weights, config, inputs, options.steps)
            for a, b in zip(found_cache, cache):
                least["keys_and_values"] = min(least["keys_and_values"], cosine(a, b))
            for count in options.steps:
                least[f"actions.{count}"] = min(least[f"actions.{count}"], cosine(found[count], actions[count]))
        report["recipes"][name] = least
        print(f"{name:60} {least['keys_and_values']:15.6f} " +
              " ".join(f"{least[f'actions.{count}']:11.6f}" for count in options.steps), flush=True)
        if options.json:
            options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
