#!/usr/bin/env python3
"""What `nervus serve` keeps to unless it is told otherwise, and which dialect it then speaks: defaults.py NERVUS

The bounds of connections (256, of them 32 of one address) and of a message's size, each at it and one beyond it.
"""

import contextlib
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "benchmarks" / "serve"))
from wire import Closed, HANDSHAKE, Session, frame, image, observation, packed  # noqa: E402

PATIENCE = 60  # seconds: of a machine that does much else
CAMERAS = ["cam_high", "cam_left_wrist", "cam_right_wrist"]
LARGEST = 2 * 3 * 1920 * 1080 * len(CAMERAS)  # bytes of a message


@contextlib.contextmanager
def serving(nervus, checkpoint, *options):
    process = subprocess.Popen(
        [nervus, "serve", "--checkpoint", checkpoint, "--port", "0", "--steps", "1", "--json", "--quiet", *options],
        stdout=subprocess.PIPE)
    try:
        line = b""
        while b"}" not in line:
            more = process.stdout.readline()
            assert more, "the server did not start"
            line += more
        yield json.loads(line)["port"]
    finally:
        process.kill()
        process.wait()


def refusal(reply):
    opcode, message = reply
    assert opcode == 1, "expected a refusal, found actions"
    error = json.loads(message)["error"]
    return error["code"], error["message"]


def connect(port, number):
    """The answer to a handshake from the given one of this machine's addresses, and the connection."""
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE, (f"127.0.0.{number}", 0))
    connection.sendall(HANDSHAKE)
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(1)
    return head[9:12], connection


def check_connections(port):
    """256 of 8 addresses are taken; one more is refused, of each of them and of another address."""
    with contextlib.ExitStack() as all_of_them:
        def status(number):
            answer, connection = connect(port, number)
            all_of_them.enter_context(connection)
            return answer

        for number in range(2, 10):
            assert [status(number) for _ in range(32)] == [b"101"] * 32, number
            if number < 9:
                assert status(number) == b"503", "more than 32 of one address"
        assert status(10) == b"503", "more than 256"
    end = time.monotonic() + PATIENCE
    answer = b""
    while answer != b"101":
        assert time.monotonic() < end, "the connections' places are not given back"
        answer, connection = connect(port, 10)
        connection.close()


def check_size(port):
    def request(size):
        padding = size - len(observation(CAMERAS, 14, 8, padding=b""))
        return observation(CAMERAS, 14, 8, padding=bytes(padding))

    session = Session(port, PATIENCE)
    assert len(request(LARGEST)) == LARGEST
    assert session.ask(request(LARGEST))[0] == 2
    session.socket.sendall(frame(request(LARGEST + 1))[:14])  # its head: no more is read, and no more is waited for
    try:
        assert False, session.receive()
    except Closed as closed:
        assert str(closed) == "1009", closed


def main():
    nervus, = sys.argv[1:]
    openpi = observation(CAMERAS, 14, 8)
    lingbot = packed({"observation.images.cam_high": image(8, 8), "observation.state": [0.0] * 14, "task": "go"})
    cameras = "expected a camera of cam_high, cam_left_wrist, cam_right_wrist behind"
    hint = "the server can be told whose this is"
    with tempfile.TemporaryDirectory() as directory:
        checkpoint = str(pathlib.Path(directory) / "tiny")
        subprocess.run([nervus, "synth", "--preset", "tiny", "--seed", "1", "--out", checkpoint, "--quiet"],
                       check=True, stdout=subprocess.DEVNULL)
        with serving(nervus, checkpoint) as port:
            assert Session(port).ask(openpi)[0] == 2
            assert Session(port).ask(lingbot)[0] == 2
            check_connections(port)
            check_size(port)
        for dialect, spoken, unknown, other in (
            ("openpi", openpi, lingbot, f"observation.images.cam_high: {cameras} observation/; {hint}"),
            ("lingbot", lingbot, openpi, f"observation/cam_high: {cameras} observation.; {hint}"),
        ):
            with serving(nervus, checkpoint, "--dialect", dialect) as port:
                session = Session(port)
                assert refusal(session.ask(unknown)) == ("bad_request", other)
                assert session.ask(spoken)[0] == 2  # the session goes on


if __name__ == "__main__":
    main()
