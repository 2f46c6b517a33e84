"""A process that has imported all of quaere, and forks a copy of itself for each call of the command.

A start of Python with these imports takes half a second of a processor, a copy a tenth of it; and yet each call has
its own streams, signals and modules. `Forks` is used by tests; this file itself is what the process runs.
"""

import atexit
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import traceback
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

SECONDS = 60
MAIN = "from quaere.cli import main; main()"


class Forks:
    """Calls Python in copies of one process, as `subprocess.run([sys.executable, "-c", code, *arguments])` does."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        weakref.finalize(self, self._process.communicate)

    def run(
        self, code: str, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> "subprocess.CompletedProcess[str]":
        assert self._process.stdin
        assert self._process.stdout
        with tempfile.TemporaryDirectory() as scratch:
            files = [f"{scratch}/{name}" for name in ("out", "err")]
            print(json.dumps([code, arguments, str(folder), dict(environment), files]), file=self._process.stdin)
            self._process.stdin.flush()
            ended = json.loads(self._process.stdout.readline())
            out, err = (Path(file).read_text(encoding="utf-8") for file in files)
        return subprocess.CompletedProcess(["-c", *arguments], ended, out, err)


def prepare(arguments: list[str], folder: str, environment: dict[str, str], files: list[str]) -> None:
    """Make this copy what a process is that begins with these."""
    signal.alarm(SECONDS)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, file in enumerate(["/dev/null", *files]):
        opened = os.open(file, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, number)
        os.close(opened)
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    sys.stdout.reconfigure(encoding=encoding, errors="strict", line_buffering=False)  # type: ignore[union-attr]
    sys.stderr.reconfigure(encoding=encoding, errors="backslashreplace")  # type: ignore[union-attr]
    sys.path[:0] = ["", *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = ["-c", *arguments]


def serve() -> str:
    """Answer one call after another. In each copy, return the code that it is to run."""
    for line in sys.stdin:
        code, *rest = json.loads(line)
        if not (pid := os.fork()):
            prepare(*rest)
            return str(code)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    os._exit(0)


def import_all() -> None:
    """Import what the verbs import when they are called."""
    import quaere

    for module in pkgutil.walk_packages(quaere.__path__, "quaere."):
        # What talks to language models is called by itself, and begins with what takes long.
        if not module.name.startswith(("quaere.mcp", "quaere.__main__")):
            importlib.import_module(module.name)
    for name in ("mkdocs.commands.build", "material.plugins.search.plugin", "rich.markdown"):
        importlib.import_module(name)


def run(code: str) -> int:
    """Run code to its end, and return the exit code. To take all modules down as well would take four times as long."""
    ended: object = None
    try:
        exec(code, {"__name__": "__main__"})
    except SystemExit as end:
        ended = end.code
    except BaseException:
        traceback.print_exc()
        ended = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return ended if isinstance(ended, int) else int(ended is not None)


if __name__ == "__main__":
    sys.path.pop(0)
    import_all()
    os._exit(run(serve()))
