"""The page at / in a browser: page.py ADDRESS.json ALOHA BROWSER WORK [SCREENSHOT.png], with openpi-client installed.

Speaks the browser's own debugging protocol: opens the page, sends live traffic, reads what the page then shows, and
holds that nothing was asked for elsewhere, nothing was refused or failed, and that the page could not have done so.
"""

import base64
import itertools
import json
import pathlib
import sys
import threading
import time

import numpy as np
from browser import Browser, texts, wait_for
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from PIL import Image

STAGES = ("decode", "preprocess", "vision", "prefix", "denoise", "postprocess", "encode")
CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")


def check_content(browser, cameras, last_state):
    assert texts(browser, "#state") == ["ready"]
    assert "robot aloha" in texts(browser, "#policy")[0] and "lingbot-vla" in texts(browser, "#policy")[0]
    stages = texts(browser, "#latency td:first-child")
    assert stages == [*STAGES, "whole call"], stages
    numbers = [float(text) for text in texts(browser, "#latency td:nth-child(n+3)")]
    assert len(numbers) == 24 and max(numbers) > 0 and min(numbers) >= 0, numbers
    sessions = texts(browser, "#sessions td")
    assert sessions[0].startswith("127.0.0.1:") and int(sessions[1]) >= 4, sessions
    outcomes = texts(browser, "#outcomes td")
    assert outcomes[outcomes.index("ok") + 1].isdigit() and outcomes[outcomes.index("bad_request") + 1] == "1", outcomes
    tiles = dict(zip(texts(browser, ".tile span"), texts(browser, ".tile b")))
    assert float(tiles["requests a second"]) > 0 and tiles["sessions"] == "1", tiles
    # One plot a joint, of the whole chunk, none of them flat.
    plots = browser.value("[...document.querySelectorAll('#chunk polyline')].map(line => line.getAttribute('points'))")
    assert len(plots) == 14 and all(len(points.split()) == 50 for points in plots), len(plots)
    assert all(len({point.split(",")[1] for point in points.split()}) > 10 for points in plots), "a plot is flat"
    assert len(last_state) == 14 and texts(browser, ".joint b")[0] == "left_waist"
    # What the page shows of a camera are the pixels that the model was given: Pillow's own resize of the frame.
    for name in CAMERAS:
        shown = browser.value(f"""(async () => {{
            const image = document.querySelector('figure[data-camera="{name}"] img');
            await image.decode();
            const canvas = document.createElement("canvas");
            canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
            canvas.getContext("2d").drawImage(image, 0, 0);
            const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            return [canvas.width, canvas.height, btoa(Array.from(data, byte => String.fromCharCode(byte)).join(""))];
        }})()""")
        width, height, pixels = shown
        assert (width, height) == (224, 224), shown[:2]
        rgba = np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(224, 224, 4)
        expected = np.asarray(cameras[name].resize((224, 224), Image.BILINEAR))
        assert np.array_equal(rgba[..., :3], expected), f"{name}: other pixels than the model's"


def check_privacy(browser, origin):
    """Nothing left the origin, and nothing could have."""
    blocked = browser.value("""(async () => {
        const violations = [];
        document.addEventListener("securitypolicyviolation", event => violations.push(event.effectiveDirective));
        await fetch("http://127.0.0.1:9/").catch(() => {});
        const image = new Image();
        image.src = "http://127.0.0.1:9/x.png";
        const script = document.createElement("script");
        script.textContent = "window.injected = true";
        document.body.append(image, script);
        await new Promise(resolve => setTimeout(resolve, 300));
        return [violations.sort(), window.injected === undefined];
    })()""")
    assert blocked == [["connect-src", "img-src", "script-src-elem"], True], blocked


def check_events(browser, origin):
    asked = [event["params"]["request"]["url"] for event in browser.events
             if event["method"] == "Network.requestWillBeSent"]
    assert any(url == origin + "status" for url in asked) and any("/camera/cam_high?" in url for url in asked)
    elsewhere = [url for url in asked if not url.startswith(origin) and not url.startswith("data:")]
    assert not elsewhere, f"requests to elsewhere: {elsewhere}"
    wrong = [event["params"] for event in browser.events if event["method"] in
             ("Runtime.exceptionThrown", "Log.entryAdded", "Network.loadingFailed")]
    assert not wrong, f"the page has trouble: {wrong}"


def main():
    port = json.loads(pathlib.Path(sys.argv[1]).read_text())["port"]
    aloha, origin = pathlib.Path(sys.argv[2]), f"http://127.0.0.1:{port}/"
    frames = {name: Image.open(aloha / f"{name}.png").convert("RGB") for name in CAMERAS}
    state = np.array(json.loads((aloha / "state.json").read_text())["state"], np.float32)
    observation = {"observation/" + name: np.asarray(frame) for name, frame in frames.items()}
    observation |= {"observation/state": state, "prompt": (aloha / "prompt.txt").read_text().strip()}
    client, done = WebsocketClientPolicy("127.0.0.1", port), threading.Event()
    try:
        client.infer(observation | {"observation/state": state[:3]})
        raise AssertionError("a short state was not refused")
    except RuntimeError:
        pass

    def traffic():
        for seed in itertools.count():
            if done.is_set():
                return
            client.infer(observation | {"seed": seed})
            time.sleep(0.02)

    robot = threading.Thread(target=traffic)
    browser = Browser(sys.argv[3], sys.argv[4])
    try:
        for domain in ("Network", "Runtime", "Log", "Page"):
            browser.call(f"{domain}.enable")
        browser.call("Page.navigate", url=origin)
        wait_for(browser, "document.querySelector('#state')?.textContent === 'ready'", "that the server is ready")
        assert "No request yet." in browser.value("document.body.innerText")
        robot.start()
        wait_for(browser, "document.querySelectorAll('#cameras img').length === 3", "three cameras")
        wait_for(browser, "document.querySelectorAll('#latency .total').length === 1", "latencies")
        requests = "Number(document.querySelector('#sessions td:nth-child(2)')?.textContent)"
        wait_for(browser, f"{requests} > 10", "the session")
        check_content(browser, frames, state)
        if len(sys.argv) > 5 and sys.argv[5]:
            shot = browser.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
            pathlib.Path(sys.argv[5]).write_bytes(base64.b64decode(shot["data"]))
        check_events(browser, origin)
        check_privacy(browser, origin)
    finally:
        done.set()
        if robot.is_alive():
            robot.join()
        browser.close()
    print("page: ready, latencies, three cameras to the last bit, 14 plots, sessions; nothing asked for elsewhere")


main()
