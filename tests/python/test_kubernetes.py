"""examples/fleet/kubernetes.yaml: sound as Kubernetes reads it, and its HAProxy in front of real servers."""
import contextlib
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest
import websockets.exceptions
import websockets.sync.client
import yaml

import wire
from conftest import ALOHA, SOURCE

MANIFEST = SOURCE / "examples" / "fleet" / "kubernetes.yaml"
needs_haproxy = pytest.mark.skipif(not shutil.which("haproxy"), reason="there is no haproxy (Debian: haproxy)")


@pytest.fixture(scope="module")
def objects():
    documents = list(yaml.safe_load_all(MANIFEST.read_text()))
    return {(document["kind"], document["metadata"]["name"]): document for document in documents}


def container_of(objects, name):
    container, = objects["Deployment", name]["spec"]["template"]["spec"]["containers"]
    return container


def test_the_schemas_of_kubernetes(objects):
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for document in objects.values():
        validate.validate(document, "1.30", strict=True)
    broken = yaml.safe_load(yaml.safe_dump(objects["Deployment", "nervus"]))
    broken["spec"]["replica"] = 4
    with pytest.raises(validate.ValidationError):
        validate.validate(broken, "1.30", strict=True)


def test_every_name_is_somebodys(objects):
    """Selectors find pods, ports and probes the container's ports, mounts the pod's volumes, volumes what is there."""
    assert sorted(kind for kind, _ in objects) == sorted(
        ["Deployment", "Service", "PodDisruptionBudget", "ConfigMap", "Deployment", "Service"])
    labels, ports = {}, {}
    for name in ("nervus", "haproxy"):
        spec, container = objects["Deployment", name]["spec"], container_of(objects, name)
        labels[name], ports[name] = spec["template"]["metadata"]["labels"], {p["name"] for p in container["ports"]}
        assert spec["selector"]["matchLabels"] == labels[name]
        probes = {probe: container[probe]["httpGet"] for probe in container if probe.endswith("Probe")}
        assert {probe["port"] for probe in probes.values()} <= ports[name]
        assert probes["readinessProbe"]["path"] == "/readyz"
        assert ({mount["name"] for mount in container["volumeMounts"]} ==
                {volume["name"] for volume in spec["template"]["spec"]["volumes"]})
    for service, pods in (("nervus", "nervus"), ("robots", "haproxy")):
        spec = objects["Service", service]["spec"]
        assert spec["selector"] == labels[pods]
        assert {port["targetPort"] for port in spec["ports"]} <= ports[pods]
    assert objects["PodDisruptionBudget", "nervus"]["spec"]["selector"]["matchLabels"] == labels["nervus"]
    assert "server-template replica 16 nervus:8000" in objects["ConfigMap", "haproxy"]["data"]["haproxy.cfg"]


