"""A loaded checkpoint."""
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy

from nervus import _native, values
from nervus.actions import Actions
from nervus.options import LoadArguments, Progress, load_options
from nervus.tools import calibrate

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Policy:
    """Camera images, joint state and an instruction in; a chunk of actions out (`include/nervus/policy.h`).

    Threads may share a policy: its calls wait for each other, and neither loading nor inferring holds the
    interpreter's lock. Several policies run side by side.
    """

    def __init__(self, native: _native.Policy, directory: str, arguments: LoadArguments) -> None:
        """Use `Policy.load`."""
        self._native, self._directory, self._arguments = native, directory, arguments

    @classmethod
    def load(cls, directory: values.Path, **options: Unpack[LoadArguments]) -> Policy:
        """Loads a checkpoint directory.

        Keywords, all optional: `device` ("cpu", "cuda:0"), `precision` ("bf16", "f32", "f16", "fp8", "int8"), `recipe`
        of f16, fp8 and int8, `calibration` of fp8, `attention` ("auto", "fast", "plain"), `plan` (of a GPU: the file
        that keeps its choices of kernels, so that loads give the same bits), `threads`, `steps` (every count that will
        be asked for), `time_grid` ("exact", "bf16-accumulated"), `robot` ("aloha", "robotwin"), `norm_stats`,
        `normalization`, `batch`, `views`, `patches` and `text_tokens` of the largest call of tensors, and `progress`,
        called with bytes done, bytes in all, and what is being read (`nervus.options.LoadArguments` tells each).

        Raises CheckpointError, UnsupportedError, IoError, UsageError or DeviceError: what can fail, fails here.
        """
        path = os.fspath(directory)
        return cls(_native.Policy.load(path, load_options(options)), path, options)

    def infer(self, *, images: Mapping[str, Any], state: Any, prompt: str, seed: int = 0, noise: Any = None,
              steps: int = 0, keep_prefix: bool = False) -> Actions:
        """One call, camera to actions: float32 [info.chunk_steps, info.action_dimensions], in the robot's units.

        images       camera (of info.cameras) -> RGB, u8 [height, width, 3] of any size, or the path of a PNG or JPEG;
                     a camera that is absent counts as a missing view
        state        [info.state_dimensions], in the robot's order and units (rad, m)
        prompt       the instruction
        seed         of the noise, where none is given: the same seed gives the same bytes (on a GPU
                     by one choice of kernels: `plan`)
        noise        f32 [n_action_steps, max_action_dim]
        steps        of the loaded counts of Euler steps; 0: the first of them
        keep_prefix  images and prompt count as those of this policy's last call, which is faster

        Raises InputError for what is wrong with the observation, NumericError rather than return what is not finite.
        """
        options = self._infer_options(seed, noise, steps, keep_prefix)
        chunk = self._native.infer(values.observation(images, state, prompt), options)
        return Actions(chunk.values[0], tuple(chunk.names), tuple(chunk.units), chunk.timing)

    def infer_tensors(self, tensors: Mapping[str, Any] | values.Path, *, seed: int = 0, noise: Any = None,
                      steps: int = 0, keep_prefix: bool = False) -> Actions:
        """The same from the tensors of a call: float32 [B, n_action_steps, max_action_dim], in the model's units.

        tensors      images [B, V, P, 1176] (f32, f16, bf16) or [B, V, S, S, 3] (u8, RGB), img_masks [B, V] bool,
                     lang_tokens [B, T] i64 or i32, lang_masks [B, T] bool, state [B, max_state_dim]
                     f32, and perhaps noise; or a .safetensors, or a directory of .npy or .pt, that holds them. A
                     missing batch axis is added.
        seed, noise, steps, keep_prefix  as `infer` takes them
        """
        options = self._infer_options(seed, noise, steps, keep_prefix)
        chunk = self._native.infer_tensors(values.inputs(tensors), options)
        return Actions(chunk.values, tuple(chunk.names), tuple(chunk.units), chunk.timing)

    def preprocess(self, *, images: Mapping[str, Any], state: Any, prompt: str) -> dict[str, numpy.ndarray]:
        """The tensors that `infer` feeds the model, as `infer_tensors` takes them."""
        return self._native.preprocess(values.observation(images, state, prompt)).arrays()

    def calibrate(self, samples: Sequence[Mapping[str, Any] | values.Path], *, out: values.Path | None = None,
                  check: values.Path | None = None, percentile: float = 100.0,
                  progress: Progress | None = None) -> _native.CalibrationReport:
        """`nervus.calibrate` on this policy's checkpoint, robot, device and steps, in bf16 where it has 8 bits.

        The checkpoint is loaded once more beside this policy.
        """
        arguments: LoadArguments = {**self._arguments}
        if self.info.precision in ("f16", "fp8", "int8"):
            arguments["precision"] = "bf16"
            for name in ("recipe", "calibration"):
                arguments.pop(name, None)  # type: ignore[misc]
        arguments.pop("progress", None)  # the load's, which counts bytes
        if progress is not None:
            arguments["progress"] = progress
        return calibrate(self._directory, samples, out=out, check=check, percentile=percentile, **arguments)

    @property
    def info(self) -> _native.PolicyInfo:
        """What it is: family, device, precision, steps, joints, cameras, dimensions, memory, plans."""
        return self._native.info

    def __repr__(self) -> str:
        return f"nervus.Policy({self._directory!r}, device={self.info.device!r}, precision={self.info.precision!r})"

    def _infer_options(self, seed: int, noise: Any, steps: int, keep_prefix: bool) -> _native.InferOptions:
        options = _native.InferOptions()
        options.seed, options.steps, options.keep_prefix = seed, steps, keep_prefix
        if noise is not None:
            options.set_noise(values.array(noise, "noise"))
        return options
