"""A browser without a screen, spoken to by its own debugging protocol."""

import itertools
import json
import pathlib
import subprocess
import time
import urllib.request

from websockets.sync.client import connect


class Browser:
    """Events are kept in `events`, and handed to `on_event` while a call waits for its answer."""

    def __init__(self, program, work):
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0",
                 f"--user-data-dir={work}/browser", "--window-size=1280,1500", "--hide-scrollbars", "about:blank"]
        self.process = subprocess.Popen([program, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.events, self.numbers, self.on_event = [], itertools.count(1), lambda event: None
        port = self.debugging_port(pathlib.Path(work) / "browser" / "DevToolsActivePort")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as reply:
            page = next(target for target in json.load(reply) if target["type"] == "page")
        self.socket = connect(page["webSocketDebuggerUrl"], max_size=None, ping_interval=None).__enter__()

    @staticmethod
    def debugging_port(file):
        for _ in range(300):
            if file.exists() and file.read_text().strip():
                return int(file.read_text().split()[0])
            time.sleep(0.1)
        raise AssertionError("the browser did not start within 30 s")

    def send(self, method, **parameters):
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        return number

    def call(self, method, **parameters):
        number = self.send(method, **parameters)
        while True:
            message = json.loads(self.socket.recv(timeout=30))
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            if "method" not in message:  # the answer to one that was only sent
                continue
            self.events.append(message)
            self.on_event(message)

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def close(self):
        self.process.terminate()
        self.process.wait(30)


def texts(browser, selector):
    return browser.value(f"[...document.querySelectorAll({selector!r})].map(found => found.textContent)")


def wait_for(browser, expression, what):
    for _ in range(150):
        if browser.value(expression):
            return
        time.sleep(0.1)
    raise AssertionError(f"the page does not show {what}: {browser.value('document.body.innerText')}")
