"""A websocket and msgpack client as small as can be, of the standard library alone: what soak.py, overhead.py and
devices.py put on the wire, including what no library would."""

import os
import pathlib
import socket
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from machine import processor  # noqa: E402


def packed(value):
    """A value as msgpack; of what requests are made of."""
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        return b"\xcf" + struct.pack(">Q", value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        return b"\xdb" + struct.pack(">I", len(value.encode())) + value.encode()
    if isinstance(value, bytes):
        return b"\xc6" + struct.pack(">I", len(value)) + value
    if isinstance(value, dict):
        parts = [part for item in value.items() for part in item]
        return b"\xdf" + struct.pack(">I", len(value)) + b"".join(map(packed, parts))
    return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(packed, value))


def image(height, width, seed=0):
    """An array of numpy of |u1, as the wire has it."""
    row = bytes((17 * seed + 5 * i) % 251 for i in range(3 * width))
    return pixels(height, width, b"".join(row[3 * y % len(row):] + row[:3 * y % len(row)] for y in range(height)))


def random_image(height, width, _):
    """One that no request had before."""
    return pixels(height, width, os.urandom(3 * height * width))


def pixels(height, width, data):
    return {b"__ndarray__": True, b"data": data, b"dtype": "|u1", b"shape": [height, width, 3]}


def observation(cameras, joints, side, make=image, **more):
    """A request in openpi's dialect."""
    frames = {f"observation/{name}": make(side, side, number) for number, name in enumerate(cameras)}
    return packed(frames | {"observation/state": [0.0] * joints, "prompt": "pick up the red cube"} | more)


def frame(payload, opcode=2, masked=True):
    """One frame as a client sends it; its mask changes nothing."""
    size, mask = len(payload), 0x80 if masked else 0
    if size < 126:
        length = struct.pack(">B", mask | size)
    elif size < 65536:
        length = struct.pack(">BH", mask | 126, size)
    else:
        length = struct.pack(">BQ", mask | 127, size)
    return bytes([0x80 | opcode]) + length + (bytes(4) if masked else b"") + payload


HANDSHAKE = (b"GET / HTTP/1.1\r\nHost: robot\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")


class Ended(Exception):
    """The connection ended without a word."""


class Closed(Exception):
    """The server closed the session, and said so."""


class Session:
    """A websocket session whose metadata has been read."""

    def __init__(self, port, timeout=60.0, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(timeout)
        self.buffer = bytearray()
        try:
            self.socket.connect(("127.0.0.1", port))
            self.socket.sendall(HANDSHAKE)
            while b"\r\n\r\n" not in self.buffer:
                self.more()
            end = self.buffer.index(b"\r\n\r\n") + 4
            status = bytes(self.buffer[9:12])
            if status != b"101":
                raise Closed(status.decode())
            del self.buffer[:end]
            self.metadata = self.receive()[1]
        except BaseException:
            self.socket.close()
            raise

    def more(self):
        try:
            got = self.socket.recv(1 << 18)
        except ConnectionError as error:
            raise Ended(str(error)) from None
        if not got:
            raise Ended("end of file")
        self.buffer += got

    def take(self, size):
        while len(self.buffer) < size:
            self.more()
        taken = bytes(self.buffer[:size])
        del self.buffer[:size]
        return taken

    def send(self, payload, opcode=2):
        try:
            self.socket.sendall(frame(payload, opcode))
        except ConnectionError as error:
            raise Ended(str(error)) from None

    def receive(self):
        """The next message (opcode, payload); answers pings; raises Closed for a close, which it answers."""
        while True:
            first, size = self.take(2)
            if size == 126:
                size, = struct.unpack(">H", self.take(2))
            elif size == 127:
                size, = struct.unpack(">Q", self.take(8))
            payload, opcode = self.take(size), first & 15
            if opcode == 9:
                self.send(payload, 10)
            elif opcode == 8:
                try:
                    self.socket.sendall(frame(payload, 8))
                except OSError:
                    pass
                raise Closed(str(struct.unpack(">H", payload[:2])[0] if len(payload) > 1 else 0))
            elif opcode != 10:
                return opcode, payload

    def ask(self, request):
        self.send(request)
        return self.receive()

    def close(self):
        self.socket.close()

    def abort(self):
        """With a reset in place of an orderly end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]


def machine():
    uname = os.uname()
    return {"system": f"{uname.sysname} {uname.release}", "architecture": uname.machine, "processor": processor(),
            "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0],
            "realtime": os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR)}
