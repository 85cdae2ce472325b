"""What LeRobot writes and reads as the config of a policy of type "nervus"."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NoReturn

from lerobot.configs.policies import PreTrainedConfig

from nervus.error import UnsupportedError
from nervus.options import LoadArguments

NO_TRAINING = "nervus does not train: train the checkpoint with its own code, and load it here"


@PreTrainedConfig.register_subclass("nervus")
@dataclass
class NervusConfig(PreTrainedConfig):
    """Where the checkpoint is, and how it is loaded and asked. `device` is where LeRobot's tensors are."""

    checkpoint: str = ""
    load: dict[str, Any] = field(default_factory=dict)
    """Keywords of `nervus.Policy.load`: device, precision, robot, steps, ..."""
    cameras: dict[str, str] = field(default_factory=dict)
    """Key of a batch -> camera; default: `observation.images.NAME` is the camera NAME."""
    n_action_steps: int = 0
    """Actions of a chunk that are played before the next is asked for; 0: all of them."""
    seed: int = 0
    """Of the noise of an episode's first call; each later call of the episode takes the next."""
    prompt: str = ""
    """The instruction where a batch has no task."""

    def arguments(self) -> LoadArguments:
        """The keywords of the load."""
        return {**self.load}  # type: ignore[typeddict-item]

    @property
    def observation_delta_indices(self) -> None:
        """One moment, no history."""
        return None

    @property
    def action_delta_indices(self) -> None:
        """No training, so no targets."""
        return None

    @property
    def reward_delta_indices(self) -> None:
        """No rewards."""
        return None

    def validate_features(self) -> None:
        """Any features: an observation is checked by the call that it is for."""

    def get_optimizer_preset(self) -> NoReturn:
        """Raises UnsupportedError: nervus infers."""
        raise UnsupportedError(NO_TRAINING)

    def get_scheduler_preset(self) -> None:
        """None: nervus infers."""
        return None
