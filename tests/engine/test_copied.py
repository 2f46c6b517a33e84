"""What readers copy of this library's own answers runs as it is, in a file, in Python's shell and in a notebook.

There is one process for a module and form, and `make test-all` alone runs them: what is special in a doctest is copied
in tests/engine/test_scripts.py, and an answer of this library from its card in tests/site/test_use.py.
"""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from quaere.pages import notebook, render, scripts
from tests.own import LIBRARY, ROOT

SCRIPTS: dict[str, list[tuple[str, str]]] = {}
for answer in LIBRARY.answers:
    SCRIPTS.setdefault(answer.module.partition(".")[2], []).append((answer.id, scripts.script(answer.code)))
ENVIRONMENT = {**os.environ, **LIBRARY.settings.environment, "PYTHONPATH": str(ROOT)}
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("module", SCRIPTS)
def test_in_a_file(module: str, tmp_path: Path) -> None:
    for id, script in SCRIPTS[module]:
        (tmp_path / f"{id}.py").write_text(script, encoding="utf-8")
    run = "import runpy, sys\nfor path in sys.argv[1:]: print(path); runpy.run_path(path, run_name='__main__')"
    files = [f"{id}.py" for id, _ in SCRIPTS[module]]
    done = subprocess.run(
        [sys.executable, "-c", run, *files], cwd=tmp_path, env=ENVIRONMENT, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


@pytest.mark.parametrize("module", SCRIPTS)
def test_in_the_shell(module: str, tmp_path: Path) -> None:
    text = "".join(script for _, script in SCRIPTS[module])
    done = subprocess.run(
        [sys.executable, "-i", "-q"],
        cwd=tmp_path, env=ENVIRONMENT, input=text, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    assert "SyntaxError" not in done.stderr, done.stderr[-3000:]
    assert "IndentationError" not in done.stderr, done.stderr[-3000:]


@pytest.mark.parametrize("slug", [slug for slug, paper in LIBRARY.papers.items() if LIBRARY.module_of(paper)])
def test_in_a_notebook(slug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    view = render.view(LIBRARY, {})
    books = {output.path: output for output in notebook.outputs(view)}
    book = books.get(notebook.path(LIBRARY.papers[slug]))
    if book is None:
        assert not notebook.has_code(view, LIBRARY.papers[slug])
        return
    read = nbformat.reads(book.data(view), as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(read, resources={"metadata": {"path": str(ROOT)}}).execute()
