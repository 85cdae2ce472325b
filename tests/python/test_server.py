"""A policy server in this process: its bytes are the policy's."""
import json
import sys
import urllib.error
import urllib.request

import pytest
import websockets.sync.client

import nervus
import wire
from conftest import ALOHA


@pytest.fixture(scope="module")
def server(checkpoint):
    lines = []
    serve = {"port": 0, "seed": 3, "log": lines.append}
    with nervus.Server.load(checkpoint, serve, robot="aloha", norm_stats=ALOHA / "norm_stats.json", steps=[2],
                            threads=1) as server:
        server.lines = lines
        yield server
    assert not server.running


def test_bytes_are_the_policys(server, policy, observation):
    with websockets.sync.client.connect(f"ws://127.0.0.1:{server.port}", compression=None, max_size=None) as socket:
        assert wire.unpack(socket.recv())["cameras"] == policy.info.cameras
        for more, seed in (({}, 3), ({"seed": 9}, 9)):
            socket.send(wire.request(observation, **more))
            actions = wire.unpack(socket.recv())["actions"]
            assert actions.tobytes() == policy.infer(**observation, seed=seed, steps=2).tobytes()
        socket.send(wire.request({**observation, "state": [1.0]}))
        assert json.loads(socket.recv())["error"]["code"] in ("bad_request", "guard_tripped")
    assert server.info.steps == [2] and all(isinstance(json.loads(line), dict) for line in server.lines)
    assert server.lines


def test_pages_are_served(server):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/readyz", timeout=5) as page:
        assert page.read() == b"ready\n"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/none", timeout=5)


def test_what_is_refused(checkpoint, server):
    with pytest.raises(nervus.UsageError, match="dialect: expected auto, openpi or lingbot"):
        nervus.Server.load(checkpoint, {"dialect": "esperanto"})
    with pytest.raises(nervus.UsageError, match="is reached from other machines"):
        nervus.Server.load(checkpoint, {"host": "0.0.0.0"})
    with pytest.raises(TypeError, match="unexpected key 'colour' of serve"):
        nervus.Server.load(checkpoint, {"colour": 1})
    with pytest.raises(TypeError, match="port: str is not its type"):
        nervus.Server.load(checkpoint, {"port": "eighty"})
    with pytest.raises(nervus.IoError, match=str(server.port)):
        nervus.Server.load(checkpoint, {"port": server.port}, threads=1)


def test_it_stops(checkpoint):
    server = nervus.Server.load(checkpoint, {"port": 0}, threads=1)
    assert server.running and not server.wait(0.01)
    server.stop()
    assert not server.running
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/readyz", timeout=5)


def test_a_log_that_raises_ends_nothing(checkpoint, policy, observation, monkeypatch):
    raised = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: raised.append(str(unraisable.exc_value)))

    def log(line):
        raise OSError(f"no space for {json.loads(line)['event']}")
    with nervus.Server.load(checkpoint, {"port": 0, "log": log}, robot="aloha", steps=[2], threads=1,
                            norm_stats=ALOHA / "norm_stats.json") as server:
        with websockets.sync.client.connect(f"ws://127.0.0.1:{server.port}", compression=None, max_size=None) as socket:
            socket.recv()
            for _ in range(2):
                socket.send(wire.request(observation, seed=1))
                actions = wire.unpack(socket.recv())["actions"]
                assert actions.tobytes() == policy.infer(**observation, seed=1, steps=2).tobytes()
        assert server.running
    assert {f"no space for {event}" for event in ("replica", "ready", "session_opened", "ended")} <= set(raised)
