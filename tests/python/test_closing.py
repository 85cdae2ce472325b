"""A client that is closed while it is used: by another thread, by its own log, by its own watchdog."""
import contextlib
import threading
import time

import numpy
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

import nervus
from wire import pack

OBSERVATION = {"images": {"cam_high": numpy.zeros((2, 2, 3), numpy.uint8)}, "state": [0.0], "prompt": "go"}
CLOSED = pytest.raises(nervus.UsageError, match="client: expected one that is open, found it closed")


class Server:
    """Answers a request once it may."""

    def __init__(self):
        self.asked, self.may_answer, self.left = threading.Event(), threading.Event(), threading.Event()

    def speak(self, connection):
        with contextlib.suppress(ConnectionClosed):  # a client does not say that it goes
            connection.send(pack({"server": "scripted"}))
            for _ in connection:
                self.asked.set()
                self.may_answer.wait(20)
                connection.send(pack({"actions": numpy.full((50, 1), 0.5, numpy.float32)}))
        self.left.set()


@pytest.fixture
def server():
    one = Server()
    with serve(one.speak, "127.0.0.1", 0) as listening:
        one.port = listening.socket.getsockname()[1]
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield one
        one.may_answer.set()
        listening.shutdown()
        thread.join()


def test_by_another_thread_than_those_that_use_it(server):
    client = nervus.Client(port=server.port)
    assert client.wait_connected(20)
    answers, rounds = [], []

    def ask():
        answers.append(client.infer(**OBSERVATION, timeout_seconds=20))

    def go_round():
        with contextlib.suppress(nervus.UsageError):
            while True:
                client.motion()
                assert client.status.connections == 1 and client.server.server == "scripted"
                rounds.append(1)
    threads = [threading.Thread(target=work) for work in (ask, go_round, go_round, go_round)]
    for thread in threads:
        thread.start()
    assert server.asked.wait(20)
    while len(rounds) < 100:
        time.sleep(0.01)
    client.close()
    with CLOSED:
        client.motion()
    # What was under way gets its answer, and the connection ends with it.
    server.may_answer.set()
    for thread in threads:
        thread.join()
    assert numpy.array_equal(answers[0], numpy.full((50, 1), 0.5, numpy.float32))
    assert server.left.wait(20)
    client.close()


def test_by_its_own_log(server):
    closed = threading.Event()

    def close(_):
        started.wait()
        client.close()
        closed.set()
    started = threading.Event()
    client = nervus.Client(port=server.port, log=close)
    started.set()
    assert closed.wait(20) and server.left.wait(20)
    with CLOSED:
        client.wants_observation()


def test_by_its_own_watchdog(server):
    server.may_answer.set()

    def command(*_):
        client.close()
        return [0.75]
    client = nervus.Client(port=server.port, watchdog="callback", callback=command, actions_per_second=1,
                           max_age_seconds=100, timeout_seconds=20)
    assert client.wait_connected(20) and client.observe(**OBSERVATION)
    while client.status.counts.taken == 0:
        time.sleep(0.01)
    assert client.motion().state == "playing"
    motion = client.motion(time.monotonic() + 60)
    assert motion.state == "callback" and motion.values == [0.75]
    assert server.left.wait(20)
    with CLOSED:
        client.motion()


def test_moments_that_are_none(server):
    with nervus.Client(port=server.port) as client:
        for wrong in (float("nan"), float("inf"), -float("inf"), 1e300, time.time()):
            with pytest.raises(nervus.UsageError, match=r"now: expected seconds of time.monotonic\(\), .*, found "):
                client.motion(wrong)
            with pytest.raises(nervus.UsageError, match=r"observed: expected seconds of time.monotonic\(\), "):
                client.observe(**OBSERVATION, observed=wrong)
        assert client.wait_connected(20)
        with pytest.raises(nervus.UsageError, match="observed: expected a moment that is not in the future, found 99"):
            client.observe(**OBSERVATION, observed=time.monotonic() + 1000)
        assert client.status.counts.requests == 0
        assert client.motion().state == "waiting"
