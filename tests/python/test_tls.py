"""The client's encryption: a server behind a TLS terminator, as an ingress is one."""
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading

import pytest

import nervus
from conftest import ALOHA, wait_until

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl (Debian: openssl)")


@pytest.fixture(scope="module", autouse=True)
def encryption():
    try:
        nervus.Client(host="wss://localhost", port=9).close()
    except nervus.UnsupportedError as error:
        assert "NERVUS_TLS=ON" in str(error)
        pytest.skip("this build has no encryption")


class Authority:
    """A certificate authority of this test's own."""

    def __init__(self, directory):
        self.directory, self.file = directory, directory / "ca.pem"
        self.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=nervus's tests",
                     "-keyout", "ca.key", "-out", "ca.pem")

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.directory, check=True, capture_output=True)

    def context(self, names, subject="/CN=a server"):
        """Of a server whose certificate is of those names."""
        self.openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", "host.key", "-out",
                     "host.csr")
        (self.directory / "names").write_text(f"subjectAltName={names}\n")
        self.openssl("x509", "-req", "-in", "host.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days",
                     "2", "-extfile", "names", "-out", "host.pem")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / "host.pem", self.directory / "host.key")
        return context


class Terminator:
    """Takes TLS, and hands what is in it to a port of loopback."""

    def __init__(self, context, port):
        self.context, self.to = context, port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.names = []  # that clients asked for
        context.sni_callback = lambda _, name, __: self.names.append(name)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.serve, args=(self.listener.accept()[0],), daemon=True).start()

    def serve(self, taken):
        with contextlib.suppress(OSError), taken:
            with (self.context.wrap_socket(taken, server_side=True) as peer,
                  socket.create_connection(("127.0.0.1", self.to)) as server):
                back = threading.Thread(target=self.pump, args=(server, peer), daemon=True)
                back.start()
                self.pump(peer, server)
                back.join()

    @staticmethod
    def pump(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture(scope="module")
def server(checkpoint):
    with nervus.Server.load(checkpoint, {"port": 0}, robot="aloha", norm_stats=ALOHA / "norm_stats.json", steps=[2],
                            threads=1) as server:
        yield server


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def behind(authority, server):
    """The server behind TLS with a certificate of the names that are given."""
    with contextlib.ExitStack() as stack:
        def start(names, subject="/CN=a server"):
            return stack.enter_context(contextlib.closing(Terminator(authority.context(names, subject), server.port)))
        yield start


def problem_of(**options):
    """Why a client does not connect."""
    lines = []
    with nervus.Client(log=lines.append, **options) as client:
        assert wait_until(lambda: client.status.problem)
        assert not client.status.connected and client.status.connections == 0
        return client.status.problem


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_whom_the_authority_knows_is_served(behind, authority, policy, observation, host):
    terminator = behind("DNS:localhost,IP:127.0.0.1")
    with nervus.Client(host=f"wss://{host}", port=terminator.port, ca_file=authority.file, seed=5) as client:
        assert client.wait_connected(20), client.status.problem
        for _ in range(3):
            actions = client.infer(**observation)
            assert actions.tobytes() == policy.infer(**observation, seed=5, steps=2).tobytes()
    assert terminator.names == ["localhost" if host == "localhost" else None], "an address is no name"


def test_of_an_unknown_authority_is_refused(behind):
    problem = problem_of(host="wss://localhost", port=behind("DNS:localhost").port)
    assert problem.startswith("wss://localhost:") and "its certificate is not accepted: " in problem
    assert "issuer" in problem and "ca_file" in problem


@pytest.mark.parametrize("names, host, why", [
    ("DNS:elsewhere.example", "localhost", "hostname mismatch"),
    ("DNS:localhost", "127.0.0.1", "IP address mismatch"),
    ("DNS:loc*", "localhost", "hostname mismatch")])
def test_of_another_host_is_refused(behind, authority, names, host, why):
    port = behind(names, subject="/CN=localhost").port  # the subject is not a name of the host
    assert why in problem_of(host=f"wss://{host}", port=port, ca_file=authority.file)


def test_a_server_without_tls_is_refused(server, authority):
    problem = problem_of(host="wss://localhost", port=server.port, ca_file=authority.file)
    assert problem.startswith(f"wss://localhost:{server.port}: no TLS: ")


ASK = """
import ssl, sys, nervus
assert ssl.OPENSSL_VERSION
with nervus.Client(host="wss://localhost", port=int(sys.argv[1])) as client:
    assert client.wait_connected(20), client.status.problem
"""


def test_without_a_file_the_system_says_whom_to_trust(behind, authority):
    """In a process that has Python's own OpenSSL beside it."""
    port = str(behind("DNS:localhost").port)
    subprocess.run([sys.executable, "-c", ASK, port], env={**os.environ, "SSL_CERT_FILE": authority.file}, check=True)


def test_options_that_are_wrong(tmp_path):
    with pytest.raises(nervus.UsageError, match="ca_file: expected a host behind wss://"):
        nervus.Client(host="localhost", ca_file=tmp_path)
    with pytest.raises(nervus.IoError, match="ca_file: .*none.pem: expected certificates in PEM's format"):
        nervus.Client(host="wss://localhost", ca_file=tmp_path / "none.pem")
    with pytest.raises(nervus.UsageError, match="host: expected a name"):
        nervus.Client(host="https://localhost")
