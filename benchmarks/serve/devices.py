#!/usr/bin/env python3
"""How many requests a second one `nervus serve` answers on several devices against one, and with calls that sessions
share against none.

    devices.py --nervus build-devices/cli/nervus --checkpoint DIR [--devices cuda:0,cuda:1] [--max-batch 4]
               [--sessions N] [--rounds 6] [--seconds 10] [--json benchmarks/results/serve_devices.json]
               [-- SERVE OPTION...]

Servers of every arm run side by side; the arms take turns (A B A B), so that a machine that slows down slows all. Each
session has one request under way and sends the next when its reply is there: three images of 224 x 224 that
nobody sent before, and a seed of its own. A session is a process. Only the standard library is needed.

arms  one        the first device, a request a call
      all        every device, a request a call
      one_shared the first device, up to --max-batch requests a call (not with --max-batch 1)
      all_shared every device, likewise

A build for it where there are only the CUDA toolkit, g++, CMake and Ninja or make; FOLDER holds what
`benchmarks/serve/headers.sh FOLDER` gathers on a machine that has nervus's packages (13 MB; 1.2 MB packed):

    cmake -S . -B build-devices -DNERVUS_COMMIT=COMMIT -DNERVUS_CUDA=ON -DNERVUS_CUDA_ARCHITECTURES=90a \\
        -DNERVUS_ENGINE_ONLY=ON -DNERVUS_SERVE=ON -DNERVUS_TOKENIZER=ON -DNERVUS_TESTS=OFF -DNERVUS_BENCHMARKS=OFF \\
        -DCMAKE_PREFIX_PATH=FOLDER
    cmake --build build-devices --target nervus_cli --parallel
    build-devices/cli/nervus synth --preset lingbot-vla-4b --seed 1 --outliers --dtype bf16 --out lingbot-vla-4b
    python3 benchmarks/serve/devices.py --nervus build-devices/cli/nervus --checkpoint lingbot-vla-4b \\
        --devices cuda:0,cuda:1 --json benchmarks/results/serve_devices.json -- --precision bf16 --steps 10
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

from soak import Server
from wire import Session, machine, observation, percentile, random_image

JOINTS = 14
CAMERAS = ["cam_high", "cam_left_wrist", "cam_right_wrist"]


def driver():
    """The NVIDIA driver and its devices; nothing where there is none."""
    try:
        shown = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version,clocks.sm,clocks.max.sm",
                                "--format=csv,noheader"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    fields = ("name", "driver", "clock", "largest_clock")
    return [dict(zip(fields, line.split(", "))) for line in shown.splitlines()]


def fresh_request():
    return observation(CAMERAS, JOINTS, 224, random_image, seed=int.from_bytes(os.urandom(4), "big"))


def drive(port, begin, seconds, results):
    """One session, in a process of its own: when each request was sent and answered, or what went wrong."""
    session, answered, request = Session(port), [], fresh_request()
    begin.wait()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        asked = time.perf_counter()
        session.send(request)
        request = fresh_request()  # while the server computes
        opcode, reply = session.receive()
        answered.append((asked, time.perf_counter()))
        if opcode != 2:
            results.put(reply.decode())
            return
    session.close()
    results.put(answered)


def replica_counts(server):
    return {label: float(count) for label, count in re.findall(
        r'^nervus_replica_requests_total\{replica="(\d+)"\} (\S+)$', server.get("/metrics"), re.MULTILINE)}


def measure(server, sessions, seconds):
    """What the sessions saw of one server within one turn."""
    before, calls = replica_counts(server), server.metric("nervus_batch_size_count")
    begin, results = multiprocessing.Barrier(sessions), multiprocessing.Queue()
    processes = [multiprocessing.Process(target=drive, args=(server.port, begin, seconds, results))
                 for _ in range(sessions)]
    for process in processes:
        process.start()
    answers = [results.get(timeout=seconds + 120) for _ in processes]
    for process in processes:
        process.join()
    for answer in answers:
        if isinstance(answer, str):
            raise AssertionError(f"expected actions, found {answer}")
    return {"answers": answers, "calls": server.metric("nervus_batch_size_count") - calls,
            "replicas": {label: count - before.get(label, 0) for label, count in replica_counts(server).items()}}


def rate(answers):
    """Requests a second while every session was asking: without the beginning and the end of the turn."""
    began = max(answer[0][1] for answer in answers)
    ended = min(answer[-1][0] for answer in answers)
    if ended <= began:
        raise AssertionError("a turn is too short for some sessions to get two answers: take more --seconds")
    return sum(began < replied <= ended for answer in answers for _, replied in answer) / (ended - began)


def summary(turns):
    took = [[1e3 * (replied - asked) for asked, replied in answer] for turn in turns for answer in turn["answers"]]
    rates = [rate(turn["answers"]) for turn in turns]
    every, calls = sum(took, []), sum(turn["calls"] for turn in turns)
    counts = {label: sum(turn["replicas"][label] for turn in turns) for label in turns[0]["replicas"]}
    return {"requests": len(every), "requests_per_second": statistics.median(rates),
            "requests_per_second_by_round": rates, "calls": calls, "requests_per_call": len(every) / calls,
            "p50_ms": percentile(every, 0.5), "p99_ms": percentile(every, 0.99), "max_ms": max(every),
            # Of each session in each turn, so that one which starves is seen.
            "session_p99_ms": {"least": min(percentile(each, 0.99) for each in took),
                               "most": max(percentile(each, 0.99) for each in took)},
            "requests_by_replica": counts}


def ratios(rounds, over, under):
    """Of two arms in the same round."""
    values = [rate(a["answers"]) / rate(b["answers"]) for a, b in zip(rounds[over], rounds[under])]
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def arms_of(options):
    first = options.devices.split(",")[0]
    arms = {"one": (first, 1), "all": (options.devices, 1)}
    if options.max_batch > 1:
        arms |= {"one_shared": (first, options.max_batch), "all_shared": (options.devices, options.max_batch)}
    return arms


def run(options, arms, checkpoint):
    """The turns of every arm, and what the servers say of themselves."""
    servers, rounds = {}, {name: [] for name in arms}
    try:
        for name, (devices, most) in arms.items():
            servers[name] = Server(options.nervus, checkpoint, "--device", devices, "--max-batch", str(most),
                                   "--max-waiting", str(options.sessions), *options.serve)
            print(f"{name}: {devices}, up to {most} a call, is ready", file=sys.stderr, flush=True)
        policy = json.loads(servers["all"].get("/status"))["policy"]
        for server in servers.values():
            measure(server, options.sessions, options.seconds / 4)
        for turn in range(options.rounds):
            for name, server in servers.items():
                rounds[name].append(measure(server, options.sessions, options.seconds))
                print(f"round {turn + 1}, {name}: {rate(rounds[name][-1]['answers']):.2f} requests a second",
                      file=sys.stderr, flush=True)
    finally:
        for server in servers.values():
            server.terminate()
    return rounds, policy


def main():
    words, serve = sys.argv[1:], []
    if "--" in words:
        words, serve = words[:words.index("--")], words[words.index("--") + 1:]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nervus", required=True)
    parser.add_argument("--checkpoint", help="default: a tiny one of random weights")
    parser.add_argument("--devices", default="cuda:0,cuda:1")
    parser.add_argument("--max-batch", type=int, default=4)
    parser.add_argument("--sessions", type=int, help="default: three times what the devices compute at once")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=10, help="of one arm's turn")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args(words)
    options.serve = serve
    options.sessions = options.sessions or 3 * len(options.devices.split(",")) * options.max_batch
    arms = arms_of(options)
    with tempfile.TemporaryDirectory() as directory:
        checkpoint = options.checkpoint
        if not checkpoint:
            checkpoint = str(pathlib.Path(directory) / "tiny")
            subprocess.run([options.nervus, "synth", "--preset", "tiny", "--seed", "1", "--out", checkpoint, "--quiet"],
                           check=True, stdout=subprocess.DEVNULL)
        gpus = driver()
        rounds, policy = run(options, arms, checkpoint)
    version = subprocess.run([options.nervus, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    results = {"what": "requests a second of one server, sessions that each have one request under way, three fresh "
                       "images of 224 x 224 each", "nervus_version": version, "machine": machine(), "gpus": gpus,
               "policy": policy, "serve_options": serve,
               "checkpoint": pathlib.Path(checkpoint).name, "sessions": options.sessions, "rounds": options.rounds,
               "seconds": options.seconds,
               "arms": {name: {"devices": devices, "max_batch": most, **summary(rounds[name])}
                        for name, (devices, most) in arms.items()},
               "ratios": {"all_over_one": ratios(rounds, "all", "one")}}
    if options.max_batch > 1:
        for name, over, under in (("all_over_one_shared", "all_shared", "one_shared"),
                                  ("shared_over_alone_on_one", "one_shared", "one"),
                                  ("shared_over_alone_on_all", "all_shared", "all")):
            results["ratios"][name] = ratios(rounds, over, under)
    for name, shown in results["arms"].items():
        print(f"{name:12} {shown['requests_per_second']:8.2f} requests a second  p50 {shown['p50_ms']:.2f}  "
              f"p99 {shown['p99_ms']:.2f} ms  {shown['requests_per_call']:.2f} a call  {shown['requests_by_replica']}")
    for name, shown in results["ratios"].items():
        print(f"{name:26} {shown['median']:.3f} ({shown['least']:.3f} to {shown['most']:.3f})")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
