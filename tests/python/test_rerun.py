"""A recorded call, read back from its file."""
import numpy
import pytest

rerun = pytest.importorskip("rerun", reason="the extra nervus[rerun] is not installed")

import nervus.rerun  # noqa: E402
from conftest import ALOHA  # noqa: E402
from rerun.chunk import RrdReader  # noqa: E402

TIMELINE = "robot_time"


def column_of(batch, suffix):
    name, = (name for name in batch.schema.names if name.endswith(suffix))
    return batch.column(name)


def read(path):
    """Entity -> [(seconds, values)], in time, of all rows in the file."""
    entities = {}
    for chunk in RrdReader(path).stream():
        batch = chunk.to_record_batch()
        if TIMELINE not in batch.schema.names:
            continue
        seconds = column_of(batch, TIMELINE).cast("int64").to_numpy() / 1e9
        suffix = next(s for s in ("Scalars:scalars", "TextLog:text", "Image:buffer")
                      if any(name.endswith(s) for name in batch.schema.names))
        rows = column_of(batch, suffix).to_pylist()
        entities.setdefault(chunk.entity_path, []).extend(zip(seconds.tolist(), rows, strict=True))
    return {path: sorted(rows, key=lambda row: row[0]) for path, rows in entities.items()}


@pytest.fixture(scope="module")
def recorded(policy, observation, tmp_path_factory):
    path = tmp_path_factory.mktemp("rerun") / "episode.rrd"
    recording = rerun.RecordingStream("nervus_test")
    recording.save(path)
    logger = nervus.rerun.Logger(recording, period=0.02)
    actions = policy.infer(**observation, seed=1)
    logger.log(seconds=10.0, actions=actions, **observation)
    again = policy.infer(**observation, seed=2)
    logger.log(seconds=20.0, actions=again, images={"cam_high": ALOHA / "cam_high.png"})
    recording.flush()
    recording.disconnect()
    return read(path), actions, again


def test_the_chunk_is_a_series(recorded):
    entities, actions, again = recorded
    for joint, name in enumerate(actions.names):
        rows = entities[f"/actions/{name}"]
        times = [10 + 0.02 * i for i in range(50)] + [20 + 0.02 * i for i in range(50)]
        assert numpy.allclose([seconds for seconds, _ in rows], times, atol=1e-6)
        values = numpy.concatenate([actions[:, joint], again[:, joint]]).astype(float)
        assert [value for _, [value] in rows] == values.tolist()


def test_what_the_policy_saw(recorded, observation):
    entities, actions, _ = recorded
    assert {path.split("/")[1] for path in entities} == {"actions", "images", "prompt", "state", "timings"}
    for name, value in zip(actions.names, observation["state"], strict=True):
        assert entities[f"/state/{name}"] == [(10.0, [value])]
    assert entities["/prompt"] == [(10.0, [observation["prompt"]])]
    high = entities["/images/cam_high"]
    assert [seconds for seconds, _ in high] == [10.0, 20.0]
    for _, [pixels] in high:
        assert bytes(pixels) == observation["images"]["cam_high"].tobytes()
    assert entities["/timings/total"][0] == (10.0, [actions.timings["total"]])


def test_what_it_refuses(policy, observation):
    recording = rerun.RecordingStream("nervus_test")
    with pytest.raises(nervus.UsageError, match="period: expected more than 0"):
        nervus.rerun.Logger(recording, period=0)
    logger = nervus.rerun.Logger(recording, period=0.1)
    actions = policy.infer(**observation, seed=1)
    with pytest.raises(nervus.InputError, match="with 0 names"):
        logger.log(seconds=0, actions=actions[:, :3])
    with pytest.raises(nervus.InputError, match="state: expected 14 values"):
        logger.log(seconds=0, actions=actions, state=[1.0])
