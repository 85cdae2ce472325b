"""nervus: vision-language-action policies, natively.

    policy = nervus.Policy.load("lingbot-vla-4b", device="cuda:0", robot="aloha")
    actions = policy.infer(images={"cam_high": image}, state=state, prompt="Pick up the red cube.")

`actions` is a float32 array [steps, joints] with `names`, `units` and `timings`. Every failure is a `nervus.Error` of a
kind, in the words of the command line.
"""
from nervus._native import CalibrationReport, CheckpointReport, PolicyInfo
from nervus.actions import Actions
from nervus.client import Client
from nervus.error import (CheckpointError, DeviceError, Error, InputError, InternalError, IoError, NumericError,
                          Refused, UnsupportedError, UsageError)
from nervus.policy import Policy
from nervus.server import Server
from nervus.tools import calibrate, doctor, inspect, read_arrays, read_image, synthesise, version

__version__ = version()
__all__ = [
    "Actions", "CalibrationReport", "CheckpointError", "CheckpointReport", "Client", "DeviceError", "Error",
    "InputError", "InternalError", "IoError", "NumericError", "Policy", "PolicyInfo", "Refused", "Server",
    "UnsupportedError", "UsageError", "calibrate", "doctor", "inspect", "read_arrays", "read_image", "synthesise",
    "version",
]
