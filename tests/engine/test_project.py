"""A knowledge base is found from any folder in it, and its settings say where its parts lie."""

import platform
from pathlib import Path

import pytest

from quaere.content.model import Verdict
from quaere.content.settings import Settings
from quaere.content.states import State
from quaere.errors import MisuseError
from quaere.project import Project
from tests.engine.conftest import SOUND, Base


def test_a_knowledge_base_is_found_from_any_folder_in_it(base: Base) -> None:
    for folder in (base.root, base.root / "papers", base.root / "reference_impl/layers/deep"):
        folder.mkdir(parents=True, exist_ok=True)
        assert Project.find(folder).root == base.root


def test_the_nearest_knowledge_base_counts(base: Base) -> None:
    base.write(
        {"inner/papers/toy.yml": "", "table/pyproject.toml": "[tool.quaere]\n", "plain/pyproject.toml": "[project]\n"}
    )
    assert Project.find(base.root / "inner/papers").root == base.root / "inner"
    assert Project.find(base.root / "table").root == base.root / "table"
    assert Project.find(base.root / "plain").root == base.root


def test_a_folder_outside_any_knowledge_base_is_a_misuse(tmp_path: Path) -> None:
    with pytest.raises(MisuseError) as caught:
        Project.find(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: no knowledge base here\n  hint: make one with `quaere init`, or name one with --project"
    )


@pytest.mark.parametrize("text", ["[tool.other]\nx = 1\n", "tool = 3\n", "this is no TOML", ""])
def test_a_pyproject_without_our_table_leaves_the_defaults(base: Base, text: str) -> None:
    base.write({"pyproject.toml": text})
    assert base.project.settings == Settings()
    assert base.report() == ""


def test_all_parts_lie_where_the_settings_say(tmp_path: Path) -> None:
    base = Base(tmp_path)
    base.write(
        {
            "pyproject.toml": """
[tool.quaere]
papers = "cards"
bibliography = "all.bib"
implementation = "code"
tests = "checks/papers"
docs = "site/pages"
evidence = "kept/verdicts.json"
tags = ["scale"]
versions = ["pytest"]
timeout = 5
environment = {SEED = "1"}
""",
            "cards/toy.yml": "cite: toy2020\nidea: Sound.\ntags: [scale]\n"
            "departures:\n  - {of: implementation, from: X, where: y, what: z, test: test_z}\n"
            "questions: [{id: why, ask: Why?, asked: 2026-01-31}]\n",
            "all.bib": SOUND["papers/references.bib"],
            "code/__init__.py": "",
            "code/toy.py": '"""Toy.\n\nAnswers: toy.why\n    >>> import os; print(os.environ["SEED"])\n    1\n"""\n',
            "checks/papers/test_toy.py": "def test_z():\n    pass\n",
            "site/pages/index.md": "See [[toy.why]].\n",
        }
    )
    library = base.library()
    project = base.project
    assert list(library.docs) == ["index.md"]
    assert [verdict.failure for _, verdict, _ in project.verify(library, library.answers)] == [""]
    assert (base.root / "kept/verdicts.json").exists()
    assert project.versions == {"python": platform.python_version(), "pytest": pytest.__version__}
    assert base.project.stale(library) == []


def test_reading_does_not_stop_at_what_can_not_be_read(base: Base) -> None:
    base.write({"papers/wrong.yml": "idea: 7\n"})
    library, faults = base.project.read()
    assert list(library.papers) == ["toy"]
    assert library.unsound == {"wrong"}
    assert len(faults) == 2


ROW = {
    "paper": str,
    "id": str,
    "ask": str,
    "state": str,
    "asked": str,
    "answer": str,
    "module": str,
    "line": int,
    "verified_at": str,
    "pytest": str,
    "seconds": float,
}


def test_a_row_tells_all_of_a_question_by_stable_names_and_types(base: Base) -> None:
    answers = "".join(
        f"Answers: toy.{id}\n    In code.\n\n    >>> {1}\n    1\n\n" for id in ("code", "broken", "stale", "why")
    )
    questions = "".join(f"  - {{id: {id}, ask: Why?, asked: 2026-01-31}}\n" for id in ("code", "broken", "stale"))
    base.write(
        {
            "pyproject.toml": "[tool.quaere]\nversions = ['pytest']\n",
            "papers/toy.yml": SOUND["papers/toy.yml"] + questions + "  - {id: open, ask: Why?, asked: 2026-01-31}\n",
            "reference_impl/toy.py": f'"""Toy.\n\n{answers}"""\n',
        }
    )
    project = base.project
    library = base.library()
    keys = {answer.id: answer.key for answer in library.answers}

    def verdict(id: str, *, passed: bool, key: str = "") -> Verdict:
        versions = {"python": "3.11", "pytest": "9"}
        return Verdict(key or keys[id], passed, "", "abc", versions, "2026-01-31T00:00:00+00:00", 0.5)

    project.evidence.verdicts = {
        "toy.code": verdict("toy.code", passed=True),
        "toy.broken": verdict("toy.broken", passed=False),
        "toy.stale": verdict("toy.stale", passed=True, key="old"),
    }
    rows = {str(row["id"]): row for row in project.rows(library)}
    assert {id: row["state"] for id, row in rows.items()} == {
        "why": State.UNVERIFIED,
        "how": State.ANSWERED,
        "code": State.DEMONSTRATED,
        "broken": State.BROKEN,
        "stale": State.UNVERIFIED,
        "open": State.OPEN,
    }
    ran = {"verified_at": "2026-01-31T00:00:00+00:00", "pytest": "9", "seconds": 0.5}
    not_run = dict.fromkeys(ran)
    place = {"module": "reference_impl.toy", "line": 3}
    asked = {"paper": "toy", "ask": "Why?", "asked": "2026-01-31"}
    assert rows["code"] == {**asked, "id": "code", "state": "demonstrated", "answer": "In code.", **place, **ran}
    assert {name: type(value) for name, value in rows["code"].items()} == ROW
    assert list(rows["code"]) == list(ROW)
    assert {**rows["broken"]} == {**rows["code"], "id": "broken", "state": "broken", "line": 9}
    assert rows["stale"] == {**rows["code"], "id": "stale", "state": "unverified", "line": 15, **not_run}
    nothing = {"module": None, "line": None, **not_run}
    assert rows["open"] == {**asked, "id": "open", "state": "open", "answer": None, **nothing}
    assert rows["how"] == {**asked, "ask": "How?", "id": "how", "state": "answered", "answer": "By hand.", **nothing}
