"""A process that ends with clients and servers left open."""
import subprocess
import sys
import textwrap


def ends(script, *arguments):
    """What a process of its own printed, which ends well and complains of nothing."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)], capture_output=True,
                          text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_open_clients():
    """Of a server that is not there, so that there is always a line to write."""
    ends("""
        import nervus, time
        def log(line):
            for _ in range(1000):
                time.sleep(0.0001)
        client = nervus.Client(port=9, log=print)
        others = [nervus.Client(port=9, log=log, backoff_seconds=0.001, most_backoff_seconds=0.001) for _ in range(4)]
        while not others[0].status.problem:
            time.sleep(0.01)
    """)


def test_an_open_server(checkpoint):
    """With a client, and both kept by a reference from elsewhere; the server says its last before the process ends."""
    printed = ends("""
        import nervus, sys
        def log(line):  # of a module that holds the server
            print(line)
        server = nervus.Server.load(sys.argv[1], {"port": 0, "log": log}, threads=1)
        client = nervus.Client(port=server.port, log=log)
        sys.kept = [server, client]
        assert client.wait_connected(60)
    """, checkpoint)
    assert '"ended"' in printed.splitlines()[-1]


def test_a_child_leaves_what_is_the_parents(checkpoint):
    """It has none of the threads, which it would wait for."""
    printed = ends("""
        import nervus, os, signal, sys, time
        server = nervus.Server.load(sys.argv[1], {"port": 0}, threads=1)
        client = nervus.Client(port=server.port, log=lambda line: None)  # its cycle keeps the client to the end
        assert client.wait_connected(60)
        child = os.fork()
        if child == 0:
            os.close(2)  # nanobind says there that the client was not ended
            sys.exit(0)
        deadline = time.monotonic() + 20
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
            time.sleep(0.01)
        if ended == (0, 0):
            os.kill(child, signal.SIGKILL)
        print(ended == (child, 0), client.status.connected, server.running)
    """, checkpoint)
    assert "True True True" in printed
