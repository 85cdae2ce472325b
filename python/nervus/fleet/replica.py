"""One policy on one device, as Ray Serve places it."""
from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import Any

import websockets.asyncio.client
from ray import serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.protocol import State

import nervus

OURS = (1000, 1001, 1006, 1011, 1012)
"""Codes with which a server closes for reasons of its own; any other is about the message."""

LEAVING = ("draining", "device_failed")
"""Codes of errors that another replica would not give."""


class Unavailable(Exception):
    """This replica cannot answer; another may."""


def start(config: dict[str, Any]) -> nervus.Server:
    """A server of a `user_config`: `checkpoint`, and perhaps `load` and `serve`."""
    unknown = sorted(set(config) - {"checkpoint", "load", "serve"})
    if unknown or "checkpoint" not in config:
        raise nervus.UsageError(f"user_config: expected checkpoint and perhaps load and serve, found "
                                f"{', '.join(config) or 'none'}")
    options = {"max_connections_per_address": 256, **(config.get("serve") or {}), "host": "127.0.0.1", "port": 0}
    return nervus.Server.load(config["checkpoint"], options, **(config.get("load") or {}))


def check_ready(port: int) -> None:
    """Raises unless the server at this port is ready."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=4):
        pass


@serve.deployment(max_ongoing_requests=16, health_check_period_s=2, health_check_timeout_s=5,
                  graceful_shutdown_timeout_s=35)
class Replica:
    """A `nervus.Server` on this machine's loopback: the same wire, guard and errors as `nervus serve`.

    Each request under way has a connection of its own, so that none replaces another.
    """

    def __init__(self) -> None:
        """Serves nothing before `reconfigure`, which Ray Serve calls at once."""
        self._server: nervus.Server | None = None
        self._idle: list[websockets.asyncio.client.ClientConnection] = []
        self._metadata = b""

    async def reconfigure(self, config: dict[str, Any]) -> None:
        """Of the deployment's `user_config`; a change of it comes here without a restart.

        The new server has made a call with a finite answer before it takes over; the old one finishes what it has under
        way. Until then the device holds both. Raises the error of a load, with which Ray Serve replaces the replica.
        """
        server = await asyncio.get_running_loop().run_in_executor(None, start, config)
        await self._replace(server)

    async def metadata(self) -> bytes:
        """What a server says of itself when a robot connects."""
        if not self._metadata:
            connection = await self._connect()
            self._idle.append(connection)  # the list that is there by now
        return self._metadata

    async def ask(self, message: bytes | str) -> bytes | str | tuple[int, str]:
        """The reply to one message: actions, an error as text, or the code and reason with which it was closed."""
        server, connection = self._server, await self._free_connection()
        try:
            await connection.send(message)
            reply = await connection.recv()
        except ConnectionClosed as closed:
            if closed.rcvd is None or closed.rcvd.code in OURS:
                raise Unavailable(str(closed)) from None
            return closed.rcvd.code, closed.rcvd.reason
        except asyncio.CancelledError:
            await connection.close()  # its reply would answer the next question
            raise
        if isinstance(reply, bytes) and server is self._server:
            self._idle.append(connection)
            return reply
        await connection.close()  # after an error the server may close it too, which is no answer to the next question
        if isinstance(reply, str) and json.loads(reply)["error"]["code"] in LEAVING:
            raise Unavailable(reply)
        return reply

    async def check_health(self) -> None:
        """Asked by Ray Serve, which replaces a replica that raises."""
        if self._server is None or not self._server.running:
            raise Unavailable("its server has ended")
        await asyncio.get_running_loop().run_in_executor(None, check_ready, self._server.port)

    async def __del__(self) -> None:
        """Called by Ray Serve when it takes the replica away: finishes what is under way."""
        await self._replace(None)

    async def _replace(self, server: nervus.Server | None) -> None:
        idle, old = self._idle, self._server
        self._idle, self._server, self._metadata = [], server, b""
        for connection in idle:
            await connection.close()
        if old is not None:
            await asyncio.get_running_loop().run_in_executor(None, old.stop)

    async def _free_connection(self) -> websockets.asyncio.client.ClientConnection:
        while self._idle:
            connection = self._idle.pop()
            if connection.state is State.OPEN:
                return connection
        return await self._connect()

    async def _connect(self) -> websockets.asyncio.client.ClientConnection:
        server = self._server
        if server is None:
            raise Unavailable("it has no user_config")
        url = f"ws://127.0.0.1:{server.port}/"
        try:
            connection = await websockets.asyncio.client.connect(url, compression=None, max_size=None, proxy=None)
            metadata = await connection.recv()
        except (OSError, ConnectionClosed, InvalidHandshake) as problem:
            raise Unavailable(str(problem)) from None
        if server is not self._server:
            await connection.close()
            raise Unavailable("its server was replaced meanwhile")
        self._metadata = metadata if isinstance(metadata, bytes) else metadata.encode()
        return connection
