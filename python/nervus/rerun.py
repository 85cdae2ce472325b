"""What a policy saw and answered, for the Rerun viewer (the extra `nervus[rerun]`).

    recording = rerun.RecordingStream("robot")
    recording.save("episode.rrd")
    logger = nervus.rerun.Logger(recording, period=0.02)
    actions = policy.infer(images=images, state=state, prompt=prompt)
    logger.log(seconds=now, images=images, state=state, prompt=prompt, actions=actions)
"""
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy
import rerun

from nervus.actions import Actions
from nervus.error import InputError, UsageError
from nervus.tools import read_image


class Logger:
    """Logs calls on the timeline `robot_time`, in seconds.

    images/CAMERA   the frames
    state/JOINT     the state at the call
    prompt          the instruction
    actions/JOINT   the chunk as a time series: step i at the call's time + i * period
    timings/STAGE   milliseconds of the call
    """

    def __init__(self, recording: rerun.RecordingStream, *, period: float, timeline: str = "robot_time",
                 names: Sequence[str] = ()) -> None:
        """Of a recording that goes to a file, a viewer or a server.

        period    seconds from one action of a chunk to the next
        names     of the state's values; default: those of the actions
        """
        if not period > 0:
            raise UsageError(f"period: expected more than 0 seconds, found {period:g}")
        self._recording, self._period, self._timeline, self._names = recording, period, timeline, tuple(names)

    def log(self, *, seconds: float, actions: Actions | None = None, images: Mapping[str, Any] | None = None,
            state: Any = None, prompt: str | None = None) -> None:
        """One call at `seconds` of the robot's clock; what is left out is not logged. Arguments as `Policy.infer`'s."""
        self._recording.set_time(self._timeline, duration=seconds)
        for camera, image in (images or {}).items():
            frame = read_image(image) if isinstance(image, (str, os.PathLike)) else numpy.asarray(image)
            self._recording.log(f"images/{camera}", rerun.Image(frame))
        if prompt is not None:
            self._recording.log("prompt", rerun.TextLog(prompt))
        if state is not None:
            self._log_state(numpy.asarray(state, dtype=numpy.float64), actions)
        if actions is not None:
            self._log_actions(actions, seconds)

    def _log_state(self, state: numpy.ndarray, actions: Actions | None) -> None:
        names = self._names or (actions.names if actions is not None else ())
        if state.ndim != 1 or (names and len(names) != len(state)):
            raise InputError(f"state: expected {len(names) or 'any number of'} values, found {list(state.shape)}")
        for name, value in zip(names or map(str, range(len(state))), state, strict=True):
            self._recording.log(f"state/{name}", rerun.Scalars(float(value)))

    def _log_actions(self, actions: Actions, seconds: float) -> None:
        values = numpy.asarray(actions, dtype=numpy.float64)
        if values.ndim != 2 or len(actions.names) != values.shape[1]:
            raise InputError(f"actions: expected a chunk [steps, dimensions] as Policy.infer gives it, found "
                             f"{list(values.shape)} with {len(actions.names)} names")
        times = seconds + self._period * numpy.arange(len(values))
        for name, series in zip(actions.names, values.T, strict=True):
            self._recording.send_columns(f"actions/{name}", indexes=[rerun.TimeColumn(self._timeline, duration=times)],
                                         columns=rerun.Scalars.columns(scalars=series))
        for stage, milliseconds in actions.timings.items():
            self._recording.log(f"timings/{stage}", rerun.Scalars(milliseconds))
