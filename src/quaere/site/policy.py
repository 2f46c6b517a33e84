"""The Content-Security-Policy of each page: what a page may run and fetch, whatever its content.

A static site sends no headers, so the policy stands in the page, before anything that it speaks of.
"""

from __future__ import annotations

import base64
import hashlib
import re

STYLES = "Qz0STYLESz"
"""Stands in a shell's policy where `styles` goes."""

_SCRIPT = re.compile(r"<script(?P<attributes>[^>]*)>(?P<code>.*?)</script>", re.DOTALL | re.IGNORECASE)
_DATA = re.compile(r"""(?<![\w-])src=|\btype=["']?application/(?:ld\+)?json""", re.IGNORECASE)
_ENCODING = re.compile(r"""<meta charset=["']?utf-8["']?\s*/?>""", re.IGNORECASE)
_HEAD = re.compile(r"<head>", re.IGNORECASE)
# Only Mermaid writes styles into what it draws.
_DIAGRAM = ' class="diagram"'


def styles(body: str, sheet: str) -> str:
    """Return what a page's policy adds for style sheets in it: those inside diagrams, or `sheet`, if there is one."""
    if _DIAGRAM in body:
        return " 'unsafe-inline'"  # a hash beside it would take it back
    return f" {_hash(sheet)}" if sheet else ""


def put(page: str, theme: str, inline_styles: str, *, is_served: bool) -> str:
    """Put a policy into a page.

    Args:
        page: The whole page.
        theme: The page without its body. The scripts in it are the theme's, and run; others stand for nothing.
        inline_styles: What `styles` returns for the body.
        is_served: Whether the page is for live reload, whose script changes with each build: then the policy does not
            speak of scripts.
    """
    scripts = (found["code"] for found in _SCRIPT.finditer(theme) if not _DATA.search(found["attributes"]))
    hashes = dict.fromkeys(map(_hash, scripts))
    directives = {
        "default-src": "'self'",
        "script-src": " ".join(["'self'", *hashes]),
        "style-src": f"'self'{inline_styles}",
        "img-src": "'self' data:",
        "font-src": "'self'",
        "connect-src": "'self'",
        "media-src": "'self'",
        "worker-src": "'self'",
        "frame-src": "'none'",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
    }
    if is_served:
        del directives["default-src"], directives["script-src"]
    content = "; ".join(f"{name} {sources}" for name, sources in directives.items())
    meta = f'<meta http-equiv="Content-Security-Policy" content="{content}">'
    after = _ENCODING.search(page) or _HEAD.search(page)
    at = after.end() if after else 0
    return f"{page[:at]}\n      {meta}{page[at:]}"


def _hash(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
