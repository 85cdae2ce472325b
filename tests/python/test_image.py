"""examples/fleet/Dockerfile: what it makes is what examples/fleet/kubernetes.yaml runs."""
import json
import re

import pytest
import yaml

from conftest import SOURCE

FLEET = SOURCE / "examples" / "fleet"


@pytest.fixture(scope="module")
def text():
    return (FLEET / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def stages(text):
    """Of each stage, its instructions: (word, the rest)."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    instructions = [line.split(None, 1) for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line]
    stages = [[]]
    for word, rest in instructions:
        if word == "FROM":
            stages.append([])
        stages[-1].append((word, " ".join(rest.split())))
    return stages


@pytest.fixture(scope="module")
def pod():
    for document in yaml.safe_load_all((FLEET / "kubernetes.yaml").read_text()):
        if (document["kind"], document["metadata"]["name"]) == ("Deployment", "nervus"):
            return document["spec"]["template"]["spec"]
    raise AssertionError("the manifest has no Deployment nervus")


def rest_of(stage, word):
    rest, = (rest for found, rest in stage if found == word)
    return rest


def test_the_words_are_dockers(stages):
    known = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "RUN", "STOPSIGNAL", "USER",
             "WORKDIR"}
    assert {word for stage in stages for word, _ in stage} <= known
    given = {rest.split("=")[0] for stage in stages for word, rest in stage if word == "ARG"}
    used = set(re.findall(r"\$\{(\w+)\}", " ".join(rest for stage in stages for _, rest in stage)))
    assert used - {"libraries"} == given, "every argument is used, and all that is used is an argument"


def test_the_user_the_port_and_the_program_are_the_manifests(stages, pod):
    final, (container,) = stages[-1], pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert rest_of(final, "USER").split(":")[0] == str(pod["securityContext"]["runAsUser"])
    assert json.loads(rest_of(final, "ENTRYPOINT")) == container["command"]
    port = container["ports"][0]["containerPort"]
    assert rest_of(final, "EXPOSE") == str(port) and f"--port={port}" in container["args"]
    _, command = rest_of(final, "HEALTHCHECK").split("CMD ", 1)
    assert f"/127.0.0.1/{port}" in json.loads(command)[-1]
    assert f"GET {container['readinessProbe']['httpGet']['path']} " in json.loads(command)[-1]
    # What the manifest's preStop calls, and the image's own health check.
    assert container["lifecycle"]["preStop"]["exec"]["command"][0] == "sleep" and json.loads(command)[0] == "bash"


def test_nothing_is_written_where_the_manifest_forbids_it(stages, pod):
    """The final stage holds the folder of scripts/package.sh, and what is written there belongs to root."""
    container, = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    copies = [rest for word, rest in stages[-1] if word in ("COPY", "ADD")]
    assert copies == ["--from=build /opt/nervus /opt/nervus"]
    words = [word for word, _ in stages[-1]]
    assert "RUN" not in words and "VOLUME" not in words and words.index("USER") > words.index("COPY")
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert all(mount["readOnly"] for mount in container["volumeMounts"])
    assert not [mount for mount in mounts if mount.startswith("/opt")], "a mount would hide the program"


def test_the_names_are_one(text, pod):
    """Manifest, the commands above the file, and the project's version."""
    version, = re.findall(r"project\(nervus VERSION ([\d.]+)", (SOURCE / "CMakeLists.txt").read_text())
    assert pod["containers"][0]["image"] == f"nervus:{version}"
    assert set(re.findall(r"nervus:[\d.]+", text)) == {f"nervus:{version}"}
    assert set(re.findall(r"--build-arg (\w+)=", text)) <= set(re.findall(r"^ARG (\w+)", text, re.MULTILINE))
    assert "/keys/key" in text and "--api-key-file=/keys/key" in pod["containers"][0]["args"]


def test_what_it_runs_is_there(stages):
    commands = " ".join(rest for word, rest in stages[1] if word == "RUN")
    for script in re.findall(r"scripts/[\w.]+", commands):
        assert (SOURCE / script).exists(), script
    cmake = "".join(path.read_text() for path in [SOURCE / "CMakeLists.txt", SOURCE / "cli" / "CMakeLists.txt",
                                                  *(SOURCE / "tools" / "cmake").glob("*.cmake")])
    for option in re.findall(r"-D(\w+)=", commands):
        assert re.search(rf"(set|option)\({option} ", cmake), option
    for option in re.findall(r"(?<!\S)(?:\w+=)?(--[a-z-]+)", commands):
        assert option in (SOURCE / "scripts" / "package.sh").read_text(), option
