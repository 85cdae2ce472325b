#!/usr/bin/env python3
"""Writes the tables of README.md and of docs/, pages performance, client and serving, from benchmarks/results/*.json.

    python3 benchmarks/report.py [--check]

Each table stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->`; --check only says whether they are up to date.
"""
import json
import pathlib
import re
import statistics
import sys

repository = pathlib.Path(__file__).resolve().parent.parent
results = repository / "benchmarks" / "results"


def load(name):
    return json.loads((results / name).read_text())


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def seconds(milliseconds):
    return f"{milliseconds / 1e3:.2f} s"


def pooled(reports, stage):
    """Median over the rounds of p50, and the worst of p99."""
    stages = [report["results"][0]["latency_ms"][stage] for report in reports]
    return statistics.median(s["p50"] for s in stages), max(s["p99"] for s in stages)


def first_screen():
    peer = load("cpu_peer.json")
    p50, p99 = pooled(peer["nervus_reports"], "total")
    commit = peer["nervus_reports"][0]["commit"]
    rows = [["nervus, bf16", seconds(p50), seconds(p99)],
            [f"PyTorch {peer['torch']}, bf16, the reference page", seconds(peer["torch_median_ms"]),
             seconds(max(peer["torch_ms"]))]]
    return (f"LingBot-VLA-4B on {peer['threads']} cores of an {peer['processor']} (no GPU), 3 views of 224 x 224, "
            "10 Euler steps, both in one run:\n\n" + table(["", "p50", "p99"], rows) +
            f"\n\nnervus takes {peer['ratio']:.2f} of PyTorch's time; cosine of the two chunks of actions "
            f"{peer['cosine_of_actions']:.5f}. Commit {commit}; `benchmarks/torch_peer.py` makes it.")


def stages():
    reports = load("cpu_peer.json")["nervus_reports"]
    peak = max(report.get("peak_flops") or report["policies"][0]["peak_flops"] for report in reports)
    linears = reports[-1]["results"][0]["linears"]
    rows = []
    for stage in ("preprocess", "vision", "prefix", "denoise", "postprocess", "total"):
        p50, p99 = pooled(reports, stage)
        flops = sum(l["flops"] for l in linears if stage in (l["stage"], "total"))
        floor = 1e3 * flops / peak
        rows.append([stage, f"{p50:.1f} ms", f"{p99:.1f} ms", f"{flops / 1e9:.0f} GFLOP" if flops else "",
                     f"{floor:.0f} ms" if flops else "", f"{100 * floor / p50:.0f} %" if flops else ""])
    return (f"Matrix rate of the two cores in bf16: {peak / 1e9:.0f} GFLOP/s (oneDNN's best large product, same run)."
            "\n\n" + table(["stage", "p50", "p99", "linears", "floor at that rate", "share"], rows))


def linears():
    rows = []
    for row in load("cpu_ops.json"):
        if row.get("bare_onednn_p50_ms", 0) <= 0:
            continue
        rows.append([row["shape"], row["precision"], f"{row['p50_ms']:.2f} ms",
                     f"{row['flops'] / row['p50_ms'] / 1e6:.0f} GFLOP/s",
                     f"{100 * row['bare_onednn_p50_ms'] / row['p50_ms']:.0f} %"])
    return table(["rows x inputs x outputs", "format", "p50", "rate", "of bare oneDNN"], rows)


def attention():
    rows = [[row["shape"], row["precision"], f"{row['p50_ms']:.2f} ms",
             f"{row['flops'] / row['p50_ms'] / 1e6:.0f} GFLOP/s"]
            for row in load("cpu_ops.json") if row["op"] == "attention"]
    return table(["attention", "format", "p50", "rate"], rows)


def gpu():
    """What benchmarks/gpu.sh measured last on an H200."""
    return load("gpu_h200.json")


def name_of(result):
    """"bf16", "bf16, plain attention", "fp8, recipe mixed"."""
    return (result["precision"] + (f", recipe {result['recipe']}" if result.get("recipe") else "") +
            ("" if result["attention"] == "auto" else f", {result['attention']} attention"))


def gpu_bench(what, part="bench", mixed="mixed"):
    """The "results" or "policies" of a part of the run, then of the one with the recipe "mixed"."""
    run = gpu()
    return run[part][what] + [{**entry, "recipe": "mixed"} for entry in run.get(mixed, {}).get(what, [])]


def cells(latency, percentiles):
    return [f"{latency[p]:.2f} ms" if p in latency else "" for p in percentiles]


def is_plain(result):
    """A call of patches, all of it."""
    return not result["kept_prefix"] and result.get("images", "patches") == "patches"


