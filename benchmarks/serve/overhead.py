#!/usr/bin/env python3
"""What a policy server adds to its policy, on loopback, with three images of 224 x 224: nervus and openpi's own server.

    overhead.py --instant build/benchmarks/serve/serve_instant --nervus build/cli/nervus --python PYTHON
                [--rounds 8] [--requests 500] [--json FILE]

PYTHON has openpi-server and openpi-client (PyPI). Both servers serve a policy that returns at once, so that a round
trip, from the request's first byte to the reply's last, is the server and the loopback. They take turns (A B A B), so
that a machine that slows down slows both. The client is this file's own for both, and asks at 100 Hz at most.

Also of `nervus serve` with a tiny policy: the round trip without what the engine reports as its own time.
"""

import argparse
import json
import pathlib
import struct
import subprocess
import tempfile
import time

from wire import Ended, Session, machine, observation, percentile

REQUEST = observation(["cam_high", "cam_left_wrist", "cam_right_wrist"], 14, 224)


PACKAGES = """
from importlib.metadata import version
packages = ("openpi-server", "openpi-client", "websockets", "msgpack", "numpy")
print(*(f"{package} {version(package)}" for package in packages), sep=", ")
"""


def output_of(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def started(command):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    text = b""
    while not text.rstrip().endswith(b"}"):
        more = process.stdout.read1(1 << 16)
        assert more, f"{command[0]} did not start"
        text += more
    return process, json.loads(text)["port"]


def connected(port):
    for _ in range(200):
        try:
            return Session(port)
        except (OSError, Ended):
            time.sleep(0.05)
    raise AssertionError("the server does not listen after 10 s")


def engine_ms(reply):
    """What the engine says that its call took."""
    at = reply.index(b"\xa8total_ms\xcb") + 10
    return struct.unpack(">d", reply[at:at + 8])[0]


def round_trips(session, requests, without_engine=False):
    took = []
    for _ in range(requests):
        began = time.perf_counter()
        opcode, reply = session.ask(REQUEST)
        milliseconds = 1e3 * (time.perf_counter() - began)
        assert opcode == 2, reply
        took.append(milliseconds - (engine_ms(reply) if without_engine else 0))
        time.sleep(max(0.0, 0.01 - milliseconds / 1e3))
    return took


def summary(rounds):
    every = sum(rounds, [])
    return {"requests": len(every), "p50_ms": percentile(every, 0.5), "p95_ms": percentile(every, 0.95),
            "p99_ms": percentile(every, 0.99), "max_ms": max(every),
            "p99_ms_by_round": [percentile(each, 0.99) for each in rounds]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--instant", "--nervus", "--python"):
        parser.add_argument(name, required=True)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    here = pathlib.Path(__file__).resolve().parent
    packages = output_of(arguments.python, "-c", PACKAGES)
    version = output_of(arguments.nervus, "--version")
    processes = []
    with tempfile.TemporaryDirectory() as directory:
        tiny = str(pathlib.Path(directory) / "tiny")
        output_of(arguments.nervus, "synth", "--preset", "tiny", "--seed", "1", "--out", tiny, "--quiet")
        serve = [arguments.nervus, "serve", "--checkpoint", tiny, "--port", "0", "--json", "--quiet", "--steps", "1"]
        commands = {"nervus": [arguments.instant], "openpi_python": [arguments.python, here / "openpi_instant.py"],
                    "nervus_tiny_without_engine": serve}
        try:
            sessions, rounds = {}, {name: [] for name in commands}
            for name, command in commands.items():
                process, port = started(command)
                processes.append(process)
                sessions[name] = connected(port)
                round_trips(sessions[name], 50)
            for _ in range(arguments.rounds):
                for name, session in sessions.items():
                    engine = name == "nervus_tiny_without_engine"
                    rounds[name].append(round_trips(session, arguments.requests // (5 if engine else 1), engine))
        finally:
            for process in processes:
                process.kill()
                process.wait()
    results = {"what": "round trips over loopback, three images of 224 x 224, a policy that returns at once",
               "nervus_version": version, "python_packages": packages, "machine": machine(),
               "request_bytes": len(REQUEST), "rounds": arguments.rounds,
               **{name: summary(each) for name, each in rounds.items()}}
    for name in commands:
        shown = results[name]
        print(f"{name:28} p50 {shown['p50_ms']:.3f}  p95 {shown['p95_ms']:.3f}  p99 {shown['p99_ms']:.3f}  "
              f"max {shown['max_ms']:.3f} ms")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
