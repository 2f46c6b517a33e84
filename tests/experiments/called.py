"""Call the command, in whatever process this runs."""

import contextlib
import io
import sys
from collections.abc import Sequence

from quaere import cli


def called(arguments: Sequence[str]) -> tuple[int, str]:
    """Return the exit code, and what was printed."""
    printed = io.StringIO()
    sys.argv = ["quaere", *arguments]
    code: object = 0
    with contextlib.redirect_stdout(printed):
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code or 0
    return (code if isinstance(code, int) else 1), printed.getvalue()
