# SPDX-License-Identifier: Apache-2.0
"""A server that speaks as the mediator's API does, with answers that a test chooses: for what a real mediator does not say
or do on demand (names with control characters, refusals, connections that break off)."""
import contextlib
import http.server
import json
import pathlib
import socketserver
import ssl
import tempfile
import threading


class Problem(dict):
    """A refusal as the API words it."""

    def __init__(self, status, error, detail):
        super().__init__(type=f"urn:vgpu:error:{error}", title="Refused", status=status, detail=detail, error=error)
        self.status = status


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode()
        asked = (self.command, self.path, json.loads(body) if body else None)
        self.server.asked.append(asked)
        self.server.headers_seen.append(dict(self.headers))
        found = self.server.answers.get((self.command, self.path.split("?")[0]), Problem(404, "operation", "no such path"))
        if callable(found):
            found = found(self, asked)
        if found is not None:
            self.send(found)

    def send(self, found):
        kind = "application/json"
        status = 200
        if isinstance(found, Problem):
            status, kind, found = found.status, "application/problem+json", json.dumps(found)
        elif isinstance(found, tuple):
            status, kind, found = found
        elif not isinstance(found, (str, bytes)):
            found = json.dumps(found)
        data = found if isinstance(found, bytes) else found.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def stream(self, text):
        """The beginning of an event stream, which ends with the connection."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(text.encode())
        self.wfile.flush()
        self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *_):
        pass

    def address_string(self):
        return "unix"


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def get_request(self):
        connection, _ = super().get_request()
        return connection, ("unix", 0)


class TcpServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True


@contextlib.contextmanager
def serving(answers, tls=None):
    """A server with .place (the socket's path, or the address with tls: files of certificate and key), .answers and .asked."""
    with tempfile.TemporaryDirectory(prefix="vgpu-test-") as directory:
        if tls:
            server = TcpServer(("127.0.0.1", 0), Handler)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.place = f"https://localhost:{server.server_address[1]}"
        else:
            server = UnixServer(f"{directory}/api.sock", Handler)
            server.place = pathlib.Path(directory) / "api.sock"
        server.answers, server.asked, server.headers_seen = answers, [], []
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def tenant(number, name, **more):
    row = {"tenant": number, "name": name, "pool": "default", "weight": 100, "class": "normal", "memory": 0, "in_demand": True,
           "share_target": 50.0, "share_achieved": 49.5, "gpu_ns": 5600000000, "turns": 7, "memory_used": 64 << 20,
           "launches": 1000, "copy_bytes": 0, "faults": 0, "quarantine": False, "connections": 1, "capped_ns": 0,
           "held_ns": {"turn": 0, "launches_per_s": 0, "copy_per_s": 0, "queue_depth": 0},
           "channels": [{"channel": 1, "turn": "waiting"}]}
    row.update(more)
    return row


def status(*tenants, now_ns=1000000000):
    return {"now_ns": now_ns, "backend": "null", "device": "Fake card", "health": "healthy", "last_xid": 0, "contended_ns": 0,
            "pools": [{"pool": "default", "weight": 100, "share": 0.0, "gpu_cap": 0.0, "share_target": 100.0,
                       "share_achieved": 99.0, "gpu_ns": 1, "turns": 1, "tenants": len(tenants)}],
            "tenants": list(tenants)}
