"""Replicas of a policy under Ray Serve, on one machine or many (the extra `nervus[ray]`).

    serve deploy examples/fleet/ray.yaml

Robots connect as to `nervus serve`: to a Gate, which hands each request as it came to a Replica, a policy server of its
own, and hands it to another where a replica dies with it. A request has no effect but its answer, so a retry is safe.
"""
from __future__ import annotations

from typing import Any

from ray.serve import Application

from nervus.error import UsageError
from nervus.fleet.gate import Gate
from nervus.fleet.replica import Replica

__all__ = ["Gate", "Replica", "build"]

ARGUMENTS = ("api_key_file", "deadline_seconds", "insecure")


def build(arguments: dict[str, Any]) -> Application:
    """The application of a Ray Serve config (`import_path: nervus.fleet:build`).

    api_key_file      its first line is the key that robots send, as for `nervus serve`; on every machine
    insecure          in its place: true, where no key is wanted
    deadline_seconds  of a request, with all its retries (30)

    What the replicas serve is the `user_config` of the deployment Replica, so that a change of it leaves the Gate, and
    the robots' connections, alone:

    checkpoint        the directory, on every machine
    load              keywords of `nervus.Policy.load`; on GPUs `device: cuda:0`, the first of those that Ray shows it
    serve             keys of `nervus.Server.load`: `robot_file`, `seed`, `prompt`, `cameras`, ...

    Raises UsageError for another argument, or without a key and `insecure`.
    """
    unknown = sorted(set(arguments) - set(ARGUMENTS))
    if unknown:
        raise UsageError(f"args: expected {', '.join(ARGUMENTS)}, found {', '.join(unknown)}")
    key_file = str(arguments.get("api_key_file") or "")
    if not key_file and arguments.get("insecure") is not True:
        raise UsageError("args: robots reach the fleet from other machines: name a file with a key for them "
                         "(api_key_file), or say that none is wanted (insecure: true)")
    replicas = Replica.bind()  # type: ignore[attr-defined,unused-ignore]
    deadline = float(arguments.get("deadline_seconds", 30))
    return Gate.bind(replicas, deadline, key_file)  # type: ignore[attr-defined,unused-ignore]
