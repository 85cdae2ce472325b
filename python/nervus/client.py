"""A robot's end of a policy server (`include/nervus/client.h`)."""
from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from nervus import _native, values
from nervus.actions import Actions
from nervus.ending import end_with_process

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


class ClientArguments(TypedDict, total=False):
    """The keywords of a Client; all of them may be left out."""

    host: str
    """127.0.0.1; behind `wss://` the connection is encrypted, and the server's certificate verified."""
    port: int
    """8000"""
    path: str
    ca_file: values.Path
    """Of `wss://`: whom to trust, in PEM's format; default: as the system does."""
    api_key: str
    """Sent as `Authorization: Api-Key`."""
    keys: Mapping[str, str]
    """Camera -> key of a request (`observation/CAMERA`)."""
    seed: int
    """Of the noise; default: the server's."""
    steps: int
    """Of the denoising; default: the server's."""
    handshake_seconds: float
    """For connection, websocket and metadata (10); a host's name takes as long as the system's resolver does."""
    backoff_seconds: float
    most_backoff_seconds: float
    idle_seconds: float
    max_message_bytes: int
    log: Callable[[str], None]
    """Called with a line a happening, on the network's thread; what it raises is dropped."""
    actions_per_second: float
    """Of a chunk (50)."""
    interpolate: bool
    blend: Literal["latest", "linear", "smooth"]
    """How a new chunk takes over: at once, evenly, or slowly at both ends (the default)."""
    blend_seconds: float
    max_age_seconds: float
    """Of an observation: what was made of an older one is not played (2)."""
    request_fraction: float
    """The next chunk is asked for when so much of this one is left (0.5),"""
    request_actions: int
    """or so many actions, if above 0."""
    timeout_seconds: float
    """Of a request: then it counts as lost (1)."""
    retry_seconds: float
    watchdog: Literal["hold", "ramp", "callback"]
    """What moves the robot when there is no valid action."""
    ramp_seconds: float
    callback: Callable[[float, list[float], bool], Sequence[float]]
    """Given the seconds without a valid action, the last command, and whether a guard ordered to stop: the command.

    It must ask nothing of the client, whose call would wait for itself; it may close it.
    """


class Client:
    """Plays a server's chunks in time while it asks for the next; no call of the loop waits for the network.

        with nervus.Client(port=8000, actions_per_second=50) as client:
            while running:                                # at the robot's own rate
                if client.wants_observation():
                    client.observe(images=images, state=state, prompt=prompt)
                motion = client.motion()
                if motion.values:
                    command(motion.values)

    It connects, and connects again, on a thread of its own. Several threads may use one client. One that is still open
    when the process ends is closed then.
    """

    def __init__(self, **options: Unpack[ClientArguments]) -> None:
        """Connects in the background. Raises UsageError for an option that is wrong."""
        client, player = _native.ClientOptions(), _native.PlayerOptions()
        for name, value in options.items():
            if name not in ClientArguments.__annotations__:
                raise TypeError(f"unexpected keyword '{name}' of a client")
            try:
                if name == "callback":
                    player.set_callback(value)  # type: ignore[arg-type]
                else:
                    setattr(client if hasattr(client, name) else player, name, value)
            except TypeError:
                raise TypeError(f"{name}: {type(value).__name__} is not its type") from None
        client.player = player
        self._native = _native.Client(client)
        end_with_process(self)

    def wait_connected(self, seconds: float) -> bool:
        """Waits until it is connected, at most so long (3600); says whether it is."""
        return self._native.wait_connected(seconds)

    @property
    def server(self) -> _native.ServerInfo:
        """Of the server that it is, or was last, connected to."""
        return self._native.server()

    @property
    def status(self) -> _native.ClientStatus:
        """Whether it is connected, why not, and what became of its requests."""
        return self._native.status()

    def wants_observation(self) -> bool:
        """Whether the next observation should be sent."""
        return self._native.wants_observation()

    def observe(self, *, images: Mapping[str, Any], state: Any, prompt: str, observed: float | None = None) -> bool:
        """Sends it if one is wanted; says whether it did.

        images, state, prompt  as `Policy.infer` takes them
        observed               when, in seconds of `time.monotonic()`, since its age travels with it; default: now;
                               UsageError where it is yet to come
        """
        moment = time.monotonic() if observed is None else observed
        return self._native.observe(values.observation(images, state, prompt), moment)

    def motion(self, now: float | None = None) -> _native.Motion:
        """The command of this moment, or of another in seconds of `time.monotonic()`, which must not run backwards."""
        return self._native.motion(time.monotonic() if now is None else now)

    def reset(self) -> None:
        """Forgets every chunk, the order to stop and what is under way."""
        self._native.reset()

    def infer(self, *, images: Mapping[str, Any], state: Any, prompt: str, timeout_seconds: float = 30) -> Actions:
        """One question, one answer, nothing played; `timings` are the server's.

        Raises Refused where the server gave no actions, IoError without a connection or a reply within so long,
        UsageError for a time that is not from 0.001 to 3600.
        """
        chunk = self._native.infer(values.observation(images, state, prompt), timeout_seconds).chunk
        return Actions(chunk.values[0], tuple(chunk.names), tuple(chunk.units), chunk.timing)

    def close(self) -> None:
        """Ends the connection; what is asked of it then raises UsageError.

        Calls that other threads have under way get their answer, and the connection ends with the last of them. While
        the host's name is looked up, it waits for the system's resolver.
        """
        self._native.close()

    def _end(self) -> None:
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
