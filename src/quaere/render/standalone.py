"""A folder of plain Markdown, from which site generators that run no plugin build the same pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml


def standalone(pages: Mapping[str, str | bytes]) -> dict[str, str | bytes]:
    """Later."""
    return dict(pages)