def test_the_arguments_are_the_programs(objects, pytestconfig):
    arguments = dict(argument.removeprefix("--").split("=") for argument in container_of(objects, "nervus")["args"])
    program = pytestconfig.getoption("--program")
    known = set(re.findall(r"--([a-z-]+)", subprocess.run([program, "serve", "--help"], capture_output=True, text=True,
                                                          check=True).stdout))
    assert set(arguments) <= known
    spec = objects["Deployment", "nervus"]["spec"]["template"]["spec"]
    pause = int(container_of(objects, "nervus")["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["terminationGracePeriodSeconds"] > pause + float(arguments["drain-seconds"])
    assert int(arguments["max-connections-per-address"]) >= 256


@needs_haproxy
def test_haproxy_accepts_its_config(objects, tmp_path):
    text = objects["ConfigMap", "haproxy"]["data"]["haproxy.cfg"]
    for name, config, accepted in (("right", text, True), ("wrong", text.replace("leastconn", "fewest"), False)):
        (tmp_path / name).write_text(config)
        done = subprocess.run(["haproxy", "-c", "-f", tmp_path / name], capture_output=True, text=True)
        assert (done.returncode == 0) == accepted, done.stdout + done.stderr


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_ready(port):
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"nothing is ready at port {port}")


class Cluster:
    """HAProxy with the manifest's config, in front of two servers on loopback whose answers differ by their seeds."""

    def __init__(self, directory, program, checkpoint, config):
        self.processes, self.connections = {}, contextlib.ExitStack()
        self.command, self.key = [program, "serve", "--checkpoint", checkpoint], directory / "key"
        self.key.write_text("of the robots\n")
        self.servers, self.port, health = {seed: free_port() for seed in (1, 2)}, free_port(), free_port()
        for seed in self.servers:
            self.start(seed)
        lines = "\n".join(f"  server replica{seed} 127.0.0.1:{port}" for seed, port in self.servers.items())
        config = re.sub(r"^ *server-template .*$", lines, config, flags=re.MULTILINE)
        config = re.sub(r"^ *stats socket .*$", "", config, flags=re.MULTILINE)
        for bind, port in ((":8000", self.port), (":8001", health)):
            config = config.replace(f"bind {bind}", f"bind 127.0.0.1:{port}")
        (directory / "haproxy.cfg").write_text(config)
        self.log = (directory / "haproxy.log").open("w")
        for port in self.servers.values():  # first, since HAProxy would take the one that is ready for all there is
            wait_ready(port)
        self.processes["haproxy"] = subprocess.Popen(["haproxy", "-db", "-f", directory / "haproxy.cfg"],
                                                     stdout=self.log, stderr=self.log)
        wait_ready(health)

    def start(self, seed):
        self.processes[seed] = subprocess.Popen(
            [*self.command, "--robot", "aloha", "--norm-stats", ALOHA / "norm_stats.json", "--steps", "2", "--threads",
             "1", "--seed", str(seed), "--port", str(self.servers[seed]), "--api-key-file", self.key],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def connect(self, key="of the robots"):
        connection = self.connections.enter_context(websockets.sync.client.connect(
            f"ws://127.0.0.1:{self.port}/", compression=None, max_size=None, proxy=None,
            additional_headers={"Authorization": f"Api-Key {key}"}))
        connection.recv(timeout=20)
        return connection

    def close(self):
        self.connections.close()
        for process in self.processes.values():
            process.kill()
            process.wait()
        self.log.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, pytestconfig, checkpoint, objects):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), pytestconfig.getoption("--program"), checkpoint,
                      objects["ConfigMap", "haproxy"]["data"]["haproxy.cfg"])
    yield cluster
    cluster.close()


@needs_haproxy
def test_connections_stick_and_fail_over(cluster, policy, observation):
    replica_of = {policy.infer(**observation, seed=seed, steps=2).tobytes(): seed for seed in (1, 2)}
    message = wire.request(observation)

    def ask(connection):
        connection.send(message)
        return replica_of[wire.unpack(connection.recv(timeout=20))["actions"].tobytes()]
    connections = [cluster.connect(), cluster.connect()]
    homes = [ask(connection) for connection in connections]
    assert sorted(homes) == [1, 2]
    assert [[ask(connection) for _ in range(5)] for connection in connections] == [[home] * 5 for home in homes]

    lost, kept = connections
    cluster.processes[homes[0]].kill()
    with pytest.raises(websockets.exceptions.ConnectionClosed):
        for _ in range(50):
            ask(lost)
    assert ask(kept) == homes[1]
    again = cluster.connect()
    assert [ask(again) for _ in range(3)] == [homes[1]] * 3

    cluster.start(homes[0])
    wait_ready(cluster.servers[homes[0]])
    for _ in range(100):
        other = cluster.connect()
        home = ask(other)
        other.close()
        if home == homes[0]:
            break
        time.sleep(0.1)
    else:
        pytest.fail("a replica that is ready again gets no connection")


@needs_haproxy
def test_the_key_is_asked_for(cluster):
    with pytest.raises(websockets.exceptions.InvalidStatus, match="401"):
        cluster.connect(key="another key")
