"""Serve a site on this machine, and rebuild it whenever a file changes."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from mkdocs.livereload import LiveReloadServer

from quaere import stamp
from quaere.content.model import Library
from quaere.errors import AuthorError, Faults, MisuseError, Place, visible
from quaere.project import Project
from quaere.site.build import also_read, build
from quaere.stamp import Inputs

HOST = "127.0.0.1"
_ASSETS = "/quaere-serve/"
_PARTS = Path(__file__).parent / "served"
_TYPES = {".css": "text/css", ".js": "text/javascript"}
_MOST = 50
_LOOKED_AGAIN = 0.2
"""After how many seconds files are looked at again."""
_REST = 10
"""How many times as long as a look takes nothing is looked at: many files take long."""
_SETTLES = 0.05
"""For how many seconds nothing may change before a site is built: not every program writes a file at once."""


def serve(
    project: Project,
    library: Library,
    inputs: Inputs,
    port: int,
    tell: Callable[[str], object],
    faults: Sequence[AuthorError] = (),
) -> None:
    """Serve the site of a library until Ctrl-C; what is wrong is told and shown in each page, until it is mended.

    Args:
        project: The knowledge base.
        library: What was read of it.
        inputs: Its files, as they looked before they were read.
        port: Where to listen.
        tell: Shows a line to whoever called the command.
        faults: What is wrong with the library; then nothing is built before a file changes.

    Raises:
        MisuseError: Somebody else listens on the port.
    """
    with tempfile.TemporaryDirectory(prefix="quaere-") as folder:
        site, address = Path(folder) / "site", f"http://{HOST}:{port}/"
        current = project
        # What came of the answers was written since, by this command.
        evidence = stamp.scan(project.root, [project.settings.evidence], {}, 0)
        looked = replace(inputs, files={**inputs.files, **evidence})

        def make() -> Sequence[AuthorError]:
            return build(project, library, site, served_at=address, tell=tell)[0]

        def make_again() -> Sequence[AuthorError]:
            nonlocal current
            current = project.again()
            library, faults = current.check(keep=True)
            return faults or build(current, library, site, served_at=address, tell=tell, inputs=looked)[0]

        def rebuild() -> None:
            server.faults = _caught(make_again)
            tell(str(Faults(server.faults)) if server.faults else "rebuilt")

        def is_changed() -> bool:
            nonlocal looked
            names = (*current.names, *also_read(current, site, address))
            before, looked = looked, looked.again(project.root, names)
            return looked.digests != before.digests

        # Before what takes long: only who listens knows that the port is free.
        server = _Server(builder=rebuild, is_changed=is_changed, host=HOST, port=port, root=str(site))
        try:
            server.faults = faults or _caught(make)
            if server.faults:
                tell(str(Faults(server.faults)))
            tell(f"{address} serves the site until Ctrl-C")
            server.serve()  # type: ignore[no-untyped-call]
        except KeyboardInterrupt:
            tell("stopped")
        finally:
            server.shutdown()


def _caught(make: Callable[[], Sequence[AuthorError]]) -> Sequence[AuthorError]:
    """Return what is wrong, whoever is at fault: pages wait for as long as nobody says how a build has ended."""
    try:
        return make()
    except AuthorError as error:
        return [error]
    except Faults as several:
        return several.errors
    except Exception as error:
        traceback.print_exc()
        problem = f"a mistake in quaere, or in a plugin: {type(error).__name__}: {error}"
        return [AuthorError(Place("", 0), problem, "the terminal shows where; change a file to build again")]


class _Server(LiveReloadServer):
    """A server that listens from the beginning, answers once it serves, and shows what is wrong in each page.

    Attributes:
        faults: What is wrong with the files as they are now.
    """

    def __init__(
        self, *, builder: Callable[[], None], is_changed: Callable[[], bool], host: str, port: int, root: str
    ) -> None:
        self._listens, self._is_changed = False, is_changed
        self.faults: Sequence[AuthorError] = ()
        self._templates = Environment(loader=FileSystemLoader(_PARTS), autoescape=True, trim_blocks=True)
        super().__init__(builder=builder, host=host, port=port, root=root)
        # Only where something is watched do pages get the script that loads them anew.
        self._watched_paths[root] = 1
        self.error_handler = self._error_page
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

    def _build_loop(self) -> None:
        """Look at the files again and again, in the thread that builds: another one would take its time."""
        took = 0.0
        while not self._shutdown:
            time.sleep(max(_LOOKED_AGAIN, _REST * took))
            began = time.process_time()
            is_changed = self._is_changed()
            took = time.process_time() - began
            if is_changed:
                time.sleep(_SETTLES)
                while self._is_changed():
                    time.sleep(_SETTLES)
                self._wanted_epoch += 1
                self.builder()
                with self._epoch_cond:
                    self._visible_epoch = self._wanted_epoch
                    self._epoch_cond.notify_all()

    def _serve_request(self, environ: Any, start_response: Any) -> Any:
        name = environ["PATH_INFO"].removeprefix(_ASSETS)
        if environ["PATH_INFO"].startswith(_ASSETS) and (suffix := Path(name).suffix) in _TYPES and "/" not in name:
            data = (_PARTS / name).read_bytes()
            start_response("200 OK", [("Content-Type", _TYPES[suffix]), ("Content-Length", str(len(data)))])
            return [data]
        return super()._serve_request(environ, start_response)

    def _inject_js_into_html(self, content: bytes, epoch: int) -> bytes:
        found = sorted(self.faults, key=lambda error: (error.place, error.problem))
        shown = [
            {
                "place": str(error.place) if error.place.file else "",
                "problem": visible(error.problem),
                "path": visible(error.place.at),
                "hint": visible(error.hint),
            }
            for error in found[:_MOST]
        ]
        is_built = (Path(self.root) / "index.html").exists()
        parts = self._templates.get_template("faults.html").render(
            faults=shown, more=len(found) - len(shown), is_built=is_built
        )
        before, end, after = content.rpartition(b"</body>")
        content = before + parts.encode() + end + after if end else content + parts.encode()
        return bytes(super()._inject_js_into_html(content, epoch))  # type: ignore[no-untyped-call]

    def _error_page(self, code: int) -> bytes:
        page = Path(self.root) / f"{code}.html"
        text = page.read_bytes() if page.is_file() else self._templates.get_template("empty.html").render().encode()
        return self._inject_js_into_html(text, self._visible_epoch)
