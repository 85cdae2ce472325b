#!/usr/bin/env python3
"""The strongest plain-PyTorch form of LingBot-VLA we can write: bf16, fused weights, SDPA,
FiLM and RoPE precomputed, static shapes, torch.compile and one CUDA graph. What an expert user
would pick instead, so the peer to time in the same run; batch 1, no depth queries, no gates.

    python3 benchmarks/gpu_peer.py [CHECKPOINT_DIR] [--steps 10 25 50] [--text 72] [--valid 50] [--json FILE]

Without a checkpoint it makes random weights of the 4B shapes. Prints milliseconds a call.
"""

import argparse
import glob
import json
import math
import time

import torch
import torch.nn.functional as F


def rms(x, w, eps=1e-6):
    return F.rms_norm(x, (x.shape[-1],), w, eps)


def rot(x, c, s):
    a, b = x.chunk(2, -1)
    return torch.cat([a * c - b * s, b * c + a * s], -1)


class Peer:
    def __init__(self, w, spec, steps, views=3, patches=256, text=72, valid_text=72, dev="cuda", dt=torch.bfloat16):
        self.spec, self.steps, self.views = spec, steps, views
        v, l, e = spec["vision"], spec["vlm"], spec["expert"]
        g = lambda n: w[n].to(dev, dt)
        self.v, self.l, self.e = v, l, e
        p = "qwenvl_with_expert.qwenvl.visual."
        self.patch = g(p + "patch_embed.proj.weight").flatten(1)
        self.vit = []
        for i in range(v["depth"]):
            b = f"{p}blocks.{i}."
            self.vit.append(
                dict(
                    n1=g(b + "norm1.weight"),
                    n2=g(b + "norm2.weight"),
                    qkv=(g(b + "attn.qkv.weight"), g(b + "attn.qkv.bias")),
                    o=(g(b + "attn.proj.weight"), g(b + "attn.proj.bias")),
                    gu=(
                        torch.cat([g(b + "mlp.gate_proj.weight"), g(b + "mlp.up_proj.weight")]),
                        torch.cat([g(b + "mlp.gate_proj.bias"), g(b + "mlp.up_proj.bias")]),
                    ),
                    d=(g(b + "mlp.down_proj.weight"), g(b + "mlp.down_proj.bias")),
                    full=i in v["fullatt_block_indexes"],
                )
            )
        m = p + "merger."
        self.merge = [
            g(m + "ln_q.weight"),
            g(m + "mlp.0.weight"),
            g(m + "mlp.0.bias"),
            g(m + "mlp.2.weight"),
            g(m + "mlp.2.bias"),
        ]
        self.embed = g("qwenvl_with_expert.qwenvl.model.embed_tokens.weight")

        def layer(n):
            q = n + ".self_attn."
            return dict(
                qkv=(
                    torch.cat([g(q + f"{c}_proj.weight") for c in "qkv"]),
                    torch.cat([g(q + f"{c}_proj.bias") for c in "qkv"]),
                ),
                o=g(q + "o_proj.weight"),
                n1=g(n + ".input_layernorm.weight"),
                n2=g(n + ".post_attention_layernorm.weight"),
                gu=torch.cat([g(n + ".mlp.gate_proj.weight"), g(n + ".mlp.up_proj.weight")]),
                d=g(n + ".mlp.down_proj.weight"),
            )

        self.vlm = [layer(f"qwenvl_with_expert.qwenvl.model.layers.{i}") for i in range(l["num_hidden_layers"])]
        x = "qwenvl_with_expert.qwen_expert.model."
        self.exp = [layer(f"{x}layers.{i}") for i in range(l["num_hidden_layers"])]
        self.norm = g(x + "norm.weight")
        self.head = {
            n: (g(n + ".weight"), g(n + ".bias"))
            for n in ("state_proj", "action_in_proj", "action_out_proj", "action_time_mlp_in", "action_time_mlp_out")
        }

        # time embedding and FiLM of every step
        width = e["hidden_size"]
        t = torch.tensor([1.0 - i / steps for i in range(steps)], device=dev)
        fr = torch.linspace(0, 1, width // 2, device=dev)
        a = t[:, None] * (2 * math.pi / (4e-3 * (4.0 / 4e-3) ** fr))
        self.cond = torch.cat([a.sin(), a.cos()], 1).to(dt)
        self.film = []
        for i in range(l["num_hidden_layers"]):
            row = []
            for ln in ("input_layernorm", "post_attention_layernorm"):
                n = f"{x}layers.{i}.{ln}."
                for c in ("gamma", "beta"):
                    row.append(F.linear(self.cond, g(n + c + ".weight"), g(n + c + ".bias")))
            row[0], row[2] = row[0] + 1, row[2] + 1
            self.film.append(torch.stack(row, 1))  # [steps, 4, width]
        # vision positions and windows
        side = int(math.isqrt(patches))
        mg = v["spatial_merge_size"]
        hd = v["hidden_size"] // v["num_heads"]
        h = torch.arange(side)[:, None].expand(side, side)
        blk = lambda z: z.reshape(side // mg, mg, side // mg, mg).permute(0, 2, 1, 3).flatten()
        inv = 1.0 / 10000.0 ** (torch.arange(0, hd // 2, 2).float() / (hd // 2))
        ang = torch.cat([blk(h)[:, None] * inv, blk(h.t())[:, None] * inv], -1)
        cells, ws = side // mg, v["window_size"] // mg // v["patch_size"]
        idx = torch.arange(cells * cells).reshape(cells, cells)
        order = torch.cat(
            [idx[r : r + ws, c : c + ws].flatten() for r in range(0, cells, ws) for c in range(0, cells, ws)]
        )
        perm = (order[:, None] * mg * mg + torch.arange(mg * mg)).flatten()
        self.perm, self.unperm = perm.to(dev), torch.argsort(order).to(dev)
        self.win = ws * ws * mg * mg
        ang = ang[perm].to(dev)
        self.vcos, self.vsin = ang.cos()[:, None].to(dt), ang.sin()[:, None].to(dt)
        # prefix and suffix positions (right padding of the text is masked by length)
        per = patches // (mg * mg)
        n = views * per + text
        self.n_prefix = n
        valid = views * per + valid_text
        d = l["hidden_size"] // l["num_attention_heads"]
        self.d = d
        fq = 1.0 / 10000.0 ** (torch.arange(d // 2, device=dev).float() * 2 / d)
        pos = torch.arange(n, device=dev).clamp(max=valid - 1).float()
        ang = pos[:, None] * fq
        self.pcos, self.psin = ang.cos()[None, :, None].to(dt), ang.sin()[None, :, None].to(dt)
        s = spec["policy"]["n_action_steps"] + 1
        ang = (valid + torch.arange(s, device=dev)).float()[:, None] * fq
        self.scos, self.ssin = ang.cos()[None, :, None].to(dt), ang.sin()[None, :, None].to(dt)
        ok = torch.arange(n, device=dev) < valid
        self.pmask = None if valid == n else ok[None, None, None].expand(1, 1, n, n)
        own = torch.ones(s, s, dtype=torch.bool, device=dev)
        own[0, 1:] = False
        self.smask = torch.cat([ok.expand(s, n), own], 1)[None, None]

    def attn(self, q, k, v, mask):
        return (
            F.scaled_dot_product_attention(
                q.transpose(1, 2),
                k.transpose(1, 2),
                v.transpose(1, 2),
                attn_mask=mask,
                enable_gqa=q.shape[2] != k.shape[2],
            )
            .transpose(1, 2)
            .flatten(2)
        )

    def prefix(self, images, tokens):
        v = self.v
        n, p, _ = images.shape
        hn, hd = v["num_heads"], v["hidden_size"] // v["num_heads"]
        x = F.linear(images, self.patch)[:, self.perm]
        for b in self.vit:
            q, k, u = F.linear(rms(x, b["n1"]), *b["qkv"]).view(n, p, 3, hn, hd).unbind(2)
            q, k = rot(q, self.vcos, self.vsin), rot(k, self.vcos, self.vsin)
            if not b["full"]:
                q, k, u = (z.reshape(-1, self.win, hn, hd) for z in (q, k, u))
            a = self.attn(q, k, u, None).reshape(n, p, -1)
            x = x + F.linear(a, *b["o"])
            g, u = F.linear(rms(x, b["n2"]), *b["gu"]).chunk(2, -1)
            x = x + F.linear(F.silu(g) * u, *b["d"])
        ln, w0, b0, w2, b2 = self.merge
        x = F.linear(F.gelu(F.linear(rms(x, ln).view(n, p // 4, -1), w0, b0)), w2, b2)[:, self.unperm]
        x = torch.cat([x.reshape(1, -1, x.shape[-1]), F.embedding(tokens, self.embed)], 1)
        cache, h, kv = [], self.l["num_attention_heads"], self.l["num_key_value_heads"]
        for b in self.vlm:
            q, k, u = F.linear(rms(x, b["n1"]), *b["qkv"]).unflatten(-1, (-1, self.d)).split([h, kv, kv], 2)
            q, k = rot(q, self.pcos, self.psin), rot(k, self.pcos, self.psin)
            cache.append((k, u))
            x = x + F.linear(self.attn(q, k, u, self.pmask), b["o"])
            g, u = F.linear(rms(x, b["n2"]), b["gu"]).chunk(2, -1)
            x = x + F.linear(F.silu(g) * u, b["d"])
        return cache

    def step(self, i, cache, state, a):
        hd = self.head
        h, kv = self.l["num_attention_heads"], self.l["num_key_value_heads"]
        z = torch.cat([F.linear(a, *hd["action_in_proj"]), self.cond[i].expand(1, a.shape[1], -1)], -1)
        z = F.linear(F.silu(F.linear(z, *hd["action_time_mlp_in"])), *hd["action_time_mlp_out"])
        x = torch.cat([F.linear(state, *hd["state_proj"])[:, None], z], 1)
        for b, (kp, vp), f in zip(self.exp, cache, self.film):
            g1, b1, g2, b2 = f[i]
            q, k, u = F.linear(rms(x, b["n1"]) * g1 + b1, *b["qkv"]).unflatten(-1, (-1, self.d)).split([h, kv, kv], 2)
            q, k = rot(q, self.scos, self.ssin), rot(k, self.scos, self.ssin)
            o = self.attn(q, torch.cat([kp, k], 1), torch.cat([vp, u], 1), self.smask)
            x = x + F.linear(o, b["o"])
            g, u = F.linear(rms(x, b["n2"]) * g2 + b2, b["gu"]).chunk(2, -1)
            x = x + F.linear(F.silu(g) * u, b["d"])
        return a - F.linear(rms(x, self.norm)[:, 1:], *hd["action_out_proj"]) / self.steps

    def run(self, images, tokens, state, noise):
        cache = self.prefix(images, tokens)
        a = noise
        for i in range(self.steps):
            a = self.step(i, cache, state, a)
        return a


SPEC_4B = {
    "vision": dict(
        depth=32,
        hidden_size=1280,
        intermediate_size=3420,
        num_heads=16,
        out_hidden_size=2048,
        patch_size=14,
        spatial_merge_size=2,
        window_size=112,
        fullatt_block_indexes=[7, 15, 23, 31],
    ),
    "vlm": dict(
        hidden_size=2048,
        intermediate_size=11008,
        num_attention_heads=16,
        num_key_value_heads=2,
        num_hidden_layers=36,
        vocab_size=151936,
    ),
    "expert": dict(hidden_size=768, intermediate_size=2752),
    "policy": dict(n_action_steps=50, max_action_dim=75),
}


def random_weights(spec, dev="cuda"):
    """bf16 weights of the checkpoint's names and shapes, scaled so that activations stay of order one."""
    v, l, e, a = spec["vision"], spec["vlm"], spec["expert"], spec["policy"]["max_action_dim"]
    w = {}

    def mat(name, out, inp, bias=True):
        w[name + ".weight"] = (torch.randn(out, inp, device=dev) * 0.6 / inp**0.5).bfloat16()
        if bias:
            w[name + ".bias"] = (torch.randn(out, device=dev) * 0.02).bfloat16()

    def one(name, n):
        w[name + ".weight"] = torch.ones(n, device=dev).bfloat16()

    p = "qwenvl_with_expert.qwenvl.visual."
    mat(p + "patch_embed.proj", v["hidden_size"], 1176, False)
    for i in range(v["depth"]):
        b = f"{p}blocks.{i}."
        one(b + "norm1", v["hidden_size"]), one(b + "norm2", v["hidden_size"])
        mat(b + "attn.qkv", 3 * v["hidden_size"], v["hidden_size"]), mat(
            b + "attn.proj", v["hidden_size"], v["hidden_size"]
        )
        for c in ("gate", "up"):
            mat(b + f"mlp.{c}_proj", v["intermediate_size"], v["hidden_size"])
        mat(b + "mlp.down_proj", v["hidden_size"], v["intermediate_size"])
    m = 4 * v["hidden_size"]
    one(p + "merger.ln_q", v["hidden_size"]), mat(p + "merger.mlp.0", m, m), mat(
        p + "merger.mlp.2", v["out_hidden_size"], m
    )
    w["qwenvl_with_expert.qwenvl.model.embed_tokens.weight"] = torch.randn(
        l["vocab_size"], l["hidden_size"], device=dev
    ).bfloat16()
    d = l["hidden_size"] // l["num_attention_heads"]
    q, kv = l["num_attention_heads"] * d, l["num_key_value_heads"] * d
    for tower, width, inner in (
        ("qwenvl", l["hidden_size"], l["intermediate_size"]),
        ("qwen_expert", e["hidden_size"], e["intermediate_size"]),
    ):
        for i in range(l["num_hidden_layers"]):
            n = f"qwenvl_with_expert.{tower}.model.layers.{i}."
            for c, o in (("q", q), ("k", kv), ("v", kv)):
                mat(n + f"self_attn.{c}_proj", o, width)
            mat(n + "self_attn.o_proj", width, q, False)
            mat(n + "mlp.gate_proj", inner, width, False), mat(n + "mlp.up_proj", inner, width, False), mat(
                n + "mlp.down_proj", width, inner, False
            )
            for c in ("input_layernorm", "post_attention_layernorm"):
                one(n + c, width)
                if tower == "qwen_expert":
                    mat(n + c + ".gamma", width, width), mat(n + c + ".beta", width, width)
        one(f"qwenvl_with_expert.{tower}.model.norm", width)
    x = e["hidden_size"]
    mat("state_proj", x, a), mat("action_in_proj", x, a), mat("action_out_proj", a, x)
    mat("action_time_mlp_in", x, 2 * x), mat("action_time_mlp_out", x, x)
    return w


def clock(f, n=200, warm=20):
    for _ in range(warm):
        f()
    torch.cuda.synchronize()
    t = []
    for _ in range(n):
        torch.cuda.synchronize()
        a = time.perf_counter()
        f()
        torch.cuda.synchronize()
        t.append((time.perf_counter() - a) * 1e3)
    t.sort()
    return dict(p50=t[n // 2], p99=t[int(n * 0.99)], max=t[-1])


def graph(f):
    f(), f()
    torch.cuda.synchronize()
    g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g):
        f()
    return g.replay


@torch.no_grad()
def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("checkpoint", nargs="?")
    ap.add_argument("--steps", type=int, nargs="+", default=[10, 25, 50])
    ap.add_argument("--text", type=int, default=72)
    ap.add_argument("--valid", type=int, default=50)
    ap.add_argument("--json")
    args = ap.parse_args()
    if args.checkpoint:
        from safetensors.torch import load_file

        w = {
            k.removeprefix("model."): t
            for f in glob.glob(args.checkpoint + "/*.safetensors")
            for k, t in load_file(f).items()
        }
    else:
        w = random_weights(SPEC_4B)
    dev, dt = "cuda", torch.bfloat16
    images, tokens = torch.randn(3, 256, 1176, device=dev, dtype=dt), torch.randint(
        0, 150000, (1, args.text), device=dev
    )
    state, noise = torch.randn(1, 75, device=dev, dtype=dt), torch.randn(1, 50, 75, device=dev, dtype=dt)
    out = {}
    prefix = step = None
    for n in args.steps:
        p = Peer(w, SPEC_4B, n, text=args.text, valid_text=args.valid)
        out[f"graph_{n}"] = clock(graph(lambda: p.run(images, tokens, state, noise)), 50, 5)
        if prefix is None:
            prefix, step = torch.compile(p.prefix, dynamic=False), torch.compile(p.step, dynamic=False)
            cache = prefix(images, tokens)
            out["compiled_prefix"] = clock(graph(lambda: prefix(images, tokens)))
            out["compiled_step"] = clock(graph(lambda: step(0, cache, state, noise)))

        def whole():  # every step compiled as step 0: the same work, one compilation
            c, a = prefix(images, tokens), noise
            for _ in range(n):
                a = step(0, c, state, a)

        out[f"compiled_graph_{n}"] = clock(graph(whole))
        print(n, {k: round(v["p50"], 3) for k, v in out.items()}, flush=True)
    print(json.dumps(out))
    if args.json:
        json.dump(
            dict(gpu=torch.cuda.get_device_name(), torch=torch.__version__, ms=out), open(args.json, "w"), indent=1
        )


if __name__ == "__main__":
    main()
