"""The verbs that change files, through the command itself: at once with others, and killed at every write."""

import os
import shutil
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import typer

from quaere import cli
from quaere.authoring import changes
from quaere.errors import WriteError
from tests.engine.conftest import Base
from tests.engine.test_authoring import NAMED
from tests.engine.test_kills import debris, kills

FILES: dict[str, str | bytes] = {
    **NAMED,
    "papers/one.yml": "cite: toy2020\nidea: One.\nimplementation: null\n"
    "questions:\n- {id: begun, ask: Begun?, asked: 2026-01-01}\n",
    "papers/other.yml": "cite: toy2020\nimplementation: null\ntags: [merged]\n",
    "papers/spare.yml": "cite: toy2020\nidea: Nobody names it.\nimplementation: null\n",
    "papers/spare/string.svg": '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "notes/new.md": "# A paper on marionettes\n\nA note with ![a string](string.png).\n\n- [ ] Q: Who pulls?\n",
    "papers/blank.yml": "cite: toy2020  \nidea: Blanks.\nimplementation: null \n",
    "more.bib": "@misc{more2021,\n  title = {More},\n  author = {Maker, Bo},\n  year = {2021},\n}\n",
    "notes/string.png": b"\x89PNG\r\n\x1a\n\xff",
}
VERBS: Mapping[str, list[list[str]]] = {
    "ask": [["toy", "Is it the first?"], ["toy", "Is it the second?"], ["one", "And here?"]],
    "answer": [["toy.why", "In prose.", "--force"], ["one.begun", "--code"]],
    "quote": [["doll", "Played once.", "--page", "3"], ["toy", "A toy\nis played.", "--page", "4–5", "--private"]],
    "topic": [["What is play?", "--slug", "play"]],
    "tag": [["toy", "a"], ["toy", "b", "c"]],
    "read": [["doll", "reading", "--through", "Section 2"]],
    "rename": [["toy", "puppet"], ["toy.how", "by-what"]],
    "merge": [["one", "other"]],
    "remove": [["spare"]],
    "import": [["notes"]],
    "init": [["."]],
    "schema": [[]],
    "add": [["more.bib", "--card"]],
    "check": [["--fix"]],
    "migrate": [[]],
}
"""Each verb that changes files, with the arguments of some calls that can be made in any order."""


def writing_verbs() -> set[str]:
    """Return the verbs that change an author's files: those that can show their changes without making them."""
    commands = typer.main.get_group(cli.app).commands
    return {name for name, one in commands.items() if any("--dry-run" in option.opts for option in one.params)}


def call(base: Base, verb: str, arguments: list[str]) -> int:
    os.chdir(base.root)
    code = cli.app([verb, *arguments], standalone_mode=False)
    return int(code or 0)


@pytest.fixture
def toys(base: Base) -> Base:
    base.write(FILES)
    base.library()
    return base


def test_all_verbs_that_change_files_are_tried_here() -> None:
    assert writing_verbs() == VERBS.keys()


def in_copies(works: list[Callable[[], int]]) -> list[int]:
    """Do some works at once, each in a copy of this process; return their exit codes."""
    gate, go = os.pipe()
    copies = []
    for work in works:
        if not (pid := os.fork()):
            code = 99
            try:
                os.close(go)
                os.read(gate, 1)  # until all are there
                code = work()
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        copies.append(pid)
    os.close(gate)
    os.close(go)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in copies]


def test_commands_at_once_lose_nothing(toys: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toys.root)
    calls = [(verb, arguments) for verb, several in VERBS.items() for arguments in several]
    codes = in_copies([lambda verb=verb, it=it: call(toys, verb, it) for verb, it in calls])  # type: ignore[misc]
    assert codes == [0] * len(calls), list(zip(calls, codes, strict=True))
    library = toys.library()
    assert sorted(library.papers) == ["blank", "doll", "more", "new", "one", "play", "puppet"]
    assert "  \n" not in library.papers["blank"].source
    assert "more2021" in library.bibliography
    puppet, one = library.papers["puppet"].card, library.papers["one"].card
    assert {"first", "second", "by-what", "why"} == {question.id for question in puppet.questions}
    assert sorted(puppet.tags) == ["a", "b", "c"]
    assert (puppet.formerly, one.formerly, one.tags) == (("toy",), ("other",), ("merged",))
    assert library.questions["puppet.why"].question.answer == "In prose."
    assert library.questions["one.begun"].answer
    assert len(one.questions) == 2
    assert [(one.text, one.page) for one in library.papers["doll"].card.quotes] == [("Played once.", "3")]
    assert "A toy\n      is played." in (toys.root / "papers/puppet.yml").read_text()
    reading = library.papers["doll"].card.reading
    assert reading
    assert reading.through == "Section 2"
    assert debris(toys.root) == []


def texts(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".quaere" not in path.parts
    }


@pytest.mark.parametrize("verb", [pytest.param(verb, marks=[pytest.mark.slow] * (verb != "merge")) for verb in VERBS])
def test_a_kill_at_any_write_of_a_verb_leaves_before_or_after(
    toys: Base, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(toys.root)
    arguments, before = VERBS[verb][-1], texts(toys.root)
    assert in_copies([lambda: call(toys, verb, arguments)]) == [0]
    after, met = texts(toys.root), set[str]()
    assert after != before

    def restore() -> None:
        for path in toys.root.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        toys.write(before)

    restore()
    for number in kills(toys.root, lambda: call(toys, verb, arguments)):
        assert toys.project.root == toys.root  # the next command, whichever it is, completes it
        now = texts(toys.root)
        now = {name: text for name, text in now.items() if str(toys.root / name) not in debris(toys.root)}
        assert now in (before, after), number
        met.add("after" if now == after else "before")
        restore()
    assert met == {"before", "after"}
    assert texts(toys.root) == after
    assert debris(toys.root) == []


@pytest.mark.parametrize("file", ["../outside", "/tmp/outside", "link/outside"])
def test_a_journal_of_somebody_else_writes_nothing_outside(base: Base, tmp_path: Path, file: str) -> None:
    (base.root / "link").symlink_to(tmp_path)
    base.write({".quaere/changes.json": f'{{"texts": {{"{file}": "x"}}, "staged": {{}}}}'})
    with pytest.raises(WriteError, match="this is no journal of changes to this folder"):
        changes.complete(base.root)
    assert not (tmp_path / "outside").exists()
