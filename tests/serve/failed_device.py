#!/usr/bin/env python3
"""A device fails while another one computes: failed_device.py NERVUS LIBRARY

LIBRARY (failed_device.cpp) takes the place of the policies. The robot is told, and the program ends with 8: as soon as
the call has ended, and after the drain where it never does.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "benchmarks" / "serve"))
from wire import Closed, Session, observation  # noqa: E402

PATIENCE = 30  # seconds: of a machine that does much else; left alone none takes three


def serve(nervus, library, checkpoint, call_seconds, drain_seconds):
    """Seconds from the request to the end."""
    process = subprocess.Popen(
        [nervus, "serve", "--checkpoint", checkpoint, "--device", "cpu,cpu", "--port", "0", "--json", "--quiet",
         "--drain-seconds", str(drain_seconds)],
        env=os.environ | {"LD_PRELOAD": library}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        line = b""
        while b"}" not in line:
            more = process.stdout.readline()
            assert more, process.stderr.read()
            line += more
        session = Session(json.loads(line)["port"], PATIENCE)
        started = time.perf_counter()
        session.send(observation(["cam_high", "cam_left_wrist", "cam_right_wrist"], 14, 8, seed=call_seconds))
        assert json.loads(session.receive()[1])["error"]["code"] == "device_failed"
        try:
            assert False, session.receive()
        except Closed as closed:
            assert str(closed) == "1001", closed
        status = process.wait(PATIENCE)
        took = time.perf_counter() - started
        out, error = process.stdout.read(), process.stderr.read()
        assert status == 8, f"the program ended with {status}: {error}"
        assert error == b"nervus: error: cpu: lost\n", error
        assert json.loads(out)["error"]["exit_code"] == 8, out
        return took
    finally:
        process.kill()
        process.wait()


def main():
    nervus, library = sys.argv[1:]
    with tempfile.TemporaryDirectory() as directory:
        checkpoint = str(pathlib.Path(directory) / "tiny")
        subprocess.run([nervus, "synth", "--preset", "tiny", "--seed", "1", "--out", checkpoint, "--quiet"],
                       check=True, stdout=subprocess.DEVNULL)
        soon = serve(nervus, library, checkpoint, call_seconds=1, drain_seconds=3600)
        never = serve(nervus, library, checkpoint, call_seconds=3600, drain_seconds=0.2)
    print(f"a call of 1 s: ended after {soon:.1f} s; one that never ends, with a drain of 0.2 s: after {never:.1f} s")


if __name__ == "__main__":
    main()
