"""What the tests of the Python package share: a small checkpoint of random weights, an observation, the program."""
import json
import pathlib
import subprocess
import time

import pytest

import nervus

SOURCE = pathlib.Path(__file__).resolve().parents[2]
ALOHA = SOURCE / "examples" / "aloha"


def pytest_addoption(parser):
    parser.addoption("--program", type=pathlib.Path, required=True, help="the program nervus of the same build")


def wait_until(condition, seconds=20):
    """Waits until it holds, at most so long, which a busy machine may need; says whether it does."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(condition())


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    directory = tmp_path_factory.mktemp("checkpoint") / "tiny"
    nervus.synthesise(directory, preset="tiny", seed=1, threads=1)
    return directory


@pytest.fixture(scope="session")
def policy(checkpoint):
    return nervus.Policy.load(checkpoint, robot="aloha", norm_stats=ALOHA / "norm_stats.json", steps=[4, 2], threads=1)


@pytest.fixture(scope="session")
def observation():
    cameras = ("cam_high", "cam_left_wrist", "cam_right_wrist")
    return {"images": {camera: nervus.read_image(ALOHA / f"{camera}.png") for camera in cameras},
            "state": json.loads((ALOHA / "state.json").read_text())["state"],
            "prompt": (ALOHA / "prompt.txt").read_text()}


@pytest.fixture(scope="session")
def command_line(pytestconfig):
    """Runs the program: its exit code, and the words of its error."""
    def run(*arguments):
        program = pytestconfig.getoption("--program")
        done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=120)
        return done.returncode, done.stderr.strip()
    return run
