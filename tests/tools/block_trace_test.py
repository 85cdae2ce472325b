#!/usr/bin/env python3
"""What benchmarks/block_trace.py makes of a trace whose times are known."""
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "benchmarks"))
import block_trace


def launch(kernel, *blocks):
    return {"kernel": kernel, "blocks": [list(block) for block in blocks]}


# Nanoseconds. A first pass, a pause, then a graph of three kernels, of which the second has two blocks on
# multiprocessor 7; written in another order, with a launch that never ran.
FIRST_PASS = [launch("qkv", (0, 0, 10, 20)), launch("attention", (0, 30, 40, 50))]
GRAPH = [
    launch("qkv", (0, 1_000_000, 1_000_400, 1_002_000), (1, 1_000_000, 1_000_400, 1_001_000)),
    launch("attention", (7, 1_001_500, 1_002_500, 1_005_000), (7, 1_001_700, 1_002_500, 1_006_000),
           (8, 1_001_600, 1_002_600, 1_004_000)),
    launch("qkv", (3, 1_005_000, 1_006_500, 1_008_000)),
]
NEVER = launch("down")


class BlockTrace(unittest.TestCase):
    def read(self, launches):
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            file.write("".join(json.dumps(one) + "\n" for one in launches))
            file.flush()
            return block_trace.launches_of(file.name)

    def test_the_last_graph_alone_in_the_order_of_time(self):
        launches = self.read([GRAPH[2], NEVER, *FIRST_PASS, GRAPH[1], GRAPH[0]])
        self.assertEqual([kernel for kernel, _ in launches], ["qkv", "attention", "qkv"])

    def test_times_count_from_the_last_end_of_the_kernel_before(self):
        found = block_trace.summary(self.read(GRAPH))
        self.assertEqual(found["attention"], {"launches": 1, "blocks": 3, "multiprocessors": 2, "begins": -0.4,
                                              "free": 0.5, "ends": 3.0, "last": 4.0})
        self.assertEqual(found["qkv"]["begins"], -1.0)  # the first has no kernel before it
        self.assertEqual(found["qkv"]["last"], 2.0)

    def test_medians_over_launches(self):
        later = [launch("attention", (5, t, t + 1_000, t + last)) for t, last in
                 ((1_010_000, 2_000), (1_020_000, 4_000), (1_030_000, 9_000))]
        found = block_trace.summary(self.read([GRAPH[0], *later]))
        self.assertEqual(found["attention"]["launches"], 3)
        # from 1,002 begins at 8, from 1,012 at 8, from 1,024 at 6
        self.assertEqual(found["attention"]["begins"], 8.0)
        self.assertEqual(found["attention"]["last"], 12.0)

    def test_nothing_to_summarise(self):
        self.assertEqual(block_trace.summary(self.read([NEVER])), {})


if __name__ == "__main__":
    unittest.main()
