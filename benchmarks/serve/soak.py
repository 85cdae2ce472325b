#!/usr/bin/env python3
"""What `nervus serve` withstands, on loopback: many clients, connections, restarts, and peers that misbehave.

    soak.py --nervus build/cli/nervus [--json FILE] [--only NAME]... [--short]

drain        a call that takes longer than the drain: its robot is told, the program ends
clients      64 robots at once: each request has one reply, in order
connections  100,000 connects and closes of five kinds: memory and descriptors of the server before, during and after
overload     more robots than places to wait: how soon the others are refused
peers        a healthy robot's p99 alone and beside slow, half-open and zero-window peers, in turns
restarts     1,000 times SIGTERM under load: no request without a reply, a refusal or a close; how long each drain takes

The policy is tiny and of random weights. --short is a minute of the same for ctest. Ends with 1 where a promise is
broken; timings are reported, and break none but the drain's 30 s.
"""

import argparse
import json
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from wire import Closed, Ended, HANDSHAKE, Session, frame, machine, observation, percentile

FULL = {"clients": 64, "requests": 100, "overload_clients": 16, "overload_requests": 200, "connections": 100_000,
        "rounds": 8, "seconds": 5, "bad_peers": 24, "restarts": 1000, "restart_clients": 8}
SHORT = {"clients": 64, "requests": 2, "overload_clients": 8, "overload_requests": 10, "connections": 600,
         "rounds": 1, "seconds": 1, "bad_peers": 9, "restarts": 3, "restart_clients": 4}


class Server:
    def __init__(self, nervus, checkpoint, *options, port=0):
        flags = ["--max-connections-per-address", "256", "--quiet"]
        self.process = subprocess.Popen(
            [nervus, "serve", "--checkpoint", checkpoint, "--port", str(port), "--json", *flags, *options],
            stdout=subprocess.PIPE)
        line = self.process.stdout.readline() + self.process.stdout.read1(1 << 16)
        while line.count(b"{") != line.count(b"}") or not line.strip():
            more = self.process.stdout.read1(1 << 16)
            if not more:
                raise AssertionError(f"the server did not start: {line!r}")
            line += more
        self.port = json.loads(line)["port"]

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as reply:
            return reply.read().decode()

    def metric(self, name):
        return sum(float(line.split()[-1]) for line in self.get("/metrics").splitlines()
                   if line.startswith((name + " ", name + "{")))

    def terminate(self):
        """Seconds until it ended, with 0."""
        started = time.perf_counter()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self.process.stdout.close()
        assert status == 0, f"the server ended with {status}"
        return time.perf_counter() - started

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            if kind:
                self.process.kill()
                self.process.wait()
            else:
                self.terminate()


def quiet_port():
    """A port that no connection takes by chance, so that the server finds it free each time it starts."""
    ephemeral = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in range(ephemeral - 1, 1024, -1):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no port is free")


