"""Images and documents in the folder of the cards, which a card can show or link to."""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from xml.parsers import expat

from quaere.content import files
from quaere.errors import CardError, Place

PICTURES = frozenset({".apng", ".avif", ".gif", ".jpeg", ".jpg", ".png", ".svg", ".webp"})
SUFFIXES = PICTURES | {".pdf"}
"""What a browser shows without running anything of it. HTML beside a card is no page of the site."""

_SVG, _HTML = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml"
# What is drawn, and stands still.
_DRAWN = frozenset(
    """
    a circle clippath defs desc ellipse filter g image line lineargradient marker mask metadata path pattern polygon
    polyline radialgradient rect stop style svg switch symbol text textpath title tspan use view
    """.split()  # noqa: SIM905  (a list of quoted words would take a screen)
)
_INERT = re.compile(r"#|data:image/(?:png|jpeg|gif|webp)[;,]")
_HEAD = 1 << 18
"""Bytes of a picture that are read for its size: a JPEG may have its maker's own data before it."""
_LARGEST = 100_000
_UNITS = {"px": 1.0, "pt": 96 / 72, "pc": 16.0, "in": 96.0, "cm": 96 / 2.54, "mm": 96 / 25.4}
_FETCHES = re.compile(r"@import|(?:image|image-set|src|cross-fade|element)\s*\(|url\((?!\s*['\"]?#)", re.IGNORECASE)


def read(root: Path, papers: str) -> tuple[dict[str, str], list[CardError]]:
    """Choose the files in the folder of the cards that may be shown.

    Args:
        root: The folder of the project.
        papers: The folder of the cards, from there.

    Returns:
        The chosen files by their path in the site, and what is wrong with those that are refused.
    """
    chosen: dict[str, str] = {}
    found, faults = files.below(root, papers, CardError, lambda path: _suffix(path) in SUFFIXES)
    for path, file in found.items():
        try:
            problem = _alive(files.read(root, file, CardError, papers) or b"") if _suffix(path) == ".svg" else ""
        except CardError as error:
            faults.append(error)
            continue
        if problem:
            hint = "a picture is shown only if nothing in it can run or be fetched: save it as plain SVG, or as PNG"
            faults.append(CardError(Place(file, 0), f"this picture {problem}", hint))
            continue
        chosen[f"papers/{path}"] = file
    return chosen, faults


