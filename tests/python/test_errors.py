"""Every failure is an exception of its kind, in the command line's words."""
import shutil

import numpy
import pytest

import nervus
from conftest import ALOHA


def test_kinds_and_codes():
    codes = {cls.kind: cls.exit_code for cls in nervus.Error.__subclasses__() if cls.kind}
    assert codes == {"usage": 2, "input": 3, "checkpoint": 4, "unsupported": 5, "io": 6, "numeric": 7, "device": 8,
                     "internal": 70}


def broken(checkpoint, directory, name, text):
    shutil.copytree(checkpoint, directory)
    (directory / name).write_text(text)
    return directory


def load_failures(checkpoint, scratch):
    """Arguments of the program, and the same load in Python."""
    yield "io", ["--checkpoint", scratch / "none"], (scratch / "none", {})
    config = broken(checkpoint, scratch / "config", "config.json", "{")
    yield "checkpoint", ["--checkpoint", config], (config, {})
    yield "usage", ["--checkpoint", checkpoint, "--device", "abacus"], (checkpoint, {"device": "abacus"})
    yield "unsupported", ["--checkpoint", checkpoint, "--device", "cuda:99"], (checkpoint, {"device": "cuda:99"})
    plan = scratch / "a.plan"
    yield "unsupported", ["--checkpoint", checkpoint, "--plan", plan], (checkpoint, {"plan": plan})
    yield "usage", ["--checkpoint", checkpoint, "--robot", "wheels"], (checkpoint, {"robot": "wheels"})
    stats = scratch / "stats.json"
    stats.write_text("[]")
    yield ("checkpoint", ["--checkpoint", checkpoint, "--robot", "aloha", "--norm-stats", stats],
           (checkpoint, {"robot": "aloha", "norm_stats": stats}))


def test_words_of_a_load_are_the_command_lines(checkpoint, command_line, tmp_path):
    observed = ["--image", f"cam_high={ALOHA / 'cam_high.png'}", "--state", ALOHA / "state.json", "--prompt", "go"]
    seen = set()
    for kind, arguments, (directory, options) in load_failures(checkpoint, tmp_path):
        code, words = command_line("run", *observed, *arguments)
        with pytest.raises(nervus.Error) as raised:
            nervus.Policy.load(directory, **options)
        assert raised.value.kind == kind and raised.value.exit_code == code, words
        assert str(raised.value) and str(raised.value) in words
        assert type(raised.value).__name__ == kind.capitalize() + "Error"
        seen.add(kind)
    assert seen == {"io", "checkpoint", "usage", "unsupported"}


def test_words_of_a_call_are_the_command_lines(policy, checkpoint, observation, command_line, tmp_path):
    state = tmp_path / "state.json"
    state.write_text("[1, 2, 3]")
    code, words = command_line("run", "--checkpoint", checkpoint, "--robot", "aloha", "--norm-stats",
                               ALOHA / "norm_stats.json", "--image", f"cam_high={ALOHA / 'cam_high.png'}", "--state",
                               state, "--prompt", "go")
    with pytest.raises(nervus.InputError) as raised:
        policy.infer(**{**observation, "state": [1, 2, 3]})
    assert code == 3 and str(raised.value) in words


@pytest.mark.parametrize("change, words", [
    ({"images": {"nose": numpy.zeros((4, 4, 3), numpy.uint8)}}, "camera 'nose'"),
    ({"images": {"cam_high": numpy.zeros((4, 4, 3), numpy.float32)}}, "expected a u8 array [height, width, 3]"),
    ({"images": {"cam_high": numpy.zeros((3, 4, 4), numpy.uint8)}}, "found u8 [3, 4, 4]"),
    ({"images": {"cam_high": numpy.array(["a"])}}, "camera 'cam_high': expected an array of numbers"),
    ({"images": {}}, "image"),
    ({"state": numpy.zeros((2, 7))}, "state: expected one axis"),
    ({"state": [[1.0], [1.0, 2.0]]}, "state: expected an array of numbers"),
    ({"state": [float("nan")] * 14}, "state"),
    ({"noise": numpy.zeros((3, 3), numpy.float32)}, "noise"),
    ({"noise": []}, "noise: expected values, found [0]"),
    ({"noise": numpy.zeros((0, 75), numpy.float32)}, "noise: expected values, found [0, 75]"),
])
def test_a_wrong_observation(policy, observation, change, words):
    with pytest.raises(nervus.InputError) as raised:
        policy.infer(**{**observation, **change})
    assert words in str(raised.value)


def test_noise_without_values_among_tensors(policy, observation):
    tensors = policy.preprocess(**observation)
    with pytest.raises(nervus.InputError, match="noise"):
        policy.infer_tensors(tensors, noise=numpy.zeros((1, 0, 75), numpy.float32))
    with pytest.raises(nervus.InputError, match="noise"):
        policy.infer_tensors({**tensors, "noise": numpy.zeros((1, 0, 75), numpy.float32)})


def test_steps_that_were_not_loaded(policy, observation):
    with pytest.raises(nervus.UsageError, match="steps: expected one of those"):
        policy.infer(**observation, steps=3)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(nervus.IoError, match="none.png"):
        nervus.read_image(tmp_path / "none.png")


def test_arguments_of_a_wrong_type(policy, checkpoint, observation):
    with pytest.raises(TypeError, match="unexpected keyword 'colour'"):
        nervus.Policy.load(checkpoint, colour="red")
    with pytest.raises(TypeError, match="device: expected str, found int"):
        nervus.Policy.load(checkpoint, device=1)
    with pytest.raises(TypeError, match="serve: expected a mapping of key to value, found int"):
        nervus.Server.load(checkpoint, 8000)
    for sample in (1, None, [observation]):
        with pytest.raises(TypeError, match="sample: expected an observation, tensors or a path of them, found "):
            policy.calibrate([sample])
    for images in (None, list(observation["images"].values())):
        for call in (policy.infer, policy.preprocess):
            with pytest.raises(TypeError, match="images: expected a mapping of camera to pixels, found "):
                call(**{**observation, "images": images})
    for tensors in (None, [1]):
        with pytest.raises(TypeError, match="tensors: expected a mapping of name to array, or a path, found "):
            policy.infer_tensors(tensors)


def test_progress_may_end_a_load(checkpoint):
    def stop(done, total, what):
        raise KeyboardInterrupt(what)
    with pytest.raises(KeyboardInterrupt):
        nervus.Policy.load(checkpoint, threads=1, progress=stop)
