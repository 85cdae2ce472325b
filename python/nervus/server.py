"""A policy server in this process (`include/nervus/server.h`)."""
from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nervus import _native, values
from nervus.ending import end_with_process
from nervus.options import LoadArguments, load_options

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

PATHS = ("api_key_file", "record", "robot_file")


class Server:
    """`nervus serve` on a thread of this process: the same wire, guard, limits and pages.

        with nervus.Server.load("lingbot-vla-4b", {"port": 8000}, robot="aloha") as server:
            print(server.port)

    One that still serves when the process ends is stopped then.
    """

    def __init__(self, native: _native.Server) -> None:
        """Use `Server.load`."""
        self._native = native
        self.port: int = native.port
        """That it listens on."""
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="nervus-server", daemon=True)
        self._thread.start()
        end_with_process(self)

    @classmethod
    def load(cls, directory: values.Path, serve: Mapping[str, Any] | None = None,
             **options: Unpack[LoadArguments]) -> Server:
        """Loads and warms every replica, listens, and serves until `stop`.

        serve    what `nervus serve` takes beside the load: `port` (8000; 0: any that is free), `host`, `devices` (a
                 replica each), `api_key_file`, `insecure`, `origins`, `dialect` ("auto", "openpi", "lingbot"),
                 `cameras` (key of a request -> camera), `prompt`, `seed`, `robot_file` (the guard's limits),
                 `deadline_ms`, `max_waiting`, `max_connections`, `max_connections_per_address`, `max_message_bytes`,
                 `drain_seconds`, `record` (a file of what is computed), and `log`, called with a line of JSON a
                 happening; what it raises goes to `sys.unraisablehook`
        options  as `Policy.load` takes them

        Raises CheckpointError, UnsupportedError, IoError, UsageError or DeviceError.
        """
        given = _native.ServeOptions()
        keys = {} if serve is None else values.mapping(serve, "serve", "key to value")
        for name, value in keys.items():
            if name == "load" or not hasattr(given, name):
                raise TypeError(f"unexpected key '{name}' of serve")
            try:
                setattr(given, name, os.fspath(value) if name in PATHS else value)
            except TypeError:
                raise TypeError(f"{name}: {type(value).__name__} is not its type") from None
        given.load = load_options(options)
        return cls(_native.Server.load(os.fspath(directory), given))

    @property
    def info(self) -> _native.PolicyInfo:
        """What is served."""
        return self._native.info

    @property
    def running(self) -> bool:
        """Whether it serves."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Finishes what is under way and ends; waits for a call that computes, however long.

        Raises the DeviceError that ended it before, if one did.
        """
        self._native.stop()
        self.wait()

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until it has ended, at most so long; says whether it has. Raises the DeviceError that ended it."""
        self._thread.join(seconds)
        if self._failure is not None:
            raise self._failure
        return not self._thread.is_alive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _end(self) -> None:
        try:
            self.stop()
        finally:
            del self._native  # it holds the log, whose module may hold this

    def _run(self) -> None:
        try:
            self._native.run()
        except Exception as failure:  # told to whoever waits
            self._failure = failure
