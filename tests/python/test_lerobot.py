"""nervus in LeRobot's own functions, against what nervus answers without them."""
import numpy
import pytest

lerobot = pytest.importorskip("lerobot", reason="the extra nervus[lerobot] is not installed")
torch = pytest.importorskip("torch")

import nervus.lerobot  # noqa: E402
from conftest import ALOHA  # noqa: E402
from lerobot.common.control_utils import predict_action  # noqa: E402
from lerobot.policies.factory import get_policy_class, make_pre_post_processors  # noqa: E402


@pytest.fixture(scope="module")
def adapter(checkpoint):
    return nervus.lerobot.NervusPolicy.from_checkpoint(
        checkpoint, robot="aloha", norm_stats=ALOHA / "norm_stats.json", steps=[2], threads=1, n_action_steps=3, seed=5,
        cameras={"observation.images.top": "cam_high"})


@pytest.fixture(scope="module")
def batch(observation):
    """Two rows as LeRobot's data sets give them; the second row's state is another."""
    images = {camera: torch.from_numpy(image).permute(2, 0, 1).float() / 255
              for camera, image in observation["images"].items()}
    images = {f"observation.images.{camera}": torch.stack([image, image]) for camera, image in images.items()}
    images["observation.images.top"] = images.pop("observation.images.cam_high")
    state = torch.tensor(observation["state"], dtype=torch.float32)
    return {**images, "observation.state": torch.stack([state, state + 0.1]),
            "task": [observation["prompt"], "Put it down."]}


@pytest.fixture(scope="module")
def expected(checkpoint, observation):
    policy = nervus.Policy.load(checkpoint, robot="aloha", norm_stats=ALOHA / "norm_stats.json", steps=[2], threads=1)
    other = {**observation, "state": (numpy.float32(observation["state"]) + numpy.float32(0.1)).tolist(),
             "prompt": "Put it down."}
    return lambda row, seed: policy.infer(**(other if row else observation), seed=seed)


def test_a_chunk_is_the_policys(adapter, batch, expected):
    adapter.reset()
    chunk = adapter.predict_action_chunk(batch)
    assert chunk.shape == (2, 50, 14) and chunk.dtype == torch.float32
    assert chunk[0].numpy().tobytes() == expected(0, 5).tobytes()
    assert chunk[1].numpy().tobytes() == expected(1, 6).tobytes()


def test_actions_are_played_then_asked_for(adapter, batch, expected):
    adapter.reset()
    actions = [adapter.select_action(batch)[0].numpy() for _ in range(4)]
    first, second = expected(0, 5), expected(0, 7)
    assert all((actions[step] == first[step]).all() for step in range(3)) and (actions[3] == second[0]).all()
    adapter.reset()
    assert (adapter.select_action(batch)[0].numpy() == first[0]).all()


def test_lerobots_loop(adapter, observation, expected):
    """LeRobot's own step: its tensors of raw frames, its processors of the type "nervus", its policy class."""
    assert get_policy_class("nervus") is nervus.lerobot.NervusPolicy
    before, after = make_pre_post_processors(adapter.config)
    adapter.reset()
    names = {"cam_high": "top"}
    raw = {f"observation.images.{names.get(camera, camera)}": image for camera, image in observation["images"].items()}
    raw["observation.state"] = numpy.array(observation["state"], dtype=numpy.float32)
    action = predict_action(raw, adapter, torch.device("cpu"), before, after, use_amp=False, task=observation["prompt"])
    assert (action.squeeze(0).numpy() == expected(0, 5)[0]).all()


def test_saved_and_read_again(adapter, batch, tmp_path):
    adapter.save_pretrained(tmp_path)
    again = nervus.lerobot.NervusPolicy.from_pretrained(tmp_path)
    assert (again.config.checkpoint, again.config.n_action_steps) == (adapter.config.checkpoint, 3)
    adapter.reset()
    assert torch.equal(again.select_action(batch), adapter.select_action(batch))


def test_noise_is_the_callers(adapter, batch):
    noise = torch.randn(2, 50, 75, generator=torch.Generator().manual_seed(1))
    chunk = adapter.predict_action_chunk(batch, noise=noise)
    assert torch.equal(chunk, adapter.predict_action_chunk(batch, noise=noise))
    assert not torch.equal(chunk[0], adapter.predict_action_chunk(batch, noise=noise.flip(0))[0])


@pytest.mark.parametrize("change, words", [
    ({"observation.images.top": torch.full((1, 3, 4, 4), 2.0)}, "floats of 0 to 1, found 2 to 2"),
    ({"observation.images.top": torch.full((1, 3, 4, 4), float("nan"))}, "floats of 0 to 1"),
    ({"observation.images.top": torch.zeros(1, 4, 4, 3)}, r"expected \[3, height, width\]"),
    ({"observation.images.nose": torch.zeros(1, 3, 4, 4)}, "camera 'nose'"),
    ({"observation.state": torch.zeros(1, 3)}, "state: expected 14 values"),
])
def test_a_wrong_batch(adapter, batch, change, words):
    with pytest.raises(nervus.InputError, match=words):
        adapter.predict_action_chunk({**batch, **change})


def test_what_it_cannot_do(adapter, batch, checkpoint):
    with pytest.raises(nervus.UnsupportedError, match="does not train"):
        adapter(batch)
    with pytest.raises(nervus.UsageError, match="n_action_steps: expected 0 to 50"):
        nervus.lerobot.NervusPolicy.from_checkpoint(checkpoint, threads=1, n_action_steps=51)
