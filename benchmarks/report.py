#!/usr/bin/env python3
"""Writes the tables of README.md and docs/performance.md from benchmarks/results/*.json.

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


def gpu_totals():
    run = load("gpu_h200.json")
    nervus, peer = run["nervus"], run["peer"]
    rows = []
    for result in nervus["results"]:
        total = result["latency_ms"]["total"]
        other = peer["ms"].get(f"compiled_graph_{result['steps']}")
        rows.append([str(result["steps"])] + [f"{total[p]:.2f} ms" for p in ("p50", "p95", "p99", "max")] +
                    [f"{other['p50']:.2f} ms" if other else ""])
    return (f"{run['what']}, {nervus['precision']}, {nervus['runs']} calls on {nervus['device']}, "
            f"driver {run['driver']}:\n\n" +
            table(["steps", "p50", "p95", "p99", "max", f"PyTorch {peer['torch']}, p50"], rows) +
            f"\n\nPyTorch is {peer['what'].removeprefix('PyTorch, ')} (`benchmarks/gpu_peer.py`), timed in the same "
            f"session. Commit {nervus['commit']}.")


def gpu_stages():
    floors = {"vision": 1.25, "prefix": 1.65}  # ms: FLOPs at 790 TFLOP/s
    step = 0.165                               # ms: bytes of the expert's weights at 4.3 TB/s
    rows = []
    for result in load("gpu_h200.json")["nervus"]["results"]:
        for stage, latency in sorted(result["latency_ms"].items()):
            floor = step * result["steps"] if stage == "denoise" else floors.get(stage)
            rows.append([str(result["steps"]), stage] + [f"{latency[p]:.2f} ms" for p in ("p50", "p99")] +
                        ([f"{floor:.2f} ms", f"{latency['p50'] / floor:.1f}"] if floor else ["", ""]))
    return table(["steps", "stage", "p50", "p99", "floor", "times the floor"], rows)


def main():
    tables = {"gpu": gpu_totals, "gpu_stages": gpu_stages, "table": first_screen,
              "stages": stages, "linears": linears, "attention": attention}
    stale = []
    for path in (repository / "README.md", repository / "docs" / "performance.md"):
        before = text = path.read_text()
        for name, make in tables.items():
            pattern = re.compile(f"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.S)
            if pattern.search(text):
                body = make()
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
