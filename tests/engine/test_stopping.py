"""Ctrl-C at a terminal: each verb says that it has stopped, ends with 130, and leaves the files as they were."""

import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.conftest import Base
from tests.engine.test_add import BIB, SEVERAL, THERE, Typist
from tests.engine.test_verify import PATHS

CTRL_C, CTRL_D = "\x03", "\x04"
PROMPTS = [
    (("add", "more.bib"), "Make a card for each of 4 entries? [y/N]: "),
    (("add", "more.bib", "--card"), "capitals: all [s]: "),
]


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def files(base: Base) -> dict[str, bytes]:
    return {path: data for path, (data, _) in base.files().items() if not path.startswith(".quaere/")}


@pytest.mark.parametrize("keys", [CTRL_C, CTRL_D])
@pytest.mark.parametrize(("arguments", "asked"), PROMPTS)
def test_who_leaves_a_prompt_has_changed_nothing(base: Base, arguments: tuple[str, ...], asked: str, keys: str) -> None:
    base.write({BIB: THERE, "more.bib": SEVERAL})
    before = files(base)
    typist = Typist(base, *arguments)
    typist.sees(asked)
    typist.types(keys)
    while not typist.is_answered(3):
        typist.types(keys)  # a signal just before somebody is asked is seen with the next key
    left = typist.leaves()
    assert files(base) == before
    assert "Traceback" not in typist.screen
    # Ctrl-D is no signal.
    assert (left, typist.screen.endswith("\nstopped\n" if keys == CTRL_C else "Aborted!\n")) == (
        130 if keys == CTRL_C else 1,
        True,
    )


@pytest.mark.parametrize("verb", ["verify", "build"])
def test_an_answer_that_runs_is_stopped(base: Base, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.setenv("PYTHONPATH", PATHS["PYTHONPATH"])
    code = '>>> open("begun", "w").close()\n        >>> import time; time.sleep(1000)'
    base.write({"reference_impl/toy.py": f'def f():\n    """Do.\n\n    Answers: toy.why\n        {code}\n    """\n'})
    base.write({"papers/toy.yml": (base.root / "papers/toy.yml").read_text().replace("implementation: null\n", "")})
    before = files(base)
    typist = Typist(base, verb)
    until((base.root / "begun").exists)
    typist.types(CTRL_C)
    assert (typist.leaves(), typist.screen.endswith("\nstopped\n")) == (130, True), typist.screen
    assert {name: data for name, data in files(base).items() if name != "begun"} == before


def test_a_service_that_does_not_answer_is_not_waited_for(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    base.write({"note.md": "# A Paper on Tin\n\nhttps://arxiv.org/abs/2101.00001\n\nWords.\n"})
    before = files(base)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        monkeypatch.setenv("QUAERE_ARXIV", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        typist = Typist(base, "import", "note.md", "--lookup")
        with silent.accept()[0]:
            typist.types(CTRL_C)
            assert (typist.leaves(), typist.screen.endswith("\nstopped\n")) == (130, True), typist.screen
    assert files(base) == before


EDITOR = """\
import pathlib, signal, sys, time
pressed = []
signal.signal(signal.SIGINT, lambda *_: pressed.append(1))
pathlib.Path("begun").touch()
while not pressed:
    time.sleep(0.02)
pathlib.Path(sys.argv[1]).write_text("It is *tin*.")
"""


def test_an_editor_has_ctrl_c_for_itself(base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "editor.py").write_text(EDITOR)
    monkeypatch.setenv("VISUAL", f"{sys.executable} {tmp_path / 'editor.py'}")
    typist = Typist(base, "answer", "toy.why")
    until((base.root / "begun").exists)
    typist.types(CTRL_C)
    assert typist.leaves() == 0, typist.screen
    assert base.library().questions["toy.why"].question.answer == "It is *tin*."
