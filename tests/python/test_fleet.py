"""A fleet on Ray's local cluster: replicas of the small checkpoint on CPUs, killed and replaced under load."""
import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

# A cluster of this test's own; Ray reads these when it is imported.
TOKEN = secrets.token_hex(32)
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_USAGE_STATS_ENABLED": "0"}
ray = pytest.importorskip("ray", reason="the extra nervus[ray] is not installed")

import websockets.exceptions  # noqa: E402
import websockets.sync.client  # noqa: E402
import yaml  # noqa: E402

import nervus  # noqa: E402
import nervus.fleet  # noqa: E402
import wire  # noqa: E402
from conftest import ALOHA, SOURCE  # noqa: E402
from nervus.fleet.replica import Unavailable  # noqa: E402

ROBOTS = 3
KEY = "of the robots"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Fleet:
    """examples/fleet/ray.yaml, deployed by `serve deploy` on a cluster of this machine, with CPUs in place of GPUs."""

    def __init__(self, directory, checkpoint):
        self.directory, self.checkpoint, self.port = directory, checkpoint, free_port()
        context = ray.init(num_cpus=4, include_dashboard=True, dashboard_host="127.0.0.1", dashboard_port=free_port(),
                           object_store_memory=128 << 20, namespace="serve", log_to_driver=False)
        self.dashboard = f"http://{context.dashboard_url}"

    def deploy(self, seed):
        document = yaml.safe_load((SOURCE / "examples" / "fleet" / "ray.yaml").read_text())
        document["http_options"] = {"host": "127.0.0.1", "port": self.port}
        application, = document["applications"]
        (self.directory / "key").write_text(KEY + "\n")
        application["args"]["api_key_file"] = str(self.directory / "key")
        for deployment in application["deployments"]:
            deployment["num_replicas"], deployment["ray_actor_options"] = 2, {"num_cpus": 0.1}
        deployment, = (one for one in application["deployments"] if one["name"] == "Replica")
        deployment["user_config"] = {"checkpoint": str(self.checkpoint), "serve": {"seed": seed}, "load": {
            "robot": "aloha", "norm_stats": str(ALOHA / "norm_stats.json"), "steps": [2], "threads": 1}}
        path = self.directory / "ray.yaml"
        path.write_text(yaml.safe_dump(document))
        command = [os.path.join(os.path.dirname(sys.executable), "serve"), "deploy", "-a", self.dashboard, path]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        self.wait_running()

    def status(self):
        request = urllib.request.Request(f"{self.dashboard}/api/serve/applications/",
                                         headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request, timeout=10) as page:
            return json.load(page)["applications"].get("nervus", {"status": "NONE"})

    def wait_running(self):
        for _ in range(600):
            if self.status()["status"] == "RUNNING":
                return
            time.sleep(0.1)
        pytest.fail(f"the fleet does not run: {self.status()}")

    def replicas(self):
        """Actors by name."""
        found = self.status()["deployments"]["Replica"]["replicas"]
        return {replica["actor_name"]: replica for replica in found if replica["state"] == "RUNNING"}


def connect(port, authorization):
    return websockets.sync.client.connect(f"ws://127.0.0.1:{port}/", compression=None, max_size=None, proxy=None,
                                          additional_headers={"Authorization": authorization})


class Robot(threading.Thread):
    """Asks again and again over one websocket; keeps every answer."""

    def __init__(self, port, message):
        super().__init__(daemon=True)
        self.port, self.message, self.answers, self.failure = port, message, [], None
        self.going = threading.Event()

    def run(self):
        try:
            with connect(self.port, f"Api-Key {KEY}") as connection:
                connection.recv(timeout=60)
                while not self.going.is_set():
                    connection.send(self.message)
                    reply = connection.recv(timeout=60)
                    self.answers.append(wire.unpack(reply)["actions"].tobytes() if isinstance(reply, bytes) else reply)
        except Exception as failure:
            self.failure = failure

    def finish(self):
        self.going.set()
        self.join(70)
        assert not self.is_alive() and self.failure is None, self.failure
        return self.answers


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, checkpoint):
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), checkpoint)
    fleet.deploy(seed=1)
    yield fleet
    ray.shutdown()


@pytest.fixture(scope="module")
def expected(policy, observation):
    return {seed: policy.infer(**observation, seed=seed, steps=2).tobytes() for seed in (1, 2)}


def drive(fleet, observation, during):
    """Robots ask while `during` happens, and for a moment after; all that they were answered."""
    robots = [Robot(fleet.port, wire.request(observation)) for _ in range(ROBOTS)]
    for robot in robots:
        robot.start()
    deadline = time.monotonic() + 60
    while any(len(robot.answers) < 2 and robot.is_alive() for robot in robots) and time.monotonic() < deadline:
        time.sleep(0.05)
    during()
    marks = [len(robot.answers) for robot in robots]
    while (any(len(robot.answers) < mark + 2 and robot.is_alive() for robot, mark in zip(robots, marks, strict=True))
           and time.monotonic() < deadline + 60):
        time.sleep(0.05)
    return [robot.finish() for robot in robots]


