"""A chunk of future actions."""
from __future__ import annotations

from typing import Any

import numpy


class Actions(numpy.ndarray):
    """A float32 array [steps, dimensions], or [batch, steps, dimensions] of tensors, with what its columns are.

    In the robot's own order and units (rad, m), or in the model's normalised units without a robot; every value is
    finite. What is cut or computed from it is an array whose names, units and timings are empty: columns may have
    moved.
    """

    names: tuple[str, ...]
    """One a dimension, as `left_waist`."""
    units: tuple[str, ...]
    """One a dimension, as `rad`; `""` where unknown."""
    timings: dict[str, float]
    """Stage -> milliseconds: `preprocess`, `vision`, `prefix`, `denoise`, `postprocess`, `total`."""

    def __new__(cls, values: Any, names: tuple[str, ...] = (), units: tuple[str, ...] = (),
                timings: dict[str, float] | None = None) -> Actions:
        actions = numpy.asarray(values, dtype=numpy.float32).view(cls)
        actions.names, actions.units, actions.timings = tuple(names), tuple(units), dict(timings or {})
        return actions

    def __array_finalize__(self, source: Any) -> None:
        self.names, self.units, self.timings = (), (), {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Actions, (numpy.array(self), self.names, self.units, self.timings)

    def as_dicts(self) -> list[dict[str, float]]:
        """The actions of a chunk [steps, dimensions] by name, one dictionary a step."""
        return [dict(zip(self.names, step, strict=True)) for step in self.tolist()]
