"""What a site is made of: pages and files, each with a function that makes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quaere.pages.page import Page

# Who writes the notebook of an experiment need not have what pages are made with.
if TYPE_CHECKING:
    from quaere.pages.view import View


@dataclass(frozen=True)
class Output:
    """A page or a file of the site. It is made only when it is needed, and of nothing but the view that it is given.

    Attributes:
        path: A page's name, as `content.addresses` gives it, or a file's path in the site.
        make: Makes it; a long text in parts, so that it is never held as a whole.
        title: The title of a page that can stand in the navigation, as plain text.
    """

    path: str
    make: Callable[[View], Page | str | bytes | Iterator[str]]
    title: str = ""

    def page(self, view: View) -> Page:
        """Make a page."""
        made = self.make(view)
        if not isinstance(made, Page):
            raise TypeError(f"{self.path} is no page")
        return made

    def data(self, view: View) -> bytes:
        """Make the content of a file."""
        return b"".join(self.parts(view))

    def parts(self, view: View) -> Iterator[bytes]:
        """Make the content of a file part by part."""
        made = self.make(view)
        if isinstance(made, Page):
            raise TypeError(f"{self.path} is a page")
        if isinstance(made, bytes):
            yield made
        else:
            yield from (part.encode(errors="replace") for part in ([made] if isinstance(made, str) else made))
