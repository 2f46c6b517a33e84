"""What MkDocs made: the shells of generated pages, its own pages, and the settings that all of them follow from."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urljoin

from quaere.cache import Cache
from quaere.content import addresses
from quaere.pages.page import Page
from quaere.pages.view import View
from quaere.site import equations
from quaere.site.handwritten import Written
from quaere.site.shell import Kind, Shell


class MissingShellError(Exception):
    """A page needs a shell that MkDocs has not made, or a page of MkDocs' own is not kept."""


@dataclass(frozen=True)
class Front:
    """The shells of a site by their kinds, and what pages and shells follow from.

    Attributes:
        view: How the view is made: the arguments of `Project.view`.
        has_tabs: Whether the theme's navigation is tabs.
        docs: The hand-written pages that MkDocs does not leave out.
        shells: The shells by the names of their kinds.
        written: The digests of the pages that MkDocs makes.
        make: Has the theme make a shell for a page at a path; without it there are no more.
    """

    view: Mapping[str, Any]
    has_tabs: bool
    docs: frozenset[str]
    shells: dict[str, Shell] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)
    make: Callable[[Kind, str], Shell] | None = None
    _digests: dict[str, str] = field(default_factory=dict)
    _written: dict[str, Written] = field(default_factory=dict)

    def placed(self, page: Page) -> Page:
        """Return a page as it is shown here: without tabs, the navigation at the side is the only one."""
        return page if self.has_tabs else replace(page, hide=())

    def shell(self, page: Page) -> tuple[Kind, Shell]:
        """Return the shell of a page.

        Raises:
            MissingShellError: It is not there, and MkDocs was not started.
        """
        kind = Kind.of(page, page.path if page.path in addresses.LISTS else posixpath.dirname(page.path))
        if kind.name not in self.shells:
            if not self.make:
                raise MissingShellError(kind.name)
            self.shells[kind.name] = self.make(kind, page.path)
        return kind, self.shells[kind.name]

    def digest(self, kind: str) -> str:
        """Return the digest of the shell of a kind, by the kind's name; empty if it is not there."""
        if kind not in self.shells and self.make:
            read = Kind.read(kind)
            path = read.at if read.at in addresses.LISTS else posixpath.join(read.at, "page.md")
            self.shells[kind] = self.make(read, path)
        if kind not in self._digests and kind in self.shells:
            self._digests[kind] = self.shells[kind].digest
        return self._digests.get(kind, "")

    def add(self, written: Written) -> None:
        """Add a page that MkDocs made."""
        self.written[written.path] = written.digest
        self._written[written.path] = written

    def page(self, path: str, cache: Cache) -> Written:
        """Return a page that MkDocs made.

        Raises:
            MissingShellError: It is neither new nor kept.
        """
        if path not in self._written:
            told = cache.find(_name(self.written[path]))
            if told is None:
                raise MissingShellError(path)
            self._written[path] = Written.read(told)
        return self._written[path]

    def keep(self, cache: Cache) -> None:
        """Keep the new pages that MkDocs made."""
        cache.keep((_name(self.written[path]), one.tell()) for path, one in self._written.items() if self.make)

    def fill(self, page: Page, shell: Shell, view: View, drawn: str) -> str:
        """Put a page, whose equations are drawn, into its shell."""
        canonical = urljoin(view.site_url, view.url(page.path)) if view.site_url else ""
        folder = posixpath.dirname(addresses.file(page.path, view.has_folders))
        return shell.fill(page, canonical, drawn, posixpath.relpath(equations.STYLES, folder or "."))

    def tell(self) -> dict[str, Any]:
        """Write it as plain values."""
        return {
            "view": dict(self.view),
            "has_tabs": self.has_tabs,
            "docs": sorted(self.docs),
            "shells": {name: shell.tell() for name, shell in self.shells.items()},
            "written": self.written,
        }

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Front:
        """Return what was written by `tell`."""
        shells = {name: Shell.read(shell) for name, shell in told["shells"].items()}
        return cls(told["view"], told["has_tabs"], frozenset(told["docs"]), shells, told["written"])


def _name(digest: str) -> bytes:
    return f"page of MkDocs {digest}".encode()
