"""Which of the files in a folder are its own. A link out of it could show what was never meant to be shown."""

from __future__ import annotations

import os
from pathlib import Path

ELSEWHERE = "this is a link to a file elsewhere", "put the file itself here: links out of a folder are not followed"
"""The problem and the hint, for what must not be passed over in silence."""


def is_own(path: Path, folder: Path) -> bool:
    """Say whether a path below a folder stays there once the links on its way are followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
