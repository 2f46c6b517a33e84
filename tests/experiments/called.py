"""Call the command, or run the cells of a notebook, in whatever process this runs, and see what a run has kept."""

import contextlib
import io
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from quaere import cli
from quaere.project import Project
from tests.own import FAULTS, LIBRARY, ROOT


def read_once(project: Project, **_: Any) -> Any:
    """Return the library as it was when this module was imported."""
    assert project.root == ROOT
    return LIBRARY, FAULTS


def shown_by(cells: Sequence[str]) -> str:
    """Run the cells of a notebook one after another, as a kernel does; return what the last two show."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    shell = InteractiveShell.instance()
    shown = []
    for cell in cells:
        with capture_output() as captured:
            ran = shell.run_cell(cell)
        ran.raise_error()
        shown.append(captured.stdout + "".join(str(output.data) for output in captured.outputs))
    return "".join(shown[-2:])


def kept(folder: Path, since: int) -> dict[str, int]:
    """Return the pieces that lie in a run's folder, with when they were written, if they were since then."""
    found = {}
    # The folder of the run before may be set aside at this moment.
    with contextlib.suppress(FileNotFoundError):
        for file in folder.glob("*.json"):
            found[file.name] = file.stat().st_mtime_ns
    return {name: at for name, at in found.items() if at > since}


def shown_and_called(cells: Sequence[str], arguments: Sequence[str], folder: Path) -> tuple[str, dict[str, int], str]:
    """Run the cells of a notebook, then the command; return what was shown, what was kept between, what was printed.

    In one process, a figure that both show is drawn once.
    """
    started = time.time_ns()
    shown = shown_by(cells)
    between = kept(folder, since=started)
    code, printed = called(arguments)
    assert code == 0, printed
    return shown, between, printed


def called(arguments: Sequence[str]) -> tuple[int, str]:
    """Return the exit code, and what was printed."""
    printed = io.StringIO()
    sys.argv = ["quaere", *arguments]
    code: object = 0
    with contextlib.redirect_stdout(printed), patch.object(Project, "read", read_once):
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code or 0
    return (code if isinstance(code, int) else 1), printed.getvalue()
