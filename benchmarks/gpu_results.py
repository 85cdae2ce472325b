#!/usr/bin/env python3
"""Puts what benchmarks/gpu.sh measured into one file.

    python3 benchmarks/gpu_results.py PARTS FILE

PARTS holds bench.json, peer.json and the like, and step_NAME.json of each step that ran. Each becomes a key
of FILE; keys that are not among them stay, so that several calls fill one file. nervus's documents name machine,
commit, driver and clocks themselves.
"""

import json
import pathlib
import sys


def merge(parts, before):
    merged = dict(before)
    for path in sorted(parts.glob("*.json")):
        part = json.loads(path.read_text())
        if path.stem.startswith("step_"):
            merged.setdefault("steps", {})[path.stem.removeprefix("step_")] = part
        else:
            merged[path.stem] = part
    return merged


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    parts, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    before = json.loads(target.read_text()) if target.exists() else {}
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(merge(parts, before), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