def threads(count, work):
    """Runs work(number) at the same time; the first failure is raised."""
    failures = []

    def guarded(number):
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 (whatever a thread meets is the test's affair)
            failures.append(error)

    running = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if failures:
        raise failures[0]


def milliseconds(values):
    return {"count": len(values), "p50": percentile(values, 0.5), "p99": percentile(values, 0.99), "max": max(values)} \
        if values else {"count": 0}


REQUEST = observation(["cam_high"], 14, 32)


def soak_clients(start, sizes):
    """64 robots: every reply is that of the request before it."""
    took = []
    with start("--max-batch", "4", "--max-waiting", "64") as server:
        def robot(number):
            session = Session(server.port)
            for turn in range(sizes["requests"]):
                seed = number * 100_000 + turn
                request = observation(["cam_high"], 14, 32, seed=seed)
                began = time.perf_counter()
                opcode, reply = session.ask(request)
                took.append(1e3 * (time.perf_counter() - began))
                assert opcode == 2, f"robot {number}: {reply!r}"
                at = reply.index(b"\xa4seed") + 5
                found = reply[at] if reply[at] < 128 else int.from_bytes(
                    reply[at + 1:at + 1 + {0xcc: 1, 0xcd: 2, 0xce: 4, 0xcf: 8}[reply[at]]], "big")
                assert found == seed, f"robot {number}: expected the reply to {seed}, found that to {found}"
            session.close()

        threads(sizes["clients"], robot)
        asked = sizes["clients"] * sizes["requests"]
        assert server.metric('nervus_requests_total') == asked, "requests and replies differ"
        calls = server.metric("nervus_batch_size_count")
    return {"clients": sizes["clients"], "requests": asked, "replies": len(took), "calls": calls,
            "reply_ms": milliseconds(took)}


def soak_overload(start, sizes):
    """More robots than places to wait: how soon the others are refused, and that nobody is left without an answer."""
    refused, served = [], []
    with start("--max-batch", "1", "--max-waiting", "2") as server:
        def robot(_):
            session = Session(server.port)
            for _ in range(sizes["overload_requests"]):
                began = time.perf_counter()
                opcode, reply = session.ask(REQUEST)
                took = 1e3 * (time.perf_counter() - began)
                if opcode == 2:
                    served.append(took)
                    continue
                error = json.loads(reply)["error"]
                assert error["code"] == "overloaded" and error["retry_after_ms"] > 0, error
                refused.append(took)
                time.sleep(error["retry_after_ms"] / 1e3)
            session.close()

        threads(sizes["overload_clients"], robot)
    assert refused and served, "expected some to be refused and some to be served"
    return {"clients": sizes["overload_clients"], "served_ms": milliseconds(served),
            "refused_ms": milliseconds(refused)}


def connect_once(port, kind):
    if kind == 0:  # nothing is said
        socket.create_connection(("127.0.0.1", port)).close()
        return
    if kind == 1:  # health, and an orderly end
        peer = socket.create_connection(("127.0.0.1", port))
        peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: robot\r\nConnection: close\r\n\r\n")
        reply = b""
        while more := peer.recv(4096):
            reply += more
        assert reply.startswith(b"HTTP/1.1 200"), reply
        peer.close()
        return
    if kind == 2:  # half a handshake
        peer = socket.create_connection(("127.0.0.1", port))
        peer.sendall(HANDSHAKE[:60])
        peer.close()
        return
    session = Session(port)
    if kind == 3:  # an orderly close
        session.send(b"\x03\xe8", 8)
        try:
            session.receive()
        except Closed:
            session.close()
    else:  # gone in the midst of a message
        session.socket.sendall(frame(REQUEST)[:500])
        session.abort()


def soak_connections(start, sizes):
    """Memory and descriptors of the server stay flat."""
    samples, count = [], sizes["connections"]
    with start() as server:
        def sample(done):
            for _ in range(100):
                if server.metric("nervus_connections") <= 1:  # the one that asks
                    break
                time.sleep(0.05)
            samples.append({"connections": done, "resident_bytes": server.metric("process_resident_memory_bytes"),
                            "descriptors": server.metric("process_open_fds")})

        for number in range(count // 10):  # what the process keeps is there then
            connect_once(server.port, number % 5)
        sample(0)
        began = time.perf_counter()
        for part in range(10):
            for number in range(count // 10):
                connect_once(server.port, number % 5)
            sample((part + 1) * count // 10)
        seconds = time.perf_counter() - began
        sessions = server.metric("nervus_sessions")
    growth = max(each["resident_bytes"] for each in samples) - samples[0]["resident_bytes"]
    assert sessions == 0, f"{sessions} sessions are left"
    assert samples[-1]["descriptors"] <= samples[0]["descriptors"], f"descriptors are left: {samples}"
    assert growth <= 4 << 20, f"memory grew by {growth} bytes: {samples}"
    return {"connections": count, "seconds": seconds, "growth_bytes": growth, "samples": samples}


class BadPeers:
    """Peers that a server should not feel: they send a byte now and then, say nothing more, or read nothing."""

    def __init__(self, port, count):
        self.port, self.count, self.done, self.replaced = port, count, threading.Event(), 0
        self.thread = threading.Thread(target=self.run)

    def open(self, number):
        session = Session(self.port, receive_buffer=4096 if number % 3 == 2 else None)
        session.socket.setblocking(False)
        session.sent, session.bytes = 0, frame(REQUEST)
        return session

    def act(self, number, session):
        if number % 3 == 0:  # slow: a byte of a request
            session.sent += session.socket.send(session.bytes[session.sent:session.sent + 1])
        elif number % 3 == 2:  # zero window: asks for pongs and replies that it never reads
            session.socket.send(frame(b"\x80") * 20 + frame(bytes(125), 9) * 20)

    def run(self):
        sessions = {}
        while not self.done.is_set():
            for number in range(self.count):
                try:
                    if number not in sessions:
                        sessions[number] = self.open(number)
                        self.replaced += 1
                    self.act(number, sessions[number])
                except BlockingIOError:
                    continue
                except (OSError, Ended, Closed):
                    if number in sessions:
                        sessions.pop(number).abort()
            self.done.wait(0.05)
        for session in sessions.values():
            session.abort()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


def healthy(port, seconds):
    """Latencies of a robot that asks twenty times a second."""
    took, session, end = [], Session(port), time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        opcode, reply = session.ask(REQUEST)
        took.append(1e3 * (time.perf_counter() - began))
        assert opcode == 2, reply
        time.sleep(max(0.0, 0.05 - (time.perf_counter() - began)))
    session.close()
    return took


def soak_peers(start, sizes):
    alone, beside, replaced = [], [], 0
    with start() as server:
        healthy(server.port, 0.5)
        for _ in range(sizes["rounds"]):
            alone.append(healthy(server.port, sizes["seconds"]))
            with BadPeers(server.port, sizes["bad_peers"]) as peers:
                time.sleep(0.2)
                beside.append(healthy(server.port, sizes["seconds"]))
            replaced += peers.replaced
    ratios = [percentile(with_them, 0.99) / percentile(without, 0.99) for without, with_them in zip(alone, beside)]
    together = [sum(rounds, []) for rounds in (alone, beside)]
    return {"bad_peers": sizes["bad_peers"], "opened": replaced, "alone_ms": milliseconds(together[0]),
            "beside_ms": milliseconds(together[1]), "p99_ratio_by_round": ratios,
            "p99_ratio_median": statistics.median(ratios)}


def soak_restarts(start, sizes):
    """Robots that never stop asking while the server is restarted: each request that was sent gets an answer."""
    counts = dict.fromkeys(("replies", "refusals", "closes", "unanswered"), 0)
    lock, done, port = threading.Lock(), threading.Event(), quiet_port()

    def count(what):
        with lock:
            counts[what] += 1

    def robot(_):
        session = None
        while not done.is_set():
            if session is None:
                try:
                    session = Session(port, timeout=60)
                except (OSError, Ended, Closed):  # not there: nothing was asked
                    time.sleep(0.01)
                    continue
            try:
                opcode, reply = session.ask(REQUEST)
                count("replies" if opcode == 2 else "refusals")
                if opcode == 1:
                    assert json.loads(reply)["error"]["code"] in ("draining", "overloaded"), reply
            except Closed:
                count("closes")
                session.close()
                session = None
            except (Ended, TimeoutError) as error:
                count("unanswered")
                print(f"restarts: a request was left without an answer: {error!r}", file=sys.stderr)
                session.close()
                session = None

    drains, begins = [], []
    runner = threading.Thread(target=threads, args=(sizes["restart_clients"], robot))
    runner.start()
    try:
        for turn in range(sizes["restarts"]):
            began = time.perf_counter()
            with start(port=port) as server:
                begins.append(time.perf_counter() - began)
                time.sleep(0.02 + 0.01 * (turn % 17))
                drains.append(server.terminate())
    finally:
        done.set()
        runner.join()
    assert counts["unanswered"] == 0, counts
    assert counts["replies"] > 0 and max(drains) < 30, (counts, max(drains))
    return {"restarts": len(drains), "clients": sizes["restart_clients"], **counts,
            "drain_seconds": {"p50": percentile(drains, 0.5), "max": max(drains)},
            "start_seconds": {"p50": percentile(begins, 0.5), "max": max(begins)}}


def soak_drain(start, sizes):
    """A call that does not end in time: its robot is told, and the program ends."""
    answers = []
    with start("--drain-seconds", "0.2", steps=1000) as server:
        session = Session(server.port)
        session.send(REQUEST)
        while server.metric("nervus_running") < 1:
            time.sleep(0.01)
        seconds = server.terminate()
        answers.append(json.loads(session.receive()[1])["error"]["code"])
        try:
            session.receive()
        except Closed as closed:
            answers.append(str(closed))
    assert answers == ["draining", "1001"], answers
    assert seconds < 30, seconds
    return {"drain_seconds": 0.2, "ended_after_seconds": seconds}


SOAKS = {"drain": soak_drain, "clients": soak_clients, "overload": soak_overload, "connections": soak_connections,
         "peers": soak_peers, "restarts": soak_restarts}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nervus", required=True)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--only", action="append", choices=SOAKS)
    parser.add_argument("--short", action="store_true")
    arguments = parser.parse_args()
    sizes = SHORT if arguments.short else FULL
    results = {"nervus": subprocess.run([arguments.nervus, "--version"], capture_output=True, text=True,
                                        check=True).stdout.strip(), "machine": machine(), "short": arguments.short}
    if arguments.json and arguments.json.exists():
        results = json.loads(arguments.json.read_text()) | results
    with tempfile.TemporaryDirectory() as directory:
        checkpoint = str(pathlib.Path(directory) / "tiny")
        subprocess.run([arguments.nervus, "synth", "--preset", "tiny", "--seed", "1", "--out", checkpoint, "--quiet"],
                       check=True, stdout=subprocess.DEVNULL)

        def start(*options, steps=1, **more):
            return Server(arguments.nervus, checkpoint, "--threads", "1", "--steps", str(steps), *options, **more)

        for name in arguments.only or SOAKS:
            began = time.perf_counter()
            results[name] = SOAKS[name](start, sizes)
            shown = {key: value for key, value in results[name].items() if key != "samples"}
            print(f"{name}: {json.dumps(shown)} in {time.perf_counter() - began:.1f} s", flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
