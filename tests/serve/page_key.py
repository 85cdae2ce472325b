"""The page of a server that has a key: page_key.py ADDRESS.json ALOHA BROWSER WORK KEY, with openpi-client installed.

A browser has no way to send Api-Key or Bearer: it must be asked for a password, send it with everything that the page
asks for, and be shown nothing without.
"""

import json
import pathlib
import sys
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
from browser import Browser, texts, wait_for
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from PIL import Image

CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")


def serve_one(port, aloha, key):
    """A request of a robot that has the key, so that the page has cameras and a chunk to show."""
    frames = {name: np.asarray(Image.open(aloha / f"{name}.png").convert("RGB")) for name in CAMERAS}
    observation = {"observation/" + name: frame for name, frame in frames.items()}
    observation["observation/state"] = np.array(json.loads((aloha / "state.json").read_text())["state"], np.float32)
    WebsocketClientPolicy("127.0.0.1", port, api_key=key).infer(observation | {"prompt": "fold the towel"})


def open_page(browser, origin, password):
    """What the browser asked its user, and the statuses of what it then got; None: the user gives no password."""
    asked, statuses = [], {}

    def on_event(event):
        parameters = event["params"]
        if event["method"] == "Fetch.requestPaused":
            browser.send("Fetch.continueRequest", requestId=parameters["requestId"])
        elif event["method"] == "Fetch.authRequired":
            challenge = parameters["authChallenge"]
            again = len(asked) > 0
            asked.append((challenge["scheme"], challenge["realm"], challenge["origin"] + "/"))
            answer = {"response": "ProvideCredentials", "username": "someone", "password": password}
            if password is None or again:
                answer = {"response": "CancelAuth"}
            browser.send("Fetch.continueWithAuth", requestId=parameters["requestId"], authChallengeResponse=answer)
        elif event["method"] == "Network.responseReceived":
            response = parameters["response"]
            statuses.setdefault(response["url"].removeprefix(origin).split("?")[0], response["status"])

    browser.on_event = on_event
    for domain in ("Network", "Runtime", "Page"):
        browser.call(f"{domain}.enable")
    browser.call("Fetch.enable", handleAuthRequests=True)
    browser.call("Page.navigate", url=origin)
    return asked, statuses


def check_shown(browser):
    wait_for(browser, "document.querySelector('#state')?.textContent === 'ready'", "that the server is ready")
    wait_for(browser, "document.querySelectorAll('#chunk polyline').length === 14", "the chunk")
    wait_for(browser, "[...document.querySelectorAll('#cameras img')].filter(image => image.naturalWidth === 224)"
             ".length === 3", "three cameras")
    assert "robot aloha" in texts(browser, "#policy")[0]


def in_browser(arguments, number, check):
    browser = Browser(arguments[3], f"{arguments[4]}/{number}")
    try:
        check(browser)
    finally:
        browser.close()


def main():
    port, key = json.loads(pathlib.Path(sys.argv[1]).read_text())["port"], sys.argv[5]
    origin, aloha = f"http://127.0.0.1:{port}/", pathlib.Path(sys.argv[2])
    challenge = ("basic", "nervus", origin)

    def with_the_key(browser):
        asked, statuses = open_page(browser, origin, key)
        wait_for(browser, "document.querySelector('#state')?.textContent === 'ready'", "that the server is ready")
        serve_one(port, aloha, key)  # cameras are kept once somebody looks
        check_shown(browser)
        assert asked == [challenge], asked
        parts = ["", "page.css", "page.js", "status", *(f"camera/{name}" for name in CAMERAS)]
        assert {part: statuses.get(part) for part in parts} == dict.fromkeys(parts, 200), statuses

    def in_the_address(browser):
        browser.call("Page.navigate", url=origin.replace("//", f"//someone:{urllib.parse.quote(key)}@"))
        check_shown(browser)

    def without(password):
        def check(browser):
            asked, statuses = open_page(browser, origin, password)
            wait_for(browser, "document.body?.innerText.includes('a key is needed')", "that a key is needed")
            assert asked and set(asked) == {challenge} and statuses == {"": 401}, (asked, statuses)
        return check

    for number, check in enumerate((with_the_key, in_the_address, without(None), without(key + "x"))):
        in_browser(sys.argv, number, check)
    for path in ("", "status", "page.js", "camera/cam_high", "metrics"):
        try:
            urllib.request.urlopen(origin + path)
            raise AssertionError(f"/{path} was told without a key")
        except urllib.error.HTTPError as error:
            assert error.code == 401, error
    print("page: asked for once, shown whole with the key; 401 without it and with another")


main()
