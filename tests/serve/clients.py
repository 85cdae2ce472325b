"""What clients_test.sh does in Python: clients.py ADDRESS.json ALOHA WORK, with openpi-client installed.

With --reloaded in front: only that the bytes are those of the other checkpoint.
"""

import json
import pathlib
import sys
import threading
import urllib.request

import numpy as np
import websockets.sync.client
from openpi_client import msgpack_numpy
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families


class LingBotClient:
    """The public LingBot servers speak to such a client: openpi's wire with names of its own."""

    def __init__(self, port):
        address = f"ws://127.0.0.1:{port}"
        self.socket = websockets.sync.client.connect(address, compression=None, max_size=None).__enter__()
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


def check_company(port, observation, work):
    """Robots at the same time: some share calls, each gets the bytes of its own seed."""
    begin, wrong = threading.Barrier(8), []

    def robot(number):
        client, seed = WebsocketClientPolicy("127.0.0.1", port), number % 4 + 1
        expected = np.load(work / f"run.{seed}.npy").tobytes()
        begin.wait()
        for _ in range(6):
            if client.infer(observation | {"seed": seed})["actions"].tobytes() != expected:
                wrong.append(seed)

    robots = [threading.Thread(target=robot, args=(number,)) for number in range(8)]
    for each in robots:
        each.start()
    for each in robots:
        each.join()
    assert not wrong, f"other bytes in company than alone, for the seeds {wrong}"


def check_metrics(port):
    """Prometheus' own parser reads them, and they add up."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as reply:
        assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = reply.read().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for name, kind in {"nervus_requests": "counter", "nervus_request_seconds": "histogram", "nervus_ready": "gauge",
                       "nervus_queue_seconds": "histogram", "nervus_stage_seconds": "histogram",
                       "nervus_batch_size": "histogram", "nervus_guard_tripped": "counter",
                       "nervus_guard_clamped": "counter", "nervus_deadline_exceeded": "counter"}.items():
        assert families[name].type == kind and families[name].documentation, name

    def value(name, **labels):
        family = next(family for family in families.values() if name.startswith(family.name))
        return sum(sample.value for sample in family.samples if sample.name == name
                   and labels.items() <= sample.labels.items())

    served = value("nervus_requests_total", outcome="ok")
    assert served == 53, served
    assert value("nervus_requests_total", outcome="bad_request") == 2
    assert value("nervus_batch_size_sum") == served, "each request is in one call, but for those that could not be made"
    shared = served - value("nervus_batch_size_count")
    assert shared > 0, "no two requests shared a call"
    for stage in ("decode", "preprocess", "vision", "prefix", "denoise", "postprocess", "encode", "total"):
        count = value("nervus_stage_seconds_count", stage=stage)
        assert count == served, (stage, count, served)
        assert value("nervus_stage_seconds_bucket", stage=stage, le="+Inf") == served
        bounds = [sample for sample in families["nervus_stage_seconds"].samples
                  if sample.name.endswith("_bucket") and sample.labels["stage"] == stage]
        counts = [sample.value for sample in sorted(bounds, key=lambda sample: float(sample.labels["le"]))]
        assert counts == sorted(counts), f"{stage}: buckets do not add up"
    return int(shared)


def main():
    reloaded = "--reloaded" in sys.argv
    address, aloha, work = map(pathlib.Path, [argument for argument in sys.argv[1:] if argument != "--reloaded"])
    port = json.loads(address.read_text())["port"]
    expected = np.load(work / "run.1.npy")
    assert (work / "cpp.f32").read_bytes() == expected.tobytes(), "C++ and the command line differ"
    cameras = ("cam_high", "cam_left_wrist", "cam_right_wrist")
    images = {name: np.asarray(Image.open(aloha / f"{name}.png").convert("RGB")) for name in cameras}
    state = json.loads((aloha / "state.json").read_text())
    state = np.array(state["state"] if isinstance(state, dict) else state, np.float32)
    prompt = (aloha / "prompt.txt").read_text().strip()

    openpi = WebsocketClientPolicy("127.0.0.1", port)
    if reloaded:
        observation = {"observation/" + name: image for name, image in images.items()}
        reply = openpi.infer(observation | {"observation/state": state, "prompt": prompt, "seed": 1})
        other = (work / "other.f32").read_bytes()
        assert other != expected.tobytes() and reply["actions"].tobytes() == other, "not the other checkpoint's bytes"
        return
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

    check_company(port, {"observation/" + name: image for name, image in images.items()}
                  | {"observation/state": state, "prompt": prompt}, work)
    shared = check_metrics(port)
    print(f"clients: the same bytes from C++, the command line and both dialects; {shared} calls saved by sharing")


main()