def gpu_totals():
    run = gpu()
    bench, peer = run["bench"], run["peer"]
    inputs, rows = bench["inputs"], []
    for result in gpu_bench("results"):
        if not is_plain(result):
            continue
        other = peer["ms"].get(f"compiled_graph_{result['steps']}")
        rows.append([name_of(result), str(result["steps"])] +
                    cells(result["latency_ms"]["total"], ("p50", "p95", "p99", "p99.9", "max")) +
                    [f"{other['p50']:.2f} ms" if other else ""])
    return (f"LingBot-VLA-4B, batch {inputs['batch']}, {inputs['views']} views, {inputs['text_tokens']} text tokens of "
            f"which {inputs['valid_tokens']} count, host to host, fresh {inputs['fresh']} each call, "
            f"{bench['runs']} calls on {bench['device']}, driver {bench['device_state']['driver']}:\n\n" +
            table(["precision", "steps", "p50", "p95", "p99", "p99.9", "max", f"PyTorch {peer['torch']}, bf16, p50"],
                  rows) +
            "\n\nPyTorch is torch.compile, one CUDA graph, inputs on the device (`benchmarks/gpu_peer.py`), timed " +
            ("in the same run" if "commit" not in peer else "on another day on a GPU of this kind") +
            f". Commit {bench['commit']}.")


def gpu_stages():
    """What the stages of each precision take, and what their linears need at the measured peaks; of step counts beyond
    the least, the stages that depend on it."""
    assumed = {"vision": 1.25, "prefix": 1.65}  # ms: FLOPs at 790 TFLOP/s, where the run measured no peaks
    step = 0.165                                # ms: bytes of the expert's weights at 4.3 TB/s
    rows = []
    results = gpu_bench("results")
    least = min(result["steps"] for result in results)
    for result in results:
        for stage in ("preprocess", "vision", "prefix", "denoise", "postprocess", "total"):
            latency = result["latency_ms"].get(stage)
            if latency is None or (result["steps"] > least and stage not in ("denoise", "total")):
                continue
            peaks = result.get("peaks", {}).get(stage, {})
            floor = peaks.get("floor_ms")
            if floor is None and result["precision"] == "bf16":
                floor = step * result["steps"] if stage == "denoise" else assumed.get(stage)
            rate = ""
            if peaks:
                rate = (f"{peaks['flops_per_second'] / 1e12:.0f} TFLOP/s" if peaks["bound"] == "products" else
                        f"{peaks['bytes_per_second'] / 1e12:.2f} TB/s")
            kept = ", kept prefix" if result["kept_prefix"] else ""
            rows.append([name_of(result), str(result["steps"]) + kept, stage] + cells(latency, ("p50", "p99")) +
                        ([f"{floor:.2f} ms", f"{latency['p50'] / floor:.1f}"] if floor else ["", ""]) + [rate])
    return table(["precision", "steps", "stage", "p50", "p99", "floor", "times the floor", "reached"], rows)


def gpu_accuracy():
    """Nothing, which leaves what stands there, where the run had no reference."""
    rows = []
    for policy in gpu_bench("policies"):
        for what, found in policy.get("accuracy", {}).items():
            if what == "seeds":
                continue
            joints = found.get("joints", [])
            rows.append([name_of(policy), what, f"{found['cosine']:.6f}", f"{100 * found['relative_error']:.2f} %"] +
                        ([f"{max(j['mean'] for j in joints):.4f}", f"{max(j['worst'] for j in joints):.4f}"]
                         if joints else ["", ""]))
    if not rows:
        return None
    return table(["precision", "what", "cosine", "largest error", "mean error of the worst joint",
                  "worst of any joint"], rows)


def gpu_kept():
    """Calls that keep images and text, beside whole ones of the same run."""
    rows = [[name_of(result), str(result["steps"]), "kept" if result["kept_prefix"] else "computed"] +
            cells(result["latency_ms"]["total"], ("p50", "p95", "p99", "max")) for result in gpu()["kept"]["results"]]
    return table(["precision", "steps", "vision and prefix", "p50", "p95", "p99", "max"], rows)


def gpu_pixels():
    """Calls of pixels beside those of patches of the same run, or nothing where none was measured."""
    run = gpu()
    if "pixels" not in run:
        return None
    rows = [[name_of(result), str(run[part]["inputs"]["batch"]), result["images"]] +
            cells(result["latency_ms"]["preprocess"], ("p50", "p99")) +
            cells(result["latency_ms"]["total"], ("p50", "p95", "p99", "max"))
            for part in ("pixels", "pixels_batch") if part in run for result in run[part]["results"]]
    return table(["precision", "batch", "images", "preprocess, p50", "p99", "total, p50", "p95", "p99", "max"], rows)


def gpu_batch():
    """Calls of several samples beside the run's of one, or nothing where none was measured."""
    run = gpu()
    alone = {(name_of(r), r["steps"]): r["latency_ms"]["total"]["p50"]
             for r in gpu_bench("results") if is_plain(r)}
    rows = []
    for samples in (2, 3, 8):
        part = f"batch_{samples}"
        if part not in run:
            continue
        for result in gpu_bench("results", part, part + "_mixed"):
            total = result["latency_ms"]["total"]
            one = alone.get((name_of(result), result["steps"]))
            rows.append([str(samples), name_of(result), str(result["steps"])] + cells(total, ("p50", "p99")) +
                        [f"{total['p50'] / one:.2f}" if one else "", f"{total['p50'] / samples:.2f} ms"])
    return table(["samples", "precision", "steps", "p50", "p99", "times one", "a sample"], rows) if rows else None


