#!/usr/bin/env python3
"""Makes and checks reference cases of LingBot-VLA with random weights.

    make_case.py --out DIR --seed 1 [sizes and variants]    writes a case
    make_case.py --check DIR...                             recomputes cases, fails beyond 1e-4 of the largest value

A case is a checkpoint (config.json, model.safetensors), inputs.safetensors and expected.safetensors, as described in
tests/goldens/README.md. Values come from tests/reference/lingbot_reference.py in float32 on the weights as stored.
Needs torch and safetensors.
"""
import argparse
import json
import math
import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "reference"))
import lingbot_reference as reference

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
PATCH, MERGE, WINDOW, FRAMES = 14, 2, 112, 2      # pixels, patches, pixels, frames
TOLERANCE = 1e-4


def make_config(o):
    shared = {"hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 1e6}
    attention = {"num_attention_heads": o.heads, "num_key_value_heads": o.kv_heads, "num_hidden_layers": o.layers}
    policy = {
        "type": "lingbotvla", "max_state_dim": o.state, "max_action_dim": o.action, "n_action_steps": o.chunk,
        "num_steps": o.steps[0], "tokenizer_max_length": o.text, "resize_imgs_with_padding": [o.image, o.image],
        "vlm_causal": o.causal, "adanorm_time": True, "old_adanorm": not o.unweighted,
        "split_gate_liner": o.gated == "separate", "nosplit_gate_liner": o.gated == "joint",
        "final_norm_adanorm": o.final_ada_norm, "separate_time_proj": o.separate_time,
    }
    if o.depth:
        policy["align_params"] = {"mode": "query", "num_task_tokens": o.depth}
    if o.policy_keys_only:
        return policy
    vision = {
        "depth": o.vision_layers, "hidden_size": o.vision_width, "hidden_act": "silu", "in_channels": 3,
        "intermediate_size": o.vision_mlp, "num_heads": o.vision_heads, "out_hidden_size": o.width, "patch_size": PATCH,
        "spatial_merge_size": MERGE, "window_size": WINDOW, "temporal_patch_size": FRAMES,
        "fullatt_block_indexes": o.full_attention,
    }
    expert = {"hidden_size": o.expert_width, "head_dim": o.width // o.heads, "intermediate_size": o.expert_mlp,
              "vocab_size": 8, **shared, **attention}
    return {"vision_config": vision, "hidden_size": o.width, "intermediate_size": o.mlp, "vocab_size": o.vocabulary,
            **shared, **attention, "qwen_expert_config": expert, **policy}


def make_weights(o, random):
    """Every tensor of the checkpoint, scaled so that activations stay near 1."""
    w = {}

    def normal(*shape):
        return torch.randn(*shape, generator=random)

    def linear(name, outputs, inputs, bias=True, gain=0.8, bias_gain=0.1):
        w[name + ".weight"] = gain / math.sqrt(inputs) * normal(outputs, inputs)
        if bias:
            w[name + ".bias"] = bias_gain * normal(outputs)

    def norm(name, width):
        w[name + ".weight"] = 1 + 0.2 * normal(width)

    def ada_norm(name, width):
        if not o.unweighted:
            norm(name, width)
        if o.gated == "joint":
            linear(name + ".gamma_beta_gate", 3 * width, width, gain=0.5, bias_gain=0.05)
            return
        for part in ("gamma", "beta", *(["gate"] if o.gated == "separate" else [])):
            linear(f"{name}.{part}", width, width, gain=0.5, bias_gain=0.05)

    def mlp(name, width, inner, bias=False):
        for part in ("gate_proj", "up_proj"):
            linear(f"{name}.{part}", inner, width, bias)
        linear(name + ".down_proj", width, inner, bias)

    def decoder_layer(name, width, inner, make_norm):
        head = o.width // o.heads
        for part, heads in (("q", o.heads), ("k", o.kv_heads), ("v", o.kv_heads)):
            linear(f"{name}.self_attn.{part}_proj", heads * head, width)
        linear(name + ".self_attn.o_proj", width, o.heads * head, bias=False)
        mlp(name + ".mlp", width, inner)
        make_norm(name + ".input_layernorm", width)
        make_norm(name + ".post_attention_layernorm", width)

    visual, v = "qwenvl_with_expert.qwenvl.visual.", o.vision_width
    w[visual + "patch_embed.proj.weight"] = 0.8 / math.sqrt(3 * FRAMES * PATCH**2) * normal(v, 3, FRAMES, PATCH, PATCH)
    for i in range(o.vision_layers):
        block = f"{visual}blocks.{i}."
        norm(block + "norm1", v)
        norm(block + "norm2", v)
        linear(block + "attn.qkv", 3 * v, v)
        linear(block + "attn.proj", v, v)
        mlp(block + "mlp", v, o.vision_mlp, bias=True)
    norm(visual + "merger.ln_q", v)
    linear(visual + "merger.mlp.0", MERGE**2 * v, MERGE**2 * v)
    linear(visual + "merger.mlp.2", o.width, MERGE**2 * v)

    language, expert = "qwenvl_with_expert.qwenvl.model", "qwenvl_with_expert.qwen_expert.model"
    linear(language + ".embed_tokens", o.vocabulary, o.width, bias=False)
    for i in range(o.layers):
        decoder_layer(f"{language}.layers.{i}", o.width, o.mlp, norm)
    norm(language + ".norm", o.width)
    for i in range(o.layers):
        decoder_layer(f"{expert}.layers.{i}", o.expert_width, o.expert_mlp, ada_norm)
    (ada_norm if o.final_ada_norm else norm)(expert + ".norm", o.expert_width)

    linear("state_proj", o.expert_width, o.state)
    linear("action_in_proj", o.expert_width, o.action)
    linear("action_out_proj", o.action, o.expert_width)
    time = "time_mlp" if o.separate_time else "action_time_mlp"
    linear(time + "_in", o.expert_width, o.expert_width * (1 if o.separate_time else 2))
    linear(time + "_out", o.expert_width, o.expert_width)
    if o.depth:
        w["depth_align_embs"] = normal(8 * o.depth, o.width)
        linear("depth_align_head.projector.proj_in1", o.width, o.width)   # read by training alone
    return w


def make_inputs(o, random):
    patches = (o.image // PATCH) ** 2
    lengths = torch.randint(1, o.text + 1, (o.batch, 1), generator=random)
    views = torch.rand(o.batch, o.views, generator=random) > 0.25
    views[:, 0] = True
    if o.full_masks:
        lengths, views = torch.full_like(lengths, o.text), torch.ones_like(views)
    return {
        "images": torch.randn(o.batch, o.views, patches, 3 * FRAMES * PATCH**2, generator=random).to(DTYPES[o.images]),
        "img_masks": views,
        "lang_tokens": torch.randint(0, o.vocabulary, (o.batch, o.text), generator=random),
        "lang_masks": torch.arange(o.text) < lengths,
        "state": torch.randn(o.batch, o.state, generator=random),
        "noise": torch.randn(o.batch, o.chunk, o.action, generator=random),
    }


@torch.no_grad()
def compute(config, weights, inputs, steps):
    """Everything in expected.safetensors, in float32."""
    w = {name: tensor.float() for name, tensor in weights.items()}
    i = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in inputs.items()}
    x, valid, mask = reference.embed_prefix(w, config, i["images"], i["img_masks"], i["lang_tokens"], i["lang_masks"])
    cache = reference.encode_prefix(w, config, x, valid, mask)
    expected = {"prefix.embeddings": x, "prefix.valid": valid}
    for layer, (key, value) in enumerate(cache):
        expected |= {f"prefix.{layer}.key": key, f"prefix.{layer}.value": value}
    for name, time in (("velocity.t1", 1.0), ("velocity.t0.3", 0.3)):
        t = torch.full((x.shape[0],), time)
        expected[name] = reference.velocity(w, config, i["state"], i["noise"], t, cache, valid)
    for count in steps:
        expected[f"actions.{count}"] = reference.sample_actions(
            w, config, i["images"], i["img_masks"], i["lang_tokens"], i["lang_masks"], i["state"], i["noise"], count)
    return {name: tensor.contiguous() for name, tensor in expected.items()}


def save_checkpoint(directory, weights, shards):
    weights = {"model." + name: tensor.contiguous() for name, tensor in weights.items()}
    if shards == 1:
        save_file(weights, directory / "model.safetensors", {"format": "pt"})
        return
    names, where = list(weights), {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = names[shard::shards]
        save_file({name: weights[name] for name in part}, directory / file, {"format": "pt"})
        where |= dict.fromkeys(part, file)
    size = sum(tensor.nbytes for tensor in weights.values())
    index = {"metadata": {"total_size": size}, "weight_map": where}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def make(o):
    random = torch.Generator().manual_seed(o.seed)
    weights = {name: tensor.to(DTYPES[o.dtype]) for name, tensor in make_weights(o, random).items()}
    inputs = make_inputs(o, random)
    config = make_config(o)
    full = make_config(argparse.Namespace(**{**vars(o), "policy_keys_only": False}))
    o.out.mkdir(parents=True, exist_ok=True)
    (o.out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    save_checkpoint(o.out, weights, o.shards)
    save_file(inputs, o.out / "inputs.safetensors")
    expected = compute(full, weights, inputs, o.steps)
    save_file(expected, o.out / "expected.safetensors")
    worst = max(expected[f"actions.{count}"].abs().max().item() for count in o.steps)
    print(f"{o.out}: {sum(t.numel() for t in weights.values()):,} parameters, largest action {worst:.2f}")


def check(directory):
    """Recomputes a case -> its largest error over the largest value of the same tensor."""
    config = json.loads((directory / "config.json").read_text())
    weights = {}
    for file in sorted(directory.glob("model*.safetensors")):
        weights |= {name.removeprefix("model."): tensor for name, tensor in load_file(file).items()}
    inputs, expected = load_file(directory / "inputs.safetensors"), load_file(directory / "expected.safetensors")
    found = compute(config, weights, inputs, [int(n.split(".")[1]) for n in expected if n.startswith("actions.")])
    valid, worst = expected["prefix.valid"], ("", 0.0)
    assert found.keys() == expected.keys(), f"{directory}: {found.keys() ^ expected.keys()}"
    for name, right in expected.items():
        left, right = found[name].float(), right.float()
        if name.startswith("prefix.") and name != "prefix.valid":
            left, right = left[valid], right[valid]
        error = ((left - right).abs().max() / right.abs().max()).item()
        worst = max(worst, (name, error), key=lambda pair: pair[1])
    print(f"{directory}: largest error {worst[1]:.1e} of the largest value, in {worst[0] or 'none'}")
    return worst[1]


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--check", type=pathlib.Path, nargs="+", metavar="DIR")
    p.add_argument("--out", type=pathlib.Path)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--steps", type=int, nargs="+", default=[10], help="Euler steps, one actions.N each")
    for name, value, text in (
            ("views", 3, "camera views"), ("batch", 1, "samples"), ("image", 112, "pixels a side, a multiple of 28"),
            ("text", 12, "text tokens"), ("chunk", 50, "actions"), ("state", 75, "values"), ("action", 75, "values"),
            ("depth", 0, "query tokens a view; 0 for none"), ("shards", 1, "weight files"),
            ("vocabulary", 64, "tokens"),
            ("vision-layers", 2, "blocks"), ("vision-width", 80, ""), ("vision-heads", 2, ""), ("vision-mlp", 108, ""),
            ("layers", 2, "of the language model and the expert"), ("width", 128, "of the language model"),
            ("heads", 2, ""), ("kv-heads", 1, ""), ("mlp", 128, ""), ("expert-width", 64, ""), ("expert-mlp", 96, "")):
        p.add_argument("--" + name, type=int, default=value, help=f"{text} (default {value})".strip())
    p.add_argument("--full-attention", type=int, nargs="*", default=[1], help="vision blocks that see the whole view")
    p.add_argument("--gated", choices=("none", "separate", "joint"), default="none", help="gate of the adaptive norms")
    p.add_argument("--dtype", choices=DTYPES, default="bf16", help="of the weights (default bf16)")
    p.add_argument("--images", choices=DTYPES, default="bf16", help="of the patches (default bf16)")
    for flag, text in (
            ("causal", "causal prefix"), ("unweighted", "adaptive norms without a weight of their own"),
            ("final-ada-norm", "adaptive final norm"), ("separate-time", "time outside the actions' projection"),
            ("full-masks", "no missing view, no padded text"),
            ("policy-keys-only", "config.json without the sizes; cannot be checked")):
        p.add_argument("--" + flag, action="store_true", help=text)
    options = p.parse_args()
    if (options.out is None) == (options.check is None):
        p.error("give either --out or --check")
    return options


def main():
    options = parse()
    torch.set_num_threads(2)
    if options.out:
        make(options)
        return 0
    return int(max([check(directory) for directory in options.check]) > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
