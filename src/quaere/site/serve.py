"""Serve a site on this machine, and rebuild it whenever a file changes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from mkdocs.livereload import LiveReloadServer

from quaere.content.model import Library
from quaere.errors import AuthorError, Faults, MisuseError, Place
from quaere.project import Project
from quaere.site.build import build

HOST = "127.0.0.1"


def serve(project: Project, library: Library, port: int, tell: Callable[[str], object]) -> None:
    """Serve the site of a library until Ctrl-C.

    Args:
        project: The knowledge base.
        library: What was read of it, without faults.
        port: Where to listen.
        tell: Shows a line to whoever called the command.

    Raises:
        MisuseError: Somebody else listens on the port.
        Faults: The site can't be built as it is now. A fault that comes later is told, and the last site stays.
    """
    with tempfile.TemporaryDirectory(prefix="quaere-") as folder:
        site, address = Path(folder) / "site", f"http://{HOST}:{port}/"
        watched: set[Path] = set()

        def watch() -> None:
            for path in set(project.watched) - watched:
                server.watch(str(path))
                watched.add(path)

        def rebuild() -> None:
            try:
                fresh = Project.find(project.root, shows_private=project.shows_private)
                library, faults = fresh.check(keep=True)
                faults = faults or build(fresh, library, site, served_at=address, tell=tell)[0]
            except AuthorError as error:
                faults = [error]
            except Faults as several:
                faults = list(several.errors)
            tell(str(Faults(faults)) if faults else "rebuilt")
            watch()  # what has come since

        # Before what takes long: only who listens knows that the port is free.
        server = _Server(builder=rebuild, host=HOST, port=port, root=str(site))
        try:
            faults, is_built = build(project, library, site, served_at=address, tell=tell)
            if not is_built:
                raise Faults(faults)
        except BaseException:
            server.server_close()
            raise
        server.error_handler = lambda code: _error_page(site, code)
        server.watch(str(project.root), recursive=False)
        watch()
        tell(f"{address} serves the site until Ctrl-C")
        try:
            server.serve()  # type: ignore[no-untyped-call]
        except KeyboardInterrupt:
            tell("stopped")
        finally:
            server.shutdown()


class _Server(LiveReloadServer):
    """A server that listens from the beginning, and answers once it serves."""

    def __init__(self, *, builder: Callable[[], None], host: str, port: int, root: str) -> None:
        self._listens = False
        super().__init__(builder=builder, host=host, port=port, root=root)
        try:
            self.server_bind()
            self.server_activate()
        except OSError as error:
            self.server_close()
            problem = f"can't listen on port {port}: {(error.strerror or str(error)).lower()}"
            hint = "name another with --port, or leave it out"
            raise MisuseError(Place(f"http://{host}:{port}/", 0), problem, hint) from error

    def server_bind(self) -> None:
        """Take the port, once."""
        if not self._listens:
            super().server_bind()
            self._listens = True


def _error_page(site: Path, code: int) -> bytes | None:
    page = site / f"{code}.html"
    return page.read_bytes() if page.is_file() else None
