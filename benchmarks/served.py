"""A built site on this machine, sent as a host of static pages sends it: compressed, over open connections."""

import contextlib
import gzip
import threading
from collections.abc import Iterator
from functools import lru_cache, partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

COMPRESSED = frozenset({".html", ".css", ".js", ".mjs", ".json", ".svg", ".xml", ".txt", ".bib", ".ris", ".md"})


@lru_cache(256)
def compressed(file: Path, changed: int) -> bytes:
    """Return a file's bytes as they are sent; `changed` is when the file changed, so that another version is read."""
    data = file.read_bytes()
    return gzip.compress(data, 6, mtime=0) if file.suffix in COMPRESSED else data


class Compressing(SimpleHTTPRequestHandler):
    """Serves a folder, compressed, and writes no log."""

    protocol_version = "HTTP/1.1"
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}  # noqa: RUF012

    def send_head(self) -> BytesIO | None:
        """Send the head of an answer, and return its body."""
        file = Path(self.translate_path(self.path))
        if file.is_dir():
            file /= "index.html"
        status = HTTPStatus.OK if file.is_file() else HTTPStatus.NOT_FOUND
        if status is HTTPStatus.NOT_FOUND:
            file = Path(self.directory, "404.html")
        body = compressed(file, file.stat().st_mtime_ns) if file.is_file() else b""
        self.send_response(status)
        kind = self.guess_type(file)
        self.send_header("Content-Type", f"{kind}; charset=utf-8" if kind.startswith("text/") else kind)
        if file.suffix in COMPRESSED:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=600")
        self.end_headers()
        return BytesIO(body)

    def log_message(self, format: str, *args: object) -> None:
        """Write no log."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on a port of its own, and yield its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Compressing, directory=str(folder))) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
