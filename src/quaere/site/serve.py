"""Serve a site on this machine, and build it anew whenever a file changes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from mkdocs.livereload import LiveReloadServer

from quaere.content.model import Library
from quaere.errors import AuthorError, Faults
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
        Faults: The site can't be built as it is now. A fault that comes later is told, and the last site stays.
    """
    with tempfile.TemporaryDirectory(prefix="quaere-") as folder:
        site, address = Path(folder) / "site", f"http://{HOST}:{port}/"
        faults, is_built = build(project, library, site, served_at=address)
        if not is_built:
            raise Faults(faults)

        watched: set[Path] = set()

        def watch() -> None:
            for path in set(project.watched) - watched:
                server.watch(str(path))
                watched.add(path)

        def rebuild() -> None:
            try:
                fresh = Project.find(project.root)
                library, faults = fresh.check()
                faults = faults or build(fresh, library, site, served_at=address)[0]
            except AuthorError as error:
                faults = [error]
            except Faults as several:
                faults = list(several.errors)
            tell(str(Faults(faults)) if faults else "built anew")
            watch()  # what has come since

        server = LiveReloadServer(builder=rebuild, host=HOST, port=port, root=str(site))
        server.error_handler = lambda code: _error_page(site, code)
        server.watch(str(project.root), recursive=False)
        watch()
        tell(f"{address} shows the site until Ctrl-C")
        try:
            server.serve()  # type: ignore[no-untyped-call]
        except KeyboardInterrupt:
            tell("stopped")
        finally:
            server.shutdown()


def _error_page(site: Path, code: int) -> bytes | None:
    page = site / f"{code}.html"
    return page.read_bytes() if page.is_file() else None
