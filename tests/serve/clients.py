"""What clients_test.sh does in Python: clients.py ADDRESS.json ALOHA RUN.npy, with openpi-client installed."""

import json
import pathlib
import sys
import time

import numpy as np
import websockets.sync.client
from openpi_client import msgpack_numpy
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from PIL import Image


class LingBotClient:
    """The public LingBot servers speak to such a client: openpi's wire with names of its own."""

    def __init__(self, port):
        self.socket = websockets.sync.client.connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None)
        self.metadata = msgpack_numpy.unpackb(self.socket.recv())

    def infer(self, observation):
        self.socket.send(msgpack_numpy.packb(observation))
        reply = self.socket.recv()
        if isinstance(reply, str):
            raise RuntimeError(reply)
        return msgpack_numpy.unpackb(reply)


def refusal(client, observation):
    try:
        client.infer(observation)
    except RuntimeError as error:
        return json.loads(str(error).partition("\n")[2] or str(error))["error"]
    raise AssertionError("the request was not refused")


def main():
    port = json.loads(pathlib.Path(sys.argv[1]).read_text())["port"]
    aloha = pathlib.Path(sys.argv[2])
    expected = np.load(sys.argv[3])
    cameras = ("cam_high", "cam_left_wrist", "cam_right_wrist")
    images = {name: np.asarray(Image.open(aloha / f"{name}.png").convert("RGB")) for name in cameras}
    state = json.loads((aloha / "state.json").read_text())
    state = np.array(state["state"] if isinstance(state, dict) else state, np.float32)
    prompt = (aloha / "prompt.txt").read_text().strip()

    openpi = WebsocketClientPolicy("127.0.0.1", port)
    assert openpi.get_server_metadata()["cameras"] == list(cameras)
    observation = {"observation/" + name: image for name, image in images.items()}
    observation |= {"observation/state": state, "prompt": prompt, "seed": 1}
    reply = openpi.infer(observation)
    assert reply["actions"].dtype == np.float32 and reply["actions"].tobytes() == expected.tobytes()
    assert reply["server_timing"]["infer_ms"] > 0 and "prev_total_ms" not in reply["server_timing"]
    assert openpi.infer(observation)["server_timing"]["prev_total_ms"] > 0

    # As openpi's ALOHA policy sends it: nested, channels first.
    nested = {"images": {name: np.ascontiguousarray(image.transpose(2, 0, 1)) for name, image in images.items()}}
    reply = openpi.infer(nested | {"state": state, "prompt": prompt, "seed": np.int64(1).item()})
    assert reply["actions"].tobytes() == expected.tobytes()
    error = refusal(openpi, observation | {"observation/state": state[:3]})
    assert error["code"] in ("bad_request", "guard_tripped") and error["hint"], error
    assert openpi.infer(observation)["actions"].tobytes() == expected.tobytes()

    lingbot = LingBotClient(port)
    assert lingbot.infer({"reset": True, "robo_name": "aloha"}) == {"action": None}
    observation = {"observation.images." + name: image for name, image in images.items()}
    observation |= {"observation.state": state.astype(np.float64), "task": prompt, "seed": 1}
    assert lingbot.infer(observation)["action"].tobytes() == expected.tobytes()
    assert refusal(lingbot, {"reset": True, "robo_name": "h1"})["code"] == "bad_request"

    overheads = []
    for _ in range(20):
        started = time.perf_counter()
        reply = lingbot.infer(observation)
        overheads.append(1e3 * (time.perf_counter() - started) - reply["policy_timing"]["total_ms"])
    print(f"clients: the same bytes; median overhead of the wire {np.median(overheads):.2f} ms")


main()
