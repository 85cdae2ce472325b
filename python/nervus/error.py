"""Errors, as `include/nervus/error.h` has them: one class a kind, in the words of the command line."""
from __future__ import annotations

from nervus import _native


class Error(Exception):
    """What a caller can mend.

    `str(error)` names the file, tensor or field, what was expected, what was found, and the mend. `kind` is its kind in
    a word; `exit_code` is what the command line exits with.
    """

    kind: str = ""
    exit_code: int = 1

    def __init_subclass__(cls, *, kind: str = "") -> None:
        if kind:
            cls.kind, cls.exit_code = kind, _native.exit_code(kind)


class UsageError(Error, kind="usage"):
    """An option or argument is wrong."""


class InputError(Error, kind="input"):
    """An observation, tensor, image, state or prompt is wrong."""


class CheckpointError(Error, kind="checkpoint"):
    """A checkpoint, config, tokenizer or statistics file is wrong."""


class UnsupportedError(Error, kind="unsupported"):
    """This build or machine cannot do what was asked."""


class IoError(Error, kind="io"):
    """A file cannot be read or written."""


class NumericError(Error, kind="numeric"):
    """The model produced a value that is not finite."""


class DeviceError(Error, kind="device"):
    """A GPU has no memory left, or failed."""


class InternalError(Error, kind="internal"):
    """A broken promise inside nervus: please report."""


BY_KIND: dict[str, type[Error]] = {cls.kind: cls for cls in Error.__subclasses__()}


class Refused(Error):
    """A server gave no actions, in its words. Kind "input" where the request was wrong, "numeric" where a value was not
    finite, "device" where a device failed, "io" where it may be tried again."""

    def __init__(self, message: str, kind: str, code: str, hint: str, retry_seconds: float | None,
                 halt: str | None) -> None:
        """Of a server's error: `code` as "guard_tripped", `halt` "hold" or "stop" where its guard orders so."""
        super().__init__(message)
        self.kind, self.exit_code = kind, _native.exit_code(kind)
        self.code, self.hint, self.retry_seconds, self.halt = code, hint, retry_seconds, halt
