"""A robot's end: chunks of a server in this process, played in time."""
import time

import numpy
import pytest

import nervus
from conftest import ALOHA, wait_until


@pytest.fixture(scope="module")
def server(checkpoint):
    with nervus.Server.load(checkpoint, {"port": 0, "seed": 3}, robot="aloha", norm_stats=ALOHA / "norm_stats.json",
                            steps=[2], threads=1) as server:
        yield server


# A chunk that plays for 50 s, so that a busy machine answers in time.
SLOW = {"actions_per_second": 1, "max_age_seconds": 60, "timeout_seconds": 20}


def play(client, observation):
    """Observes, and waits for the first command."""
    assert client.wait_connected(20) and client.observe(**observation)
    assert wait_until(lambda: client.status.counts.taken)
    assert client.motion().state == "playing"


@pytest.fixture
def client(server):
    with nervus.Client(port=server.port, seed=5, blend="linear", **SLOW) as client:
        assert client.wait_connected(20)
        yield client


def test_an_answer_is_the_policys(client, policy, observation):
    actions = client.infer(**observation)
    assert actions.tobytes() == policy.infer(**observation, seed=5, steps=2).tobytes()
    assert list(actions.names) == policy.info.joints and actions.timings
    assert client.server.joints == policy.info.joints and client.server.chunk_steps == 50
    assert client.status.connected and client.status.connections == 1


def test_a_chunk_is_played_in_time(client, policy, observation):
    expected = policy.infer(**observation, seed=5, steps=2)
    assert client.motion().state == "waiting" and client.motion().values == []
    assert client.wants_observation()
    observed = time.monotonic()
    assert client.observe(**observation, observed=observed)
    assert not client.wants_observation() and not client.observe(**observation)
    assert wait_until(lambda: client.status.counts.taken)
    for seconds in (30.5, 40, 48.9):
        motion = client.motion(observed + seconds)
        below, part = int(seconds), seconds - int(seconds)
        between = expected[below] * (1 - part) + expected[below + 1] * part
        assert motion.state == "playing" and motion.request == 1 and motion.age_seconds == pytest.approx(seconds)
        assert numpy.allclose(motion.values, between, atol=1e-4)
    assert client.motion(observed + 60).state == "holding"
    client.reset()
    assert client.motion(observed + 60).state == "waiting"
    assert client.status.counts.requests == 1


def test_the_watchdogs_callback(server, observation):
    seen = []

    def command(seconds, last, stopped):
        seen.append((seconds, last, stopped))
        return [0.25] * 14
    with nervus.Client(port=server.port, watchdog="callback", callback=command, **SLOW) as client:
        play(client, observation)
        motion = client.motion(time.monotonic() + 60)
    assert motion.state == "callback" and motion.values == [0.25] * 14
    assert len(seen[-1][1]) == 14 and seen[-1][2] is False


def test_what_a_server_refuses(client, observation):
    with pytest.raises(nervus.Refused) as raised:
        client.infer(**{**observation, "state": [1.0]})
    refused = raised.value
    assert isinstance(refused, nervus.Error) and refused.kind == "input" and refused.exit_code == 3
    assert refused.code in ("bad_request", "guard_tripped") and refused.hint and str(refused)


def test_without_a_server(observation):
    lines = []
    with nervus.Client(port=9, log=lines.append) as client:
        assert wait_until(lambda: client.status.problem) and not client.status.connected
        assert not client.wait_connected(0.2)
        with pytest.raises(nervus.IoError):
            client.infer(**observation, timeout_seconds=0.2)
    with pytest.raises(nervus.UsageError, match="found it closed"):
        client.motion()


def test_options_that_are_wrong():
    with pytest.raises(nervus.UsageError, match="blend: expected latest, linear or smooth, found 'sharp'"):
        nervus.Client(blend="sharp")
    with pytest.raises(nervus.UsageError):
        nervus.Client(actions_per_second=-1)
    with pytest.raises(TypeError, match="unexpected keyword 'colour'"):
        nervus.Client(colour="red")
    with pytest.raises(TypeError, match="port: str is not its type"):
        nervus.Client(port="eighty")


def test_a_callback_that_fails_is_heard(server, observation):
    with nervus.Client(port=server.port, watchdog="callback", callback=lambda *_: 1 / 0, **SLOW) as client:
        play(client, observation)
        with pytest.raises(ZeroDivisionError):
            client.motion(time.monotonic() + 60)
