"""Pictures for previews of links: of the site, and of each card with code.

A picture costs as much as several pages, so cards of the reading list have the site's. So have those whose words the
font that comes along can't write.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, cast

from quaere.content.states import State
from quaere.pages import figures
from quaere.pages.output import Output
from quaere.pages.view import View

# Only a site with an address has pictures.
if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

WIDTH, HEIGHT = 1200, 630
SITE = "assets/preview.png"
"""The path of the site's picture."""

_MARGIN = 80
_WIDE, _BOTTOM = WIDTH - 2 * _MARGIN, HEIGHT - 100
# Grays, and behind them the colors that states have in style sheets.
_INK, _QUIET, _PAPER, _ACCENT = 0x1A, 0x5C, 0xF7, 0xF8
_COLORS: Mapping[str, tuple[int, int, int]] = {
    "accent": (0x5B, 0x3F, 0xA0),
    State.DEMONSTRATED: (0x12, 0x60, 0x2E),
    State.ANSWERED: (0x1A, 0x4F, 0x9C),
    State.UNVERIFIED: (0x77, 0x48, 0x00),
    State.BROKEN: (0xA0, 0x16, 0x20),
    State.OPEN: (0x4A, 0x4F, 0x5C),
}
# DejaVu writes Latin, Greek, Cyrillic and signs; others need a font or a layout that isn't here.
_WRITABLE = re.compile("[\u0020-\u058f\u1e00-\u2bff\ufb00-\ufb06]+")


@dataclass(frozen=True)
class _Picture:
    """What a picture says: above, the title, below it and in short; and how many questions are in each state."""

    above: str
    title: str
    below: str
    text: str
    counts: Mapping[State, int]

    @property
    def can_be_drawn(self) -> bool:
        return all(_WRITABLE.fullmatch(one or " ") for one in (self.above, self.title, self.below, self.text))


def outputs(view: View) -> Iterator[Output]:
    """Yield the pictures; a site without an address has none, since previews need a whole one."""
    if view.site_url:
        yield Output(SITE, lambda view: _made(view, _site(view)))
        for slug in view.library.papers:
            if _card(view, slug):
                yield Output(_path(slug), partial(_of_card, slug))


def path(view: View, slug: str = "") -> str:
    """Return the path of the picture of a card, or of the site; empty if there is none."""
    if not view.site_url:
        return ""
    return _path(slug) if slug and _card(view, slug) else SITE


def _path(slug: str) -> str:
    return f"assets/previews/{slug}.png"


def _site(view: View) -> _Picture:
    questions = len(view.states)
    below = f"{view.counted}, {questions} question{'s' * (questions != 1)}"
    picture = _Picture("", view.name or "Papers", below, view.description, view.count(view.states))
    return picture if picture.can_be_drawn else _Picture("", "Papers", below, "", picture.counts)


def _card(view: View, slug: str) -> _Picture | None:
    """Return what the picture of a card says; None for one that has the site's."""
    if view.library.module_of(view.library.papers[slug]) is None:
        return None
    one = view.summaries[slug]
    above = view.name if _WRITABLE.fullmatch(view.name) else ""
    picture = _Picture(above, one.title, one.cited, one.words, view.count(one.id for one in one.questions))
    return picture if picture.can_be_drawn else None


def _of_card(slug: str, view: View) -> bytes:
    return _made(view, cast(_Picture, _card(view, slug)))


def _made(view: View, picture: _Picture) -> bytes:
    told = json.dumps([picture.above, picture.title, picture.below, picture.text, picture.counts])
    return base64.b64decode(view.kept(_recipe() + told.encode(), lambda: base64.b64encode(_drawn(picture)).decode()))


@cache
def _recipe() -> bytes:
    """Return what, besides the words, decides how a picture is drawn."""
    return b"\0".join((Path(__file__).read_bytes(), metadata.version("pillow").encode(), figures.recipe()))


def _drawn(picture: _Picture) -> bytes:
    from PIL import Image, ImageDraw

    image = Image.new("L", (WIDTH, HEIGHT), _PAPER)
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, 23, HEIGHT), fill=_ACCENT)
    at = 64
    small, middle, large = _font(28), _font(32), _font(56, is_bold=True)
    if picture.above:
        pen.text((_MARGIN, at), picture.above, fill=_QUIET, font=small)
        at += 64
    for font, text, most, ink, height, gap in (
        (large, picture.title, 3, _INK, 70, 12),
        (small, picture.below, 1, _QUIET, 40, 24),
        (middle, picture.text, 4, _INK, 46, 0),
    ):
        for line in _lines(text, font, min(most, (_BOTTOM - at) // height)):
            pen.text((_MARGIN, at), line, fill=ink, font=font)
            at += height
        at += gap
    left = float(_MARGIN)
    for number, name in enumerate(_COLORS):
        if count := picture.counts.get(cast(State, name)):
            pen.ellipse((left, HEIGHT - 72, left + 24, HEIGHT - 48), fill=_ACCENT + number)
            pen.text((left + 36, HEIGHT - 78), f"{count} {name}", fill=_QUIET, font=small)
            left += 36 + small.getlength(f"{count} {name}") + 36
    palette = [level for gray in range(_ACCENT) for level in (gray, gray, gray)]
    image.putpalette([*palette, *(level for color in _COLORS.values() for level in color)])
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _lines(text: str, font: FreeTypeFont, most: int) -> Iterator[str]:
    """Yield the lines of a text, at most some, the last of which then says that more follows."""
    words = [_short(word, font) for word in text.split()]
    for number in range(most):
        if not words:
            return
        line = _line(words, font)
        rest = words[len(line) :]
        shown = " ".join(line)
        if rest and number + 1 == most:
            while line and font.getlength(f"{shown}…") > _WIDE:
                line = line[:-1]
                shown = " ".join(line)
            shown = f"{shown}…"
        yield shown
        words = rest


def _short(word: str, font: FreeTypeFont) -> str:
    """Return a word, or the beginning of one that is longer than a line."""
    shown = word[:200]
    while font.getlength(shown) > _WIDE:
        shown = shown[:-1]
    return shown


def _line(words: Sequence[str], font: FreeTypeFont) -> Sequence[str]:
    """Return the words that fit on a line, at least one."""
    width, space = 0.0, font.getlength(" ")
    for number, word in enumerate(words):
        width += font.getlength(word) + space * (number > 0)
        if width > _WIDE and number:
            return words[:number]
    return words


@cache
def _font(size: int, *, is_bold: bool = False) -> FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.truetype(figures.font(is_bold=is_bold), size, layout_engine=ImageFont.Layout.BASIC)
