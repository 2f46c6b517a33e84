"""The way in for Python programs: what it tells, what it raises, and when it reads."""

import datetime
import doctest
import os
import subprocess
import sys
from pathlib import Path

import pytest

import quaere
from quaere import Project, State, api
from quaere.authoring import changes
from quaere.authoring.init import begin
from quaere.content import located_yaml
from quaere.content.model import Verdict
from tests.engine.conftest import SOUND, Base

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/guide"

CODE = '"""Toy.\n\nAnswers: toy.why\n    Because.\n\n    >>> 1 + 1\n    2\n"""\n'


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The library that `quaere init` makes, as the current folder."""
    changes.apply(tmp_path, begin(tmp_path, datetime.date(2026, 11, 27)).changes)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_examples_of_the_guide_and_of_the_module_hold(own: Path) -> None:
    page = (GUIDE / "python.md").read_text(encoding="utf-8").replace("```\n", "\n")
    tests = [doctest.DocTestParser().get_doctest(page, {}, "python.md", "python.md", 0)]
    tests += doctest.DocTestFinder().find(api, globs={"project": Project.open(own), "State": State})
    shown: list[str] = []
    runner = doctest.DocTestRunner()
    results = [runner.run(test, out=shown.append) for test in tests]
    assert not shown, "".join(shown)
    assert sum(result.attempted for result in results) > 20
    public = {name for name in vars(Project) if not name.startswith("_")} - {"open", "root"}
    assert {test.name.rpartition(".")[2] for test in tests if test.examples} >= public


def test_a_question_tells_of_its_answers_and_of_their_last_run(base: Base) -> None:
    base.write({"reference_impl/toy.py": CODE})
    project = Project.open(base.root / "papers")
    why, how = project.questions.values()
    assert (project.root, why.paper.slug, why.paper.questions) == (base.root, "toy", (why, how))
    assert (why.state, why.answer, why.code, why.ran) == (State.UNVERIFIED, "Because.", ">>> 1 + 1\n2", None)
    assert (why.file, why.line) == ("reference_impl/toy.py", 3)
    assert (how.state, how.answer, how.code, how.file, how.line) == (
        *(State.ANSWERED, "By hand.", None),
        *("papers/toy.yml", 6),
    )
    assert [one.id for one in project.verify()] == ["toy.why"]
    assert why.state is State.UNVERIFIED, "what was taken before stays"
    again = project.questions["toy.why"]
    assert again.state is State.DEMONSTRATED
    assert isinstance(again.ran, Verdict)
    assert not again.ran.failure
    assert project.states == {**dict.fromkeys(State, 0), State.DEMONSTRATED: 1, State.ANSWERED: 1}
    assert project.verify() == ()
    assert [one.id for one in project.verify("toy")] == ["toy.why"]


def test_a_question_has_all_its_answers_each_with_who_gave_it_and_its_run(base: Base) -> None:
    answers = "{text: By eye., by: Ann, answered: 2026-02-01}, {code: toy.counted, by: Ben}"
    base.write(
        {
            "papers/toy.yml": SOUND["papers/toy.yml"].replace(
                "ask: Why?, asked: 2026-01-31", f"ask: Why?, asked: 2026-01-31, by: Eve, answers: [{answers}]"
            ),
            "reference_impl/toy.py": CODE,
            "reference_impl/more.py": CODE.replace("toy.why", "toy.counted").replace("    2\n", "    3\n"),
        }
    )
    project = Project.open(base.root)
    project.verify()
    why = project.questions["toy.why"]
    assert (why.by, why.state) == ("Eve", State.BROKEN)
    told = [(one.text, one.by, one.answered, one.code, one.file, one.ran and one.ran.passed) for one in why.answers]
    assert told == [
        ("Because.", "", None, ">>> 1 + 1\n2", "reference_impl/toy.py", True),
        ("By eye.", "Ann", datetime.date(2026, 2, 1), None, "", None),
        ("Because.", "Ben", None, ">>> 1 + 1\n3", "reference_impl/more.py", False),
    ]
    assert why.ran == why.answers[0].ran


def test_former_names_lead_on_and_unknown_ones_are_told(base: Base) -> None:
    base.write({"papers/toy.yml": SOUND["papers/toy.yml"] + "formerly: [doll]\n"})
    project = Project.open(base.root)
    assert project.paper("doll").slug == "toy"
    assert project.question("doll.why").id == "toy.why"
    for call, message in (
        (lambda: project.paper("tyo"), "there is no paper `tyo`; did you mean `toy`?"),
        (lambda: project.question("toy.wy"), "there is no question `toy.wy`; did you mean `toy.why` or `toy.how`?"),
        (lambda: project.export("bibtx"), "there is no format `bibtx`; did you mean `bibtex`?"),
        (lambda: project.export(papers=["tyo"]), "there is no paper `tyo`; did you mean `toy`?"),
        (lambda: project.verify("tyo"), "there is no paper `tyo`; did you mean `toy`?"),
    ):
        with pytest.raises(LookupError) as caught:
            call()
        assert str(caught.value) == message


def test_what_is_at_fault_is_left_out_and_told(base: Base) -> None:
    base.write({"papers/wrong.yml": "cite: toy2020\nidea: 7\n", "docs/index.md": "[[nowhere]]\n"})
    project = Project.open(base.root)
    assert list(project.papers) == ["toy"]
    assert [(fault.place.file, fault.place.line) for fault in project.faults] == [("papers/wrong.yml", 2)]
    assert {fault.place.file for fault in project.check()} == {"papers/wrong.yml", "docs/index.md"}


def test_a_folder_that_is_not_there_is_not_looked_for_above(base: Base) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        Project.open(base.root / "no")
    with pytest.raises(quaere.AuthorError, match="no knowledge base here"):
        Project.open(base.root.parent)


def test_files_are_read_when_asked_for_and_again_only_if_they_have_changed(base: Base) -> None:
    project = Project.open(base.root)
    base.write({"papers/toy.yml": SOUND["papers/toy.yml"].replace("A sound", "A first")})
    paper = project.papers["toy"]
    assert paper.idea == "A first idea."
    assert not project.refresh()
    assert project.papers["toy"] is paper
    base.write({"papers/toy.yml": SOUND["papers/toy.yml"].replace("A sound", "A later")})
    assert project.papers["toy"] is paper
    assert (project.refresh(), project.refresh()) == (True, False)
    assert (paper.idea, project.papers["toy"].idea) == ("A first idea.", "A later idea.")
    base.write({"pyproject.toml": "[tool.quaere]\npapers = 7\n"})
    for _ in range(2):
        with pytest.raises(quaere.Faults, match="expected text"):
            project.refresh()
    base.write({"pyproject.toml": "[tool.quaere]\npapers = 'cards'\n", "cards/doll.yml": SOUND["papers/toy.yml"]})
    assert project.refresh()
    assert list(project.papers) == ["doll"]


def test_after_a_change_only_what_has_changed_is_parsed_again(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    base.write({"papers/other.yml": SOUND["papers/toy.yml"]})
    parsed: list[str] = []
    parse = located_yaml.read

    def noted(data: bytes, file: str) -> located_yaml.Document:
        parsed.append(file)
        return parse(data, file)

    monkeypatch.setattr(located_yaml, "read", noted)
    project = Project.open(base.root)
    assert list(project.papers) == ["other", "toy"]
    base.write({"papers/other.yml": SOUND["papers/toy.yml"].replace("sound", "later")})
    assert project.refresh()
    assert [paper.idea for paper in project.papers.values()] == ["A later idea.", "A sound idea."]
    assert parsed == ["papers/other.yml", "papers/toy.yml", "papers/other.yml"]


def test_reading_writes_nothing(base: Base) -> None:
    before = base.files()
    project = Project.open(base.root)
    _ = project.papers, project.states, project.check(), project.export("csl-json"), project.rows(), project.refresh()
    assert base.files() == before


def test_importing_the_package_imports_nothing_of_it() -> None:
    script = "import sys; before = set(sys.modules); import quaere; print(*set(sys.modules) - before)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert set(ran.stdout.split()) == {"quaere"}
    with pytest.raises(AttributeError, match="no attribute 'Projekt'"):
        quaere.Projekt  # noqa: B018
    assert {type(getattr(quaere, name)) for name in quaere.__all__}
