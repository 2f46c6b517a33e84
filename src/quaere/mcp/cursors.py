"""Cursors: where the next part of a reply begins, as a text that means nothing to whoever passes it on.

A cursor holds all that it stands for, so it outlives the process that gave it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import Any

_CHECK = 6


class CursorError(Exception):
    """A cursor that can't be followed, and what to do."""


def write(call: object, seen: object, place: Any) -> str:
    """Return a cursor.

    Args:
        call: The tool and its arguments, as JSON can hold them.
        seen: What the place is in; if this has changed, the cursor is no more good.
        place: Where the next part begins, as JSON can hold it.
    """
    data = json.dumps([_digest(call), _digest(seen), place]).encode()
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()[:_CHECK] + data).decode().rstrip("=")


def read(cursor: str, call: object, seen: object) -> Any:
    """Return the place that a cursor holds.

    Raises:
        CursorError: It is not as it was given, belongs to another call, or what the place was in has changed.
    """
    try:
        told = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        told = b""
    check, data = told[:_CHECK], told[_CHECK:]
    if not data or hashlib.sha256(data).digest()[:_CHECK] != check:
        raise CursorError("this is no cursor: pass on the `next_cursor` of a reply as it is, or begin without one")
    called, known, place = json.loads(data)
    if called != _digest(call):
        raise CursorError("this cursor is of another call: repeat the arguments of the call that it came from")
    if known != _digest(seen):
        raise CursorError("the library has changed since this cursor was given: begin again without it")
    return place


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:12]
