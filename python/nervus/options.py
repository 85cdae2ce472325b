"""What a caller may choose at load."""
from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Literal, TypedDict

from nervus import _native
from nervus.values import Path

Progress = Callable[[int, int, str], None]
Precision = Literal["f32", "bf16", "f16", "fp8", "int8"]


class LoadArguments(TypedDict, total=False):
    """The keywords of `Policy.load`, `inspect` and `calibrate`; all of them may be left out."""

    device: str
    """`"cpu"` (default), `"cuda:0"`."""
    precision: Precision
    """`"bf16"` (default), `"f32"`, `"f16"`, `"fp8"`, `"int8"`: how weights and activations are held."""
    recipe: Path
    """Of f16, fp8 and int8: which linears have which format, `"f16"`, `"fp8"`, `"fp8-all"`, `"int8"`,
    `"int8-all"`, `"mixed"` or the path of a .json; default: as the precision."""
    calibration: Path
    """Of fp8: the file that `calibrate` writes."""
    attention: Literal["auto", "fast", "plain"]
    """Which attention kernels: `"auto"` (default) takes the fast ones where they have the shape."""
    plan: Path
    """Of a GPU: the file that keeps which kernel computes each product, so that every load by it gives the same bits
    and measures nothing; what it lacks is measured and written into it, which makes it where there is none."""
    threads: int
    """Of the CPU; 0 (default): every core that the process may use."""
    steps: Sequence[int]
    """Every count of Euler steps that will be asked for, 1 to 1000; default: the checkpoint's."""
    time_grid: Literal["exact", "bf16-accumulated"]
    """Times of the steps: `"exact"` (default), or as the public implementation on a GPU."""
    robot: str
    """Whose joints: `"aloha"`, `"robotwin"`; default: the model's own order and units."""
    norm_stats: Path
    """norm_stats.json; default: the one beside the checkpoint, if a robot is named."""
    normalization: str
    """As `"bounds_99"`; default: the robot's."""
    batch: int
    """Samples of the largest call, of tensors; default 1."""
    views: int
    """Views of the largest call; default: the checkpoint's."""
    patches: int
    """Patches of a view; default: the checkpoint's."""
    text_tokens: int
    """Text tokens of the largest call; default: the checkpoint's."""
    progress: Progress
    """Called with bytes done, bytes in all, and what is being read; an exception of it ends the load."""


LIMITS = ("batch", "views", "patches", "text_tokens")
PATHS = ("recipe", "calibration", "plan", "norm_stats")


def load_options(arguments: LoadArguments) -> _native.LoadOptions:
    """Of the keywords. Raises UsageError for a value, TypeError for a keyword, that is not known."""
    options, limits = _native.LoadOptions(), _native.Limits()
    for name, value in arguments.items():
        if name not in LoadArguments.__annotations__:
            known = ", ".join(LoadArguments.__annotations__)
            raise TypeError(f"unexpected keyword '{name}'; those of a load are {known}")
        try:
            if name == "steps":
                options.steps = list(arguments["steps"])
            else:
                given = os.fspath(value) if name in PATHS else value  # type: ignore[call-overload]
                setattr(limits if name in LIMITS else options, name, given)
        except TypeError:
            expected = LoadArguments.__annotations__[name]
            words = getattr(expected, "__forward_arg__", expected)
            raise TypeError(f"{name}: expected {words}, found {type(value).__name__}") from None
    options.limits = limits
    return options
