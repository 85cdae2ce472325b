"""What callers give, as the library takes it."""
from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy

from nervus import _native
from nervus.error import InputError

Path = str | os.PathLike[str]


def array(value: Any, name: str) -> Any:
    """Whatever is array-like on the host: of numpy, torch (bfloat16 too), a list, a PIL image."""
    if hasattr(value, "__dlpack__") and not isinstance(value, numpy.ndarray):
        return value.detach() if hasattr(value, "detach") else value
    try:
        given = numpy.asarray(value)
    except ValueError as error:  # lists of unequal lengths
        raise InputError(f"{name}: expected an array of numbers, found what numpy does not take: {error}") from None
    if given.dtype.kind not in "biuf":
        raise InputError(f"{name}: expected an array of numbers, found {given.dtype}")
    return numpy.ascontiguousarray(given, dtype=given.dtype.newbyteorder("=")).reshape(given.shape)


def mapping(value: Any, name: str, of: str) -> Mapping[str, Any]:
    """The value. Raises TypeError where it is no mapping."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name}: expected a mapping of {of}, found {type(value).__name__}")
    return value


def observation(images: Mapping[str, Any], state: Any, prompt: str) -> _native.Observation:
    """Of `images` (camera -> pixels u8 [height, width, 3], or the path of a PNG or JPEG), state and instruction."""
    given = _native.Observation()
    for camera, image in mapping(images, "images", "camera to pixels").items():
        if isinstance(image, (str, os.PathLike)):
            given.read_image(camera, os.fspath(image))
        else:
            given.add_image(camera, array(image, f"camera '{camera}'"))
    values = numpy.asarray(array(state, "state"))
    if values.ndim != 1:
        raise InputError(f"state: expected one axis, a value a joint, found {list(values.shape)}")
    given.state = values.astype(numpy.float32).tolist()
    given.prompt = prompt
    return given


def inputs(tensors: Mapping[str, Any] | Path) -> _native.Inputs:
    """Of named tensors, or a file or directory of them."""
    if isinstance(tensors, (str, os.PathLike)):
        return _native.Inputs.load(os.fspath(tensors))
    given = mapping(tensors, "tensors", "name to array, or a path")
    return _native.Inputs.of({name: array(value, name) for name, value in given.items()})


def sample(given: Mapping[str, Any] | Path) -> _native.Inputs | _native.Observation:
    """A sample of a calibration: an observation (images by camera, state, prompt), or the tensors of a call."""
    if isinstance(given, Mapping) and isinstance(given.get("images"), Mapping):
        return observation(given["images"], given["state"], given["prompt"])
    if not isinstance(given, (Mapping, str, os.PathLike)):
        raise TypeError(f"sample: expected an observation, tensors or a path of them, found {type(given).__name__}")
    return inputs(given)