def test_a_killed_replica_loses_no_request(fleet, observation, expected):
    before = set(fleet.replicas())
    assert len(before) == 2

    def kill_one_after_the_other():
        for name in before:
            ray.kill(ray.get_actor(name, namespace="serve"), no_restart=True)
            time.sleep(1)
    answers = drive(fleet, observation, kill_one_after_the_other)
    assert all(len(of_robot) >= 4 for of_robot in answers)
    assert {answer for of_robot in answers for answer in of_robot} == {expected[1]}
    deadline = time.monotonic() + 60
    while len(set(fleet.replicas()) - before) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert len(set(fleet.replicas()) - before) == 2


def test_a_question_without_a_session(fleet, observation, expected):
    def post(body, key=KEY):
        request = urllib.request.Request(f"http://127.0.0.1:{fleet.port}/infer", data=body, method="POST",
                                         headers={"Authorization": f"Bearer {key}"})
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read()
    status, body = post(wire.request(observation, seed=2))
    assert status == 200 and wire.unpack(body)["actions"].tobytes() == expected[2]
    status, body = post(wire.request({**observation, "state": [1.0]}))
    assert status in (400, 422) and json.loads(body)["error"]["hint"]
    status, body = post(wire.request(observation), key="another key")
    assert status == 401 and json.loads(body)["error"]["code"] == "unauthorized"
    status, body = post(b"\xc1")
    assert status == 400 and json.loads(body)["error"]["code"] in ("malformed", "closed")
    with urllib.request.urlopen(f"http://127.0.0.1:{fleet.port}/readyz", timeout=60) as page:
        assert page.read() == b"ready\n"


def test_an_update_answers_every_request(fleet, observation, expected):
    before = set(fleet.replicas())
    answers = drive(fleet, observation, lambda: fleet.deploy(seed=2))
    assert {answer for of_robot in answers for answer in of_robot} == {expected[1], expected[2]}
    assert all(of_robot[0] == expected[1] and of_robot[-1] == expected[2] for of_robot in answers)
    assert set(fleet.replicas()) == before


def test_a_robot_needs_the_key(fleet):
    for authorization in ("Api-Key another key", f"Basic {KEY}", ""):
        with pytest.raises(websockets.exceptions.InvalidStatus, match="403"), connect(fleet.port, authorization):
            pass


def test_health_is_the_servers(checkpoint, observation, expected):
    """Outside the cluster: a replica whose server has ended is unhealthy, and says so to who asks it."""
    async def live():
        replica = nervus.fleet.Replica.func_or_class()
        with pytest.raises(Unavailable):
            await replica.check_health()
        await replica.reconfigure({"checkpoint": str(checkpoint), "serve": {"seed": 1}, "load": {
            "robot": "aloha", "norm_stats": str(ALOHA / "norm_stats.json"), "steps": [2], "threads": 1}})
        await replica.check_health()
        message = wire.request(observation)
        for _ in range(2):
            assert wire.unpack(await replica.ask(message))["actions"].tobytes() == expected[1]
        assert json.loads(await replica.ask(b"\xc1"))["error"]["code"] == "malformed"
        assert wire.unpack(await replica.ask(message))["actions"].tobytes() == expected[1]
        await asyncio.get_running_loop().run_in_executor(None, replica._server.stop)
        for call in (replica.check_health(), replica.ask(message)):
            with pytest.raises(Unavailable):
                await call
        await replica.__del__()
    asyncio.run(live())


class FakeServer:
    def __init__(self, port):
        self.port = port

    def stop(self):
        pass


class FakeConnection:
    """Says whose it is, once it may."""

    def __init__(self, url, may_answer):
        self.url, self.may_answer, self.closed = url, may_answer, False

    async def recv(self):
        await self.may_answer.wait()
        return f"of {self.url}"

    async def close(self):
        self.closed = True


@pytest.mark.parametrize("call", ["metadata", "ask"])
def test_a_connection_to_a_server_that_is_replaced_meanwhile(monkeypatch, call):
    """Outside the cluster: neither it nor what it says is kept, and the Gate is to ask again."""
    async def live():
        connections, may_answer = [], asyncio.Event()

        async def connect(url, **_):
            connections.append(FakeConnection(url, may_answer))
            return connections[-1]
        monkeypatch.setattr(nervus.fleet.replica.websockets.asyncio.client, "connect", connect)
        replica = nervus.fleet.Replica.func_or_class()
        await replica._replace(FakeServer(1))
        asked = asyncio.create_task(replica.metadata() if call == "metadata" else replica.ask(b"go"))
        while not connections:
            await asyncio.sleep(0)
        await replica._replace(FakeServer(2))
        may_answer.set()
        with pytest.raises(Unavailable, match="its server was replaced meanwhile"):
            await asked
        assert connections[0].closed and replica._idle == []
        assert await replica.metadata() == b"of ws://127.0.0.1:2/" and replica._idle == connections[1:]
    asyncio.run(live())


def test_what_is_refused(checkpoint):
    with pytest.raises(nervus.UsageError, match="args: robots reach the fleet from other machines"):
        nervus.fleet.build({})
    with pytest.raises(nervus.UsageError, match="args: expected api_key_file, .*, found colour"):
        nervus.fleet.build({"colour": "red"})
    with pytest.raises(nervus.UsageError, match="user_config: expected checkpoint and perhaps .*, found none"):
        nervus.fleet.replica.start({})
    with pytest.raises(nervus.IoError, match="expected a checkpoint directory"):
        nervus.fleet.replica.start({"checkpoint": str(checkpoint / "none")})
