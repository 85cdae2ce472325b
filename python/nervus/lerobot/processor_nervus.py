"""What LeRobot does with a batch before the policy and with an action after it."""
from __future__ import annotations

from typing import Any

from lerobot.processor import (AddBatchDimensionProcessorStep, PolicyProcessorPipeline, RenameObservationsProcessorStep,
                               policy_action_to_transition, transition_to_policy_action)

from nervus.lerobot.configuration_nervus import NervusConfig


def make_nervus_pre_post_processors(config: NervusConfig, dataset_stats: Any = None) -> tuple[Any, Any]:
    """Adds the batch axis and nothing else: normalisation, both ways, is the checkpoint's own."""
    before = PolicyProcessorPipeline(
        steps=[RenameObservationsProcessorStep(rename_map={}), AddBatchDimensionProcessorStep()],
        name="policy_preprocessor")
    after = PolicyProcessorPipeline(steps=[], name="policy_postprocessor", to_transition=policy_action_to_transition,
                                    to_output=transition_to_policy_action)
    return before, after
