"""Tools around a policy (`include/nervus/tools.h`)."""
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy

from nervus import _native, values
from nervus.error import UsageError
from nervus.options import LoadArguments, Progress, load_options

if TYPE_CHECKING:
    from typing_extensions import Unpack


def version() -> str:
    """The library's version, as "0.1.0"."""
    return _native.version()


def inspect(directory: values.Path, **options: Unpack[LoadArguments]) -> _native.CheckpointReport:
    """What a checkpoint is, without reading its weights; keywords as `Policy.load` takes them.

    Raises CheckpointError only where the directory, a header or config.json cannot be read at all: what is missing,
    mismatched or unknown is in the report.
    """
    return _native.inspect(os.fspath(directory), load_options(options))


def calibrate(directory: values.Path, samples: Sequence[Mapping[str, Any] | values.Path], *,
              out: values.Path | None = None, check: values.Path | None = None, percentile: float = 100.0,
              **options: Unpack[LoadArguments]) -> _native.CalibrationReport:
    """How large the inputs of each linear are over samples, which is what fp8 scales them by.

    samples     observations, `{"images": {camera: pixels}, "state": ..., "prompt": ...}`, or the tensors of a call (or
                their path) as `Policy.infer_tensors` takes them; a sample may be asked for twice
    out         the file to write, which `Policy.load(..., precision="fp8", calibration=out)` takes
    check       instead, count how often the samples exceed the ranges of this calibration
    percentile  50 to 100 (the largest) of |x|: a linear's range
    options     as `Policy.load` takes them, precision f32 or bf16; `progress` counts samples
    """
    if out is not None and check is not None:
        raise UsageError("give out or check, one of them")
    calibrating = _native.CalibrateOptions()
    progress: Progress | None = options.pop("progress", None)
    calibrating.load = load_options(options)
    calibrating.percentile = percentile
    if check is not None:
        calibrating.check = os.fspath(check)
    if progress is not None:
        calibrating.progress = progress
    report = _native.calibrate(os.fspath(directory), len(samples), lambda i: values.sample(samples[i]), calibrating)
    if out is not None:
        _native.write_calibration(os.fspath(out), report)
    return report


def synthesise(directory: values.Path, *, preset: str = "tiny", seed: int = 0, dtype: str = "f32",
               outliers: bool = False, threads: int = 0, progress: Progress | None = None) -> None:
    """Writes a checkpoint of random weights with the public names and shapes ("tiny", "lingbot-vla-4b")."""
    options = _native.SynthOptions()
    options.preset, options.seed, options.dtype = preset, seed, dtype
    options.outliers, options.threads = outliers, threads
    if progress is not None:
        options.progress = progress
    _native.synthesise(os.fspath(directory), options)


def doctor() -> list[_native.Finding]:
    """What this build and machine can do, and how to mend what they cannot."""
    return _native.examine_machine()


def read_image(path: values.Path) -> numpy.ndarray:
    """The pixels of a PNG or JPEG, u8 [height, width, 3], as Pillow's convert("RGB") gives them."""
    return _native.read_image(os.fspath(path))


def read_arrays(path: values.Path) -> dict[str, numpy.ndarray]:
    """All arrays of a .safetensors, the one of a .npy or .pt, or those of a directory; bf16 widened to float32."""
    return _native.read_arrays(os.fspath(path))
