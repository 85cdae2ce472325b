"""inspect, calibrate, doctor, version."""
import json
import re

import numpy
import pytest

import nervus
from conftest import ALOHA, SOURCE


def test_version_is_the_projects():
    project = (SOURCE / "CMakeLists.txt").read_text()
    assert nervus.__version__ == nervus.version() == re.search(r"project\(nervus VERSION ([\d.]+)", project)[1]


def test_inspect_says_what_is_wrong(checkpoint):
    report = nervus.inspect(checkpoint)
    assert report.family == "lingbot-vla" and not report.missing and not report.mismatched
    assert {part.part for part in report.parts} >= {"vision", "language", "expert"}
    assert [work.stage for work in report.work] == ["vision", "prefix", "denoise"]
    assert report.weight_bytes < nervus.inspect(checkpoint, precision="f32").weight_bytes


def test_calibrate_writes_what_the_command_line_writes(policy, checkpoint, observation, command_line, tmp_path):
    tensors = tmp_path / "tensors"
    tensors.mkdir()
    for name, tensor in policy.preprocess(**observation).items():
        numpy.save(tensors / f"{name}.npy", tensor)
    code, words = command_line("calibrate", "--checkpoint", checkpoint, "--inputs", tensors, ALOHA, "--robot", "aloha",
                               "--norm-stats", ALOHA / "norm_stats.json", "--steps", 4, 2, "--threads", 1, "--out",
                               tmp_path / "expected.json")
    assert code == 0, words
    report = policy.calibrate([tensors, observation], out=tmp_path / "found.json")
    assert json.loads((tmp_path / "found.json").read_text()) == json.loads((tmp_path / "expected.json").read_text())
    assert report.samples == 2 and all(linear.beyond == 0 < linear.range for linear in report.linears)
    assert report.streams and all(stream.range == 4 * stream.largest for stream in report.streams)

    checked = policy.calibrate([{**observation, "state": [9.0] * 14}], check=tmp_path / "found.json")
    assert sum(linear.beyond for linear in checked.linears) > 0
    with pytest.raises(nervus.UsageError, match="out or check"):
        policy.calibrate([tensors], out=tmp_path / "a", check=tmp_path / "b")


def test_calibrate_passes_on_what_samples_raise(checkpoint):
    with pytest.raises(KeyError, match="state"):
        nervus.calibrate(checkpoint, [{"images": {}, "prompt": "go"}], threads=1)
    seen = []
    sample = {"images": {"cam_high": numpy.zeros((8, 8, 3), numpy.uint8)}, "state": numpy.zeros(75), "prompt": "go"}
    nervus.calibrate(checkpoint, [sample] * 2, threads=1, steps=[1], progress=lambda *step: seen.append(step[:2]))
    assert seen[-1] == (2, 2)


def test_calibrate_does_not_tell_the_loads_progress(checkpoint, observation):
    seen, counted = [], []
    policy = nervus.Policy.load(checkpoint, robot="aloha", norm_stats=ALOHA / "norm_stats.json", steps=[1], threads=1,
                                progress=lambda *step: seen.append(step))
    loaded = len(seen)
    policy.calibrate([observation])
    assert loaded and len(seen) == loaded
    policy.calibrate([observation], progress=lambda *step: counted.append(step[:2]))
    assert counted[-1] == (1, 1) and len(seen) == loaded


def test_doctor_finds_this_machine():
    findings = {finding.what: finding for finding in nervus.doctor()}
    assert findings["processor"].good and findings["processor"].detail


def test_synthesise_depends_on_its_seed(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        nervus.synthesise(tmp_path / name, seed=seed, threads=1)
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c