def formats():
    """What 8 bits cost in accuracy: by part and format, then the candidates for recipes."""
    found = load("format_error_h200.json")["recipes"]
    parts = ("vision", "language", "vision+language", "expert", "all")
    rules = [rule for rule in ("bf16", "int8", "int8_smooth", "e4m3_dynamic", "e4m3_static", "e4m3_weights")
             if all(f"{part} {rule}" in found for part in parts)]
    by_part = table(["format of every linear", *parts],
                    [[rule] + [f"{found[f'{part} {rule}']['actions.10']:.6f}" for part in parts] for rule in rules])
    kinds = table(["e4m3_static in one kind of linear", "vision", "language", "expert"],
                  [[kind] + [f"{found[f'{part} {kind} e4m3_static']['actions.10']:.6f}"
                             for part in ("vision", "language", "expert")]
                   for kind in ("qkv", "out", "gate_up", "down")])
    mixes = table(["candidate", "keys and values", "actions, 10 steps", "25", "50"],
                  [[name.removeprefix("mix: "), f"{row['keys_and_values']:.4f}"] +
                   [f"{row[f'actions.{steps}']:.6f}" for steps in (10, 25, 50)]
                   for name, row in found.items() if name.startswith("mix: ")])
    return "\n\n".join((by_part, kinds, mixes))


def devices():
    """Requests a second of one server on one device and on several, alone and shared."""
    found = load("serve_devices.json")
    rows = [[arm["devices"], str(arm["max_batch"]), f"{arm['requests_per_second']:.1f}",
             f"{arm['requests_per_call']:.2f}", f"{arm['p50_ms']:.0f} ms", f"{arm['p99_ms']:.0f} ms",
             ", ".join(f"{count:.0f}" for count in arm["requests_by_replica"].values())]
            for arm in found["arms"].values()]
    ratios = found["ratios"]
    shown = table(["devices", "--max-batch", "requests a second", "requests a call", "p50", "p99", "by device"], rows)
    return (f"{shown}\n\nTwo devices over one: {ratios['all_over_one']['median']:.3f} of the requests a second "
            f"(least and most of {found['rounds']} rounds: {ratios['all_over_one']['least']:.3f}, "
            f"{ratios['all_over_one']['most']:.3f}), shared {ratios['all_over_one_shared']['median']:.3f}; "
            f"up to {max(arm['max_batch'] for arm in found['arms'].values())} a call over one a call: "
            f"{ratios['shared_over_alone_on_one']['median']:.3f}.")


def chunks():
    """Jumps where one chunk of actions follows another."""
    rows = [[way["way"], way["what"], f"{1e3 * way['max_rad']:.1f} mrad", f"{1e3 * way['rms_rad']:.1f} mrad",
             f"{100 * way['standing_commands'] / way['commands']:.1f} %"] for way in load("chunks.json")["ways"]]
    return table(["", "the next chunk", "largest jump", "RMS", "time without an action"], rows)


def images():
    rows = []
    for size in load("images.json")["sizes"]:
        for part in ("resize", "patches"):
            ours, peer = size["nervus"][part], size["pillow"][part]
            rows.append([f"{size['width']} x {size['height']}", part, f"{ours['p50_ms']:.2f} ms",
                         f"{ours['p99_ms']:.2f} ms", f"{peer['p50_ms']:.2f} ms",
                         f"{peer['p50_ms'] / ours['p50_ms']:.1f}"])
    return table(["frame", "to 224 x 224", "p50", "p99", "Pillow, numpy", "times"], rows)


def main():
    tables = {"gpu": gpu_totals, "gpu_stages": gpu_stages, "gpu_accuracy": gpu_accuracy, "gpu_batch": gpu_batch,
              "gpu_kept": gpu_kept, "gpu_pixels": gpu_pixels, "devices": devices,
              "formats": formats, "table": first_screen, "stages": stages, "linears": linears,
              "attention": attention, "images": images, "chunks": chunks}
    stale = []
    for path in (repository / "README.md", *(repository / "docs" / f"{page}.md"
                                             for page in ("performance", "client", "serving"))):
        before = text = path.read_text()
        for name, make in tables.items():
            pattern = re.compile(f"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.S)
            if pattern.search(text):
                body = make()
                if body is None:
                    continue
                text = pattern.sub(lambda match, body=body: match[1] + body + "\n" + match[2], text)
        if text != before:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(text)
    verdict = "stale" if "--check" in sys.argv else "written"
    print(f"report: {', '.join(stale)}: {verdict}" if stale else "report: up to date")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
