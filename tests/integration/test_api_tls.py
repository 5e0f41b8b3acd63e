# SPDX-License-Identifier: Apache-2.0
"""The HTTP API over TCP: TLS and tokens, and a start that is refused without them being as they should."""
import hashlib
import http.client
import os
import socket
import ssl
import subprocess

import api
import pytest
import vgpu

ADMIN, VIEWER = "a-secret-of-operators", "one-that-may-look"


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A certificate for 127.0.0.1 and its key."""
    folder = tmp_path_factory.mktemp("pair")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=vgpu test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem",
                    "-out", folder / "cert.pem"], check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Files:
    def __init__(self, folder, pair):
        self.certificate, self.key = pair
        self.tokens, self.port = folder / "tokens", free_port()
        self.tokens.write_text(f"# who may\nadmin {sha256(ADMIN)} ops\nviewer {sha256(VIEWER)} dashboard\n")
        self.tokens.chmod(0o600)

    def settings(self):
        for key, value in (("listen", f"127.0.0.1:{self.port}"), ("certificate", self.certificate), ("key", self.key),
                           ("tokens", self.tokens)):
            yield from ("--set", f"api.{key}={value}")

    def connect(self, **kw):
        context = ssl.create_default_context(cafile=self.certificate)
        for name, value in kw.items():
            setattr(context, name, value)
        return api.Api(http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=context))


@pytest.fixture
def files(tmp_path, pair):
    return Files(tmp_path, pair)


@pytest.fixture
def remote(files):
    with vgpu.mediator(*files.settings()) as m:
        m.files = files
        yield m


def token(text):
    return {"Authorization": f"Bearer {text}"}


def test_tokens_and_their_roles(remote):
    with remote.files.connect() as a:
        assert [p["pool"] for p in a.get("/v1/status", headers=token(VIEWER))["pools"]] == ["default"]
        assert a.refused("POST", "/v1/pools", {"pool": "p"}, headers=token(VIEWER)) == (403, "permission")
        assert a.ask("POST", "/v1/pools", {"pool": "p"}, headers=token(ADMIN)).status == 201
        row, = a.get("/v1/events?kind=operator.changed", headers=token(VIEWER))["events"]
        assert row["fields"]["who"] == "token ops (https)"
        # Each request is its own token's, on one connection.
        assert a.refused("DELETE", "/v1/pools/p", headers=token(VIEWER)) == (403, "permission")
        assert a.refused("DELETE", "/v1/pools/p") == (401, "permission")


@pytest.mark.parametrize("headers", [{}, token(""), token("x"), token(ADMIN + "x"), token(ADMIN[:-1]), token(sha256(ADMIN)),
                                     token("x" * 300), {"Authorization": f"Basic {ADMIN}"}, {"Authorization": ADMIN},
                                     {"Cookie": f"token={ADMIN}"}, {"Authorization": "Bearer  " + ADMIN}])
def test_without_a_token_nothing_is_seen(remote, headers):
    with remote.files.connect() as a:
        for method, path in (("GET", "/v1/status"), ("GET", "/openapi.json"), ("GET", "/no/such/path"), ("POST", "/v1/pools"),
                             ("GET", "/v1/events")):
            answer = a.ask(method, path, headers=headers)
            assert answer.problem() == (401, "permission") and "default" not in str(answer.body)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_stream_over_tls(remote):
    connection = remote.files.connect().connection
    with api.Events(connection, headers=token(VIEWER)) as stream, api.connect(remote) as local:
        for i in range(10):
            local.do("POST", "/v1/pools", {"pool": f"p{i}"})
        assert [f'"p{i}"' in stream.next()[2]["text"] for i in range(10)] == [True] * 10


def test_nothing_in_the_clear(remote):
    with socket.create_connection(("127.0.0.1", remote.files.port), timeout=30) as s:
        s.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n" % ADMIN.encode())
        assert b"default" not in api.read_all(s)
    with remote.files.connect() as a:
        a.get("/v1/status", headers=token(VIEWER))


def test_old_versions_of_tls(remote):
    with pytest.raises(ssl.SSLError), remote.files.connect(minimum_version=ssl.TLSVersion.TLSv1,
                                                           maximum_version=ssl.TLSVersion.TLSv1_1) as a:
        a.ask("GET", "/v1/status")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with remote.files.connect(minimum_version=version, maximum_version=version) as a:
            a.get("/v1/status", headers=token(VIEWER))


def test_connections_that_shake_no_hands(remote):
    held = [socket.create_connection(("127.0.0.1", remote.files.port)) for _ in range(20)]
    with remote.files.connect() as a:
        a.get("/v1/status", headers=token(VIEWER))
    with api.connect(remote) as a:
        a.get("/v1/status")
    for s in held:
        s.settimeout(30)
        s.sendall(b"\x16\x03\x01")
        assert api.read_all(s) == b""  # cut off after a while
        s.close()


def refused_start(files, *args):
    done = subprocess.run([vgpu.MEDIATOR, "--socket", files.tokens.parent / "m.sock", "--set",
                           f"paths.run_directory={files.tokens.parent}", "--backend", "null", "--executor", vgpu.FAKE,
                           *files.settings(), *args], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    return done.stderr


def test_files_that_are_open_to_others_end_the_start(files, tmp_path):
    files.tokens.chmod(0o604)
    assert "api.tokens" in (said := refused_start(files)) and "open to others" in said
    files.tokens.chmod(0o600)
    key = tmp_path / "key.pem"
    key.write_text(files.key.read_text())
    key.chmod(0o644)
    files.key = key
    assert "api.key" in refused_start(files)
    if os.geteuid() == 0:
        key.chmod(0o600)
        os.chown(key, 12345, 12345)
        assert "api.key" in refused_start(files)


def test_files_that_are_not_right_end_the_start(files, tmp_path):
    files.tokens.write_text("admin 1234 ops\n")
    assert "api.tokens" in (said := refused_start(files)) and "line 1" in said
    files.tokens.write_text("")
    files.key = tmp_path / "none"
    assert "api.key" in refused_start(files)
    files.key = tmp_path / "text"
    files.key.write_text("no key\n")
    files.key.chmod(0o600)
    assert "TLS does not begin" in refused_start(files)


@pytest.mark.parametrize("where", ["127.0.0.1", "127.0.0.1:", "localhost:8443", ":8443", "127.0.0.1:x", "127.0.0.1:0", "127.0.0.1:70000", "[::1]", "1.2.3.4:1"])
def test_addresses_that_are_none_end_the_start(files, where):
    assert "api.listen" in refused_start(files, "--set", f"api.listen={where}")


def test_a_port_that_is_taken(files):
    with socket.socket() as s:
        s.bind(("127.0.0.1", files.port))
        s.listen()
        assert "in use" in refused_start(files)
