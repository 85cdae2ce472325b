"""What robots connect to: their requests go to replicas, and to another where one dies."""
import asyncio
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from nervus.error import UsageError
from nervus.fleet.replica import Unavailable

MOST_BYTES = 64 << 20
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds before a request is tried again; each pause is twice the last."""

# Ray Serve copies the class when it is decorated: what its methods use stands above it, and annotations are no texts.
application = FastAPI(title="nervus", docs_url=None, redoc_url=None, openapi_url=None)


def refusal(code: str, message: str, hint: str, **more: Any) -> str:
    """An error as a policy server words it."""
    return json.dumps({"error": {"code": code, "message": message, "hint": hint, **more}})


def message_of(event: Mapping[str, Any]) -> bytes | str:
    """Of what ASGI received. Raises WebSocketDisconnect."""
    if event["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(event.get("code") or 1000)
    return event["bytes"] if event.get("bytes") is not None else event["text"]


def status_of(error: str) -> int:
    """HTTP's code of an error in a policy server's words."""
    codes = {"overloaded": 503, "superseded": 503, "deadline_exceeded": 504, "guard_tripped": 422, "not_finite": 500,
             "internal": 500}
    return codes.get(json.loads(error)["error"]["code"], 400)


def read_key(path: str) -> str:
    """The first line of a file. Raises UsageError where it is no key."""
    with open(path, encoding="utf-8") as file:
        key = file.readline(4096).strip()
    if len(key) < 8:
        raise UsageError(f"{path}: expected a key of at least 8 characters in the first line, found {len(key)}")
    return key


def may_ask(headers: Mapping[str, str], key: str) -> bool:
    """Whether a request has the key, and comes from no web page."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    authorized = not key or scheme in ("Api-Key", "Bearer") and hmac.compare_digest(given.encode(), key.encode())
    return authorized and "origin" not in headers


@serve.deployment(max_ongoing_requests=1000, health_check_period_s=2, health_check_timeout_s=5)
@serve.ingress(application)
class Gate:
    """Websockets of robots at every path, and POST /infer for one question without a session."""

    def __init__(self, replicas: DeploymentHandle, deadline_seconds: float, api_key_file: str) -> None:
        """Of the replicas' handle, the seconds of a request with all its retries, and the key's file, or none."""
        self._replicas, self._deadline = replicas, deadline_seconds
        self._key = read_key(api_key_file) if api_key_file else ""

    @application.get("/readyz")
    async def ready(self) -> Response:
        """200 if a replica answers."""
        await self._metadata()
        return Response("ready\n", media_type="text/plain")

    @application.post("/infer")
    async def question(self, request: Request) -> Response:
        """The body is a message of the websocket; the answer is its reply, with 200 only for actions."""
        if not may_ask(request.headers, self._key):
            words = refusal("unauthorized", "a key is needed", "send Authorization: Bearer KEY, or Api-Key KEY")
            return Response(words, status_code=401, media_type="application/json",
                            headers={"WWW-Authenticate": "Bearer"})
        if int(request.headers.get("content-length") or MOST_BYTES + 1) > MOST_BYTES:
            words = refusal("too_large", f"expected a content-length of at most {MOST_BYTES}", "send smaller images")
            return Response(words, status_code=413, media_type="application/json")
        reply = await self._ask(await request.body())
        if isinstance(reply, bytes):
            return Response(reply, media_type="application/msgpack")
        if isinstance(reply, tuple):
            reply = refusal("closed", f"{reply[0]} {reply[1]}", "send what the websocket takes")
        return Response(reply, status_code=status_of(reply), media_type="application/json")

    @application.websocket("/{path:path}")
    async def robot(self, socket: WebSocket, path: str) -> None:
        """A robot's session: each message gets its reply, in order."""
        if not may_ask(socket.headers, self._key):
            await socket.close(1008)  # before it was accepted: 403
            return
        await socket.accept()
        try:
            await socket.send_bytes(await self._metadata())
            while True:
                reply = await self._ask(message_of(await socket.receive()))
                if isinstance(reply, tuple):
                    await socket.close(*reply)
                    return
                await (socket.send_bytes(reply) if isinstance(reply, bytes) else socket.send_text(reply))
        except (WebSocketDisconnect, RuntimeError):
            return  # the robot has left

    async def _metadata(self) -> bytes:
        return await self._until_answered(lambda: self._replicas.metadata.remote())

    async def _ask(self, message: bytes | str) -> bytes | str | tuple[int, str]:
        try:
            return await self._until_answered(lambda: self._replicas.ask.remote(message))
        except BackPressureError:
            return refusal("overloaded", "every replica has as many requests waiting as it takes",
                           "send fewer requests", retry_after_ms=100)
        except asyncio.TimeoutError:
            return refusal("deadline_exceeded", f"no replica answered within {self._deadline:g} s",
                           "send the request again")

    async def _until_answered(self, call: Any) -> Any:
        """Asks until a replica lives to answer, or the deadline ends."""
        async def answer() -> Any:
            return await call()
        end, pause = time.monotonic() + self._deadline, FIRST_PAUSE
        while True:
            try:
                return await asyncio.wait_for(answer(), end - time.monotonic())
            except (RayActorError, Unavailable, DeploymentUnavailableError):
                if time.monotonic() + pause > end:
                    raise asyncio.TimeoutError from None
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