def sizes(root: Path, papers: str, pictures: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """Read how large pictures are, so that a page keeps their place free until they are there.

    Args:
        root: The folder of the project.
        papers: The folder, from there, that a link may not leave.
        pictures: Files from there, by their path in the site.

    Returns:
        Width and height in pixels, by path; a picture that does not say so at its beginning is left out.
    """
    found: dict[str, tuple[int, int]] = {}
    for path, file in pictures.items():
        if _suffix(path) in PICTURES:
            try:
                head = files.read(root, file, CardError, papers, most=_HEAD) or b""
            except CardError:
                continue  # it is reported where it is chosen
            if shape := size(head):
                found[path] = shape
    return found


def size(head: bytes) -> tuple[int, int] | None:
    """Return the width and the height in pixels that the beginning of a picture states; None if it states none."""
    try:
        if head.startswith(b"\x89PNG\r\n\x1a\n"):
            width, height = struct.unpack(">II", head[16:24])
        elif head.startswith((b"GIF87a", b"GIF89a")):
            width, height = struct.unpack("<HH", head[6:10])
        elif head.startswith(b"\xff\xd8"):
            width, height = _of_jpeg(head)
        elif head.startswith(b"RIFF") and head[8:12] == b"WEBP":
            width, height = _of_webp(head)
        else:
            width, height = _of_svg(head)
    except (struct.error, ValueError, OverflowError):
        return None
    return (width, height) if 0 < width <= _LARGEST and 0 < height <= _LARGEST else None


def _of_jpeg(head: bytes) -> tuple[int, int]:
    """Read the segment that begins a frame; those before it are stepped over."""
    at = 2
    while True:
        marker, length = struct.unpack(">HH", head[at : at + 4])
        # C4, C8 and CC are among the frames' numbers, and begin none.
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return width, height
        if marker >> 8 != 0xFF or length < 2:
            raise ValueError
        at += 2 + length


def _of_webp(head: bytes) -> tuple[int, int]:
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack("<I", head[21:25])
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", head[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _of_svg(head: bytes) -> tuple[int, int]:
    """Read the attributes of the outermost element; `viewBox` stands in for what is missing, or a share of the page."""
    found: dict[str, str] = {}
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.EntityDeclHandler = _refuse
    parser.StartElementHandler = lambda name, attributes: found or found.update({"": name, **attributes})
    with contextlib.suppress(expat.ExpatError):  # what counts stands at the beginning
        parser.Parse(head, False)
    sides = [_pixels(found.get(name, "")) for name in ("width", "height")]
    box = [float(side) for side in re.split(r"[\s,]+", found.get("viewBox", "").strip())[2:4] if side]
    width, height = (side or other for side, other in zip(sides, box or (0.0, 0.0), strict=True))
    return round(width), round(height)


def _refuse(*_: object) -> None:
    """Stop at a declared entity, which could stand for a text of any length."""
    raise ValueError


def _pixels(length: str) -> float:
    """Return a length of SVG in pixels; zero for one that depends on the page."""
    found = re.fullmatch(r"\s*([\d.]+)\s*(px|pt|pc|in|cm|mm)?\s*", length)
    return float(found[1]) * _UNITS[found[2] or "px"] if found else 0.0


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _alive(svg: bytes) -> str:
    """Return what in an SVG file could run or fetch something in a browser; empty if nothing could."""
    inspection = _Inspection()
    try:
        inspection.parser.Parse(svg, True)
    except expat.ExpatError as error:
        return inspection.found or f"is not SVG: {error}"
    return inspection.found


class _Inspection:
    """Inspects an SVG file while it is parsed; `found` is the first thing that could run or fetch something."""

    def __init__(self) -> None:
        self.found = ""
        self._depth = 0
        self._styles: list[str] | None = None
        self.parser = parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._doctype
        parser.ProcessingInstructionHandler = lambda target, data: self._find(f"holds the instruction <?{target}?>")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text

    def _find(self, problem: str) -> None:
        self.found = self.found or problem

    def _doctype(self, name: str, system: str | None, public: str | None, has_declarations: bool) -> None:
        if has_declarations:
            self._find("declares entities")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        space, _, local = name.rpartition(" ")
        local = local.lower()
        self._depth += 1
        if space == _HTML and self._depth > 1:
            self._find(f"holds <{local}>")
        elif self._depth == 1 and (space, local) != (_SVG, "svg"):
            self._find(f"is not SVG: its outermost element is <{local}>")
        elif space == _SVG and local not in _DRAWN and not local.startswith("fe"):
            self._find(f"holds <{local}>")
        if local == "style" and self._styles is None:
            self._styles = []
        elif local == "style":
            self._find("holds a style inside a style")
        for attribute, value in attributes.items():
            self._attribute(local, attribute.rpartition(" ")[2].lower(), value)

    def _attribute(self, element: str, name: str, value: str) -> None:
        shown = " ".join(value.split())[:60]
        if name.startswith("on"):
            self._find(f"holds a script in `{name}`")
        elif name in {"href", "src"}:
            if element == "a" and not re.match(r"https?://|#", value.strip()):
                self._find(f"links to `{shown}`")
            elif element != "a" and not _INERT.match(value.strip()):
                self._find(f"fetches `{shown}`")
        elif _FETCHES.search(value) or ("\\" in value and (name == "style" or "(" in value)):
            self._find("fetches something by its style")

    def _text(self, text: str) -> None:
        if self._styles is not None:
            self._styles.append(text)

    def _end(self, name: str) -> None:
        self._depth -= 1
        if self._styles is not None and name.rpartition(" ")[2].lower() == "style":
            style, self._styles = "".join(self._styles), None
            # CSS writes any letter by its number, too.
            if _FETCHES.search(style) or "\\" in style:
                self._find("fetches something by its style")
