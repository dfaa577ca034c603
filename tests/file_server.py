"""A web server on loopback for tests of downloads, which can misbehave in the ways that real ones do."""

import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """Serves `files`, by path.

    requests: path and Range header of each request, in order. sent: bytes of files that were sent.
    cuts: for each path how many bytes each of the next connections sends before it ends.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files, self.cuts, self.redirects, self.requests, self.sent = {}, {}, {}, [], 0
        self.knows_ranges, self.announces_sizes = True, True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append((self.path, wanted))
        self.close_connection = True
        if self.path in server.redirects:
            self.send_response(302)
            self.send_header("Location", server.redirects[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path not in server.files:
            self.send_error(404)
            return
        content = server.files[self.path]
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and server.knows_ranges else 0
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self._send(content[start:])

    def _send(self, content):
        server = self.server
        cuts = server.cuts.get(self.path)
        part = content[: cuts.pop(0)] if cuts else content
        if server.announces_sizes:
            self.send_header("Content-Length", str(len(content)))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        server.sent += len(part)
        try:
            if server.announces_sizes:
                self.wfile.write(part)
            else:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part) + (b"0\r\n\r\n" if part == content else b""))
        except ConnectionError:
            pass  # the client has had enough

    def log_message(self, *_):
        pass


@contextmanager
def file_server():
    server = FileServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
