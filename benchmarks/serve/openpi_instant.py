"""openpi's Python server around a policy that returns at once; prints its port. Needs openpi-server (PyPI)."""

import json
import socket

import numpy as np
from openpi_client.base_policy import BasePolicy
from openpi_server.websocket_policy_server import WebsocketPolicyServer


class InstantPolicy(BasePolicy):
    def infer(self, obs):
        return {"actions": np.zeros((50, 14), np.float32)}


with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
print(json.dumps({"port": port}), flush=True)
WebsocketPolicyServer(InstantPolicy(), "127.0.0.1", port, {}).serve_forever()
