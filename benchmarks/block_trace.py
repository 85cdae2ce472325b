#!/usr/bin/env python3
"""Where the blocks of the expert's and the wide kernels run, and when, from what a build with NERVUS_TRACE has noted:

    scripts/build.sh build-trace bench_block -DNERVUS_CUDA=ON -DNERVUS_ENGINE_ONLY=ON -DNERVUS_TRACE=trace.jsonl
    build-trace/benchmarks/ops/bench_block --e4m3 2 --only 1 --parts 0      which leaves trace.jsonl; or
    build-trace/benchmarks/cuda/bench_layers 1 prefix f8_e4m3
    benchmarks/block_trace.py trace.jsonl [--json FILE]

Of each kernel of the last graph the medians over its launches, in microseconds from the last end of the kernel before:
when its median block begins, is free of the dependency wait and ends, and when its last block ends. Small ops beside
norms and attention and the library's products leave nothing, so that what follows one counts from before it. Blocks
that share a multiprocessor with one of their own kernel end late. The program itself prints what noting costs: a step
on an H200 451 us instead of 445.
"""

import argparse
import json
import statistics

PAUSE = 50_000  # ns between the launches of a graph and what ran before it


def launches_of(path):
    """[(kernel, blocks)] of the last graph, in the order in which they began; a block is (sm, begun, free, ended)."""
    launches = []
    with open(path) as lines:
        for line in lines:
            launch = json.loads(line)
            if launch["blocks"]:
                launches.append((launch["kernel"], launch["blocks"]))
    launches.sort(key=lambda launch: min(block[1] for block in launch[1]))
    first = 0
    for i in range(1, len(launches)):
        if min(b[1] for b in launches[i][1]) - max(b[3] for b in launches[i - 1][1]) > PAUSE:
            first = i
    return launches[first:]


def summary(launches):
    """Of each kernel: blocks, multiprocessors, and the four times in microseconds."""
    found = {}
    for (_, before), (kernel, blocks) in zip(launches, launches[1:]):
        since = max(block[3] for block in before)
        found.setdefault(kernel, []).append(
            {
                "blocks": len(blocks),
                "multiprocessors": len({block[0] for block in blocks}),
                "begins": (statistics.median(block[1] for block in blocks) - since) / 1e3,
                "free": (statistics.median(block[2] for block in blocks) - since) / 1e3,
                "ends": (statistics.median(block[3] for block in blocks) - since) / 1e3,
                "last": (max(block[3] for block in blocks) - since) / 1e3,
            }
        )
    return {
        kernel: {"launches": len(all_of), **{key: statistics.median(one[key] for one in all_of) for key in all_of[0]}}
        for kernel, all_of in found.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("trace", help="the file that the build's NERVUS_TRACE names")
    parser.add_argument("--json", help="the same numbers into this file")
    options = parser.parse_args()
    kernels = summary(launches_of(options.trace))
    if not kernels:
        parser.error(f"{options.trace}: expected two launches or more: is it of a build with NERVUS_TRACE?")
    print(f"{'kernel':16}{'launches':>9}{'blocks':>8}{'on':>6}{'begins':>9}{'free':>7}{'ends':>7}{'last':>7}")
    for kernel, k in kernels.items():
        print(
            f"{kernel:16}{k['launches']:9}{k['blocks']:8.0f}{k['multiprocessors']:6.0f}"
            f"{k['begins']:9.2f}{k['free']:7.2f}{k['ends']:7.2f}{k['last']:7.2f}"
        )
    if options.json:
        with open(options.json, "w") as file:
            json.dump(kernels, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
