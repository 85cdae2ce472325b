"""nervus.Policy behind the methods that LeRobot's loops call."""
from __future__ import annotations

import os
from collections import deque
from typing import Any, NoReturn

import numpy
import torch
from lerobot.policies.pretrained import PreTrainedPolicy

import nervus
from nervus.lerobot.configuration_nervus import NO_TRAINING, NervusConfig

IMAGES, STATE, TASK = "observation.images.", "observation.state", "task"


class NervusPolicy(PreTrainedPolicy):
    """Batches of LeRobot in, actions in the robot's own units out; normalisation is the checkpoint's.

    A batch has `observation.images.NAME` (float [B, 3, H, W] of 0 to 1, or u8), `observation.state` [B, joints] and
    `task` (a text, or one a row).
    """

    config_class = NervusConfig
    name = "nervus"

    def __init__(self, config: NervusConfig, **_: Any) -> None:
        super().__init__(config)
        self.policy = nervus.Policy.load(config.checkpoint, **config.arguments())
        self._check_steps(config.n_action_steps)
        self.reset()

    @classmethod
    def from_checkpoint(cls, checkpoint: str | os.PathLike[str], *, cameras: dict[str, str] | None = None,
                        n_action_steps: int = 0, seed: int = 0, prompt: str = "", **load: Any) -> NervusPolicy:
        """Of a checkpoint directory; `load` as `nervus.Policy.load` takes it, the rest as NervusConfig tells."""
        load = {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in load.items()}
        return cls(NervusConfig(checkpoint=os.fspath(checkpoint), load=load, cameras=cameras or {}, device="cpu",
                                n_action_steps=n_action_steps, seed=seed, prompt=prompt))

    @classmethod
    def from_pretrained(cls, pretrained_name_or_path: str | os.PathLike[str], *, config: Any = None,
                        **kwargs: Any) -> NervusPolicy:
        """Of a directory that `save_pretrained` wrote; the weights stay in the checkpoint that its config names."""
        if config is None:
            config = NervusConfig.from_pretrained(pretrained_name_or_path, **kwargs)
        return cls(config)

    def _save_pretrained(self, save_directory: Any, state_dict: Any = None) -> None:
        self.config._save_pretrained(save_directory)

    def reset(self) -> None:
        """A new episode: what was planned is dropped, and the seeds begin again."""
        self._planned: deque[torch.Tensor] = deque()
        self._calls = 0

    def predict_action_chunk(self, batch: dict[str, Any], noise: torch.Tensor | None = None,
                             **_: Any) -> torch.Tensor:
        """[B, chunk, joints]; each row of the batch is a call. Noise is [chunk, actions] or has the batch in front."""
        rows = batch[STATE].shape[0]
        chunks = []
        for row in range(rows):
            given = None if noise is None else noise[row] if noise.ndim == 3 else noise
            chunks.append(self.policy.infer(images=self._images(batch, row), prompt=self._prompt(batch, row),
                                            state=batch[STATE][row].detach().cpu().numpy(), noise=given,
                                            seed=self.config.seed + self._calls))
            self._calls += 1
        return torch.from_numpy(numpy.stack([numpy.asarray(chunk) for chunk in chunks])).to(batch[STATE].device)

    def select_action(self, batch: dict[str, Any], noise: torch.Tensor | None = None, **_: Any) -> torch.Tensor:
        """[B, joints]: the next action; asks for a chunk when the last has been played."""
        if not self._planned:
            chunk = self.predict_action_chunk(batch, noise=noise)
            played = self.config.n_action_steps or chunk.shape[1]
            self._planned.extend(chunk[:, :played].transpose(0, 1))
        return self._planned.popleft()

    def forward(self, batch: dict[str, Any]) -> NoReturn:
        """Raises UnsupportedError: nervus infers."""
        raise nervus.UnsupportedError(NO_TRAINING)

    def get_optim_params(self) -> dict[str, Any]:
        """None: the weights are nervus's own."""
        return {}

    def _check_steps(self, count: int) -> None:
        most = self.policy.info.chunk_steps
        if not 0 <= count <= most:
            raise nervus.UsageError(f"n_action_steps: expected 0 to {most}, the actions of a chunk, found {count}")

    def _images(self, batch: dict[str, Any], row: int) -> dict[str, numpy.ndarray]:
        images = {}
        for key, frames in batch.items():
            camera = self.config.cameras.get(key, key.removeprefix(IMAGES) if key.startswith(IMAGES) else "")
            if camera:
                images[camera] = pixels(frames[row], key)
        return images

    def _prompt(self, batch: dict[str, Any], row: int) -> str:
        task = batch.get(TASK) or self.config.prompt
        return task if isinstance(task, str) else task[row]


def pixels(frame: torch.Tensor, name: str) -> numpy.ndarray:
    """u8 [H, W, 3] of a frame [3, H, W]; floats are 0 to 1, as LeRobot's data sets have them."""
    if frame.ndim != 3 or frame.shape[0] != 3:
        raise nervus.InputError(f"{name}: expected [3, height, width] a row, found {list(frame.shape)}")
    if frame.dtype != torch.uint8:
        low, high = float(frame.min()), float(frame.max())
        if not 0 <= low <= high <= 1:
            raise nervus.InputError(f"{name}: expected floats of 0 to 1, found {low:g} to {high:g}: leave "
                                    "normalising to nervus (normalization_mapping)")
        frame = (frame * 255).round().to(torch.uint8)
    return numpy.ascontiguousarray(frame.detach().cpu().permute(1, 2, 0).numpy())
