"""What a type checker must accept; also a program that runs."""
import sys

import numpy as np
import numpy.typing as npt

import nervus


def first_action(directory: str) -> dict[str, float]:
    policy = nervus.Policy.load(directory, device="cpu", precision="bf16", steps=[10], robot="aloha")
    image: npt.NDArray[np.uint8] = np.full((480, 640, 3), 128, dtype=np.uint8)
    images = {camera: image for camera in policy.info.cameras}
    state = np.zeros(policy.info.state_dimensions)
    try:
        actions = policy.infer(images=images, state=state, prompt="Pick up the red cube.", seed=1)
    except nervus.InputError as error:
        sys.exit(f"{error.kind}: {error}")
    milliseconds: float = actions.timings["total"]
    print(f"{milliseconds:.1f} ms, {actions.shape}")
    return actions.as_dicts()[0]


policy = nervus.Policy.load(sys.argv[1])
first_action(sys.argv[1])
