"""A policy's answers: those of the command line, to the last bit."""
import pickle

import numpy
import pytest

import nervus
from conftest import ALOHA


def run_arguments(checkpoint, observation, steps):
    images = [f"--image={camera}={ALOHA / camera}.png" for camera in observation["images"]]
    return ["run", "--checkpoint", checkpoint, "--robot", "aloha", "--norm-stats", ALOHA / "norm_stats.json", *images,
            "--state", ALOHA / "state.json", "--prompt", observation["prompt"], "--threads", 1, "--steps", steps]


@pytest.mark.parametrize("seed", [0, 7])
def test_bytes_are_those_of_the_command_line(policy, checkpoint, observation, command_line, tmp_path, seed):
    out = tmp_path / "actions.npy"
    code, words = command_line(*run_arguments(checkpoint, observation, 2), "--seed", seed, "--out", out)
    assert code == 0, words
    expected = numpy.load(out)
    found = policy.infer(**observation, seed=seed, steps=2)
    assert found.tobytes() == expected.tobytes()
    assert found.shape == expected.shape == (50, 14)


def test_an_image_is_its_file(policy, observation):
    files = {camera: ALOHA / f"{camera}.png" for camera in observation["images"]}
    assert (policy.infer(**observation, seed=3).tobytes() ==
            policy.infer(**{**observation, "images": files}, seed=3).tobytes())


def test_actions_carry_names_units_timings(policy, observation):
    actions = policy.infer(**observation, seed=1)
    assert isinstance(actions, numpy.ndarray) and actions.dtype == numpy.float32
    assert actions.shape == (policy.info.chunk_steps, policy.info.action_dimensions)
    assert list(actions.names) == policy.info.joints
    assert actions.units[:7] == ("rad",) * 6 + ("fraction open",)
    assert {"preprocess", "vision", "prefix", "denoise", "postprocess", "total"} == set(actions.timings)
    assert 0 < actions.timings["denoise"] < actions.timings["total"]
    assert actions.as_dicts()[3]["left_elbow"] == actions[3, 2]


def test_what_is_cut_from_actions_has_no_names(policy, observation):
    actions = policy.infer(**observation, seed=1)
    assert actions[:, ::-1].names == () and (actions * 2).timings == {} and actions[0].units == ()
    again = pickle.loads(pickle.dumps(actions))
    assert (again == actions).all() and again.names == actions.names and again.timings == actions.timings


def test_seed_noise_and_steps(policy, observation):
    first = policy.infer(**observation, seed=5)
    assert (first == policy.infer(**observation, seed=5, steps=4)).all()
    assert (first != policy.infer(**observation, seed=6)).any()
    assert (first != policy.infer(**observation, seed=5, steps=2)).any()
    noise = numpy.random.default_rng(1).standard_normal((50, 75)).astype(numpy.float32)
    given = policy.infer(**observation, noise=noise)
    assert (given == policy.infer(**observation, noise=noise[None], seed=9)).all()
    assert (given != first).any()


def test_a_view_may_lie_anyhow_in_memory(policy, observation):
    image = observation["images"]["cam_high"]
    flipped = {**observation["images"], "cam_high": image[::-1]}
    copied = {**observation["images"], "cam_high": image[::-1].copy()}
    read_only = {**copied, "cam_high": copied["cam_high"].copy()}
    read_only["cam_high"].flags.writeable = False
    answers = [policy.infer(**{**observation, "images": images}, seed=1) for images in (flipped, copied, read_only)]
    assert (answers[0] == answers[1]).all() and (answers[0] == answers[2]).all()
    assert (answers[0] != policy.infer(**observation, seed=1)).any()


def test_state_of_any_number_type(policy, observation):
    state = numpy.round(observation["state"])
    answers = [policy.infer(**{**observation, "state": given}, seed=1)
               for given in (state.tolist(), state.astype(numpy.int16), state.astype(">f8"), state.astype("f4"))]
    assert all((answer == answers[0]).all() for answer in answers)


def test_keep_prefix_skips_the_images(policy, observation):
    whole = policy.infer(**observation, seed=2)
    kept = policy.infer(**observation, seed=2, keep_prefix=True)
    assert (kept == whole).all()
    assert kept.timings.get("vision", 0) < whole.timings["vision"]


def test_tensors_are_what_preprocess_makes(policy, observation, checkpoint):
    tensors = policy.preprocess(**observation)
    assert tensors["images"].shape == (1, 3, 256, 1176)
    plain = nervus.Policy.load(checkpoint, steps=[4], threads=1)
    found = plain.infer_tensors(tensors, seed=4)
    assert found.shape == (1, 50, 75) and found.names[0] == "action_0"
    batchless = {name: tensor[0] for name, tensor in tensors.items()}
    assert found.tobytes() == plain.infer_tensors(batchless, seed=4).tobytes()
    halves = {**tensors, "images": tensors["images"].astype(numpy.float16)}
    assert (plain.infer_tensors(halves, seed=4) != found).any()


def test_tensors_may_have_pixels(policy, observation, checkpoint):
    tensors = policy.preprocess(**observation)
    plain = nervus.Policy.load(checkpoint, steps=[4], threads=1)
    black = {**tensors, "images": numpy.zeros((1, 3, 224, 224, 3), numpy.uint8)}
    found = plain.infer_tensors(black, seed=4)
    assert found.shape == (1, 50, 75) and (found != plain.infer_tensors(tensors, seed=4)).any()
    assert found.tobytes() == plain.infer_tensors({name: t[0] for name, t in black.items()}, seed=4).tobytes()
    with pytest.raises(nervus.InputError, match=r"images: expected u8 \[1, 3, 224, 224, 3\]"):
        plain.infer_tensors({**tensors, "images": black["images"][:, :, 28:]})


def test_tensors_from_a_directory(policy, observation, tmp_path):
    tensors = policy.preprocess(**observation)
    for name, tensor in tensors.items():
        numpy.save(tmp_path / f"{name}.npy", tensor)
    assert (policy.infer_tensors(tmp_path, seed=4) == policy.infer_tensors(tensors, seed=4)).all()
    assert {name: array.tobytes() for name, array in nervus.read_arrays(tmp_path).items()} == {
        name: tensor.tobytes() for name, tensor in tensors.items()}


def test_info_tells_what_was_loaded(policy):
    info = policy.info
    assert info.family == "lingbot-vla" and info.precision == "bf16" and info.steps == [4, 2]
    assert info.cameras == ["cam_high", "cam_left_wrist", "cam_right_wrist"]
    assert info.limits.views == 3 and info.state_dimensions == 14
    assert "family='lingbot-vla'" in repr(info) and "bf16" in repr(policy)


def test_limits_are_those_asked_for(checkpoint):
    info = nervus.Policy.load(checkpoint, threads=1, batch=2, views=1, precision="f32").info
    assert (info.limits.batch, info.limits.views, info.precision) == (2, 1, "f32")
