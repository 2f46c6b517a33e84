"""Evidence is trusted or set aside, and no process takes another's verdict away."""

import json
import multiprocessing
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from quaere.content.model import Verdict
from quaere.errors import WriteError
from quaere.running.evidence import SCHEMA, Evidence
from tests.engine.conftest import Base

VERDICT = Verdict("key", True, "", "abc", {"python": "3.11"}, "2026-01-31T00:00:00+00:00", 0.5)
STORED = {
    "key": "key",
    "passed": True,
    "failure": "",
    "commit": "abc",
    "versions": {"python": "3.11"},
    "at": "2026-01-31T00:00:00+00:00",
    "seconds": 0.5,
}


def test_evidence_is_read_as_it_was_written(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path / "new/evidence.json")
    assert (evidence.verdicts, evidence.warning) == ({}, "")
    evidence.verdicts = {"toy.why": VERDICT, "toy.gone": VERDICT}
    evidence.save(["toy.why", "toy.open"])
    stored = json.loads((tmp_path / "new/evidence.json").read_text())
    assert stored == {"schema": SCHEMA, "verdicts": {"toy.why": STORED}}
    again = Evidence(tmp_path / "new/evidence.json")
    assert (again.verdicts, again.warning) == ({"toy.why": VERDICT}, "")


def evidence(**changed: object) -> str:
    verdict = {name: value for name, value in {**STORED, **changed}.items() if value != "gone"}
    return json.dumps({"schema": SCHEMA, "verdicts": {"toy.why": verdict}})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "Expecting value: line 1 column 1 (char 0)"),
        (evidence()[:-9], None),
        (b"\xff\xfe", None),
        ("[" * 200_000, None),
        ("[]", None),
        ("null", None),
        ("{}", "it has no 'schema'"),
        ('{"schema": 1}', "it has no 'verdicts'"),
        ('{"schema": 0, "verdicts": {}}', "its schema is 0, this version writes 1"),
        ('{"schema": 2, "verdicts": {}}', "its schema is 2, this version writes 1"),
        ('{"schema": 1, "verdicts": []}', None),
        ('{"schema": 1, "verdicts": {"toy.why": true}}', None),
        (evidence(key="gone"), None),
        (evidence(more="x"), None),
        (evidence(key=1), "`key` is not of type str"),
        (evidence(passed="yes"), "`passed` is not of type bool"),
        (evidence(passed=1), "`passed` is not of type bool"),
        (evidence(failure=None), "`failure` is not of type str"),
        (evidence(commit=7), "`commit` is not of type str"),
        (evidence(versions=["3.11"]), "`versions` is not of type dict"),
        (evidence(versions={"python": 3.11}), "a version is not of type str"),
        (evidence(at=0), "`at` is not of type str"),
        (evidence(seconds="fast"), "`seconds` is not of type float"),
    ],
)
def test_evidence_in_any_other_form_is_set_aside_with_a_warning(
    tmp_path: Path, content: str | bytes, reason: str | None
) -> None:
    file = tmp_path / "evidence.json"
    data = content.encode() if isinstance(content, str) else content
    file.write_bytes(data)
    found = Evidence(file)
    assert found.verdicts == {}
    told = re.escape(reason) if reason else ".+"
    pattern = rf"{file} is not trusted \({told}\); it is now evidence\.set-aside\.json, and the answers run again"
    assert re.fullmatch(pattern, found.warning), found.warning
    assert not file.exists()
    assert (tmp_path / "evidence.set-aside.json").read_bytes() == data
    assert Evidence(file).warning == ""


@pytest.mark.parametrize("where", ["os.fdopen", "pathlib.Path.replace"])
def test_evidence_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    found = Evidence(tmp_path / "evidence.json")
    found.verdicts = {"toy.why": VERDICT}
    found.save(["toy.why"])
    before = (tmp_path / "evidence.json").read_bytes()

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(where, stop)
    found.verdicts["toy.how"] = VERDICT
    with pytest.raises(KeyboardInterrupt):
        found.save(["toy.why", "toy.how"])
    monkeypatch.undo()
    assert {path.name for path in tmp_path.iterdir()} == {"evidence.json", "evidence.json.lock"}
    assert (tmp_path / "evidence.json").read_bytes() == before


# What is no file


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to a folder", "link to a device"])
def test_what_is_no_file_stays_where_it_is(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "evidence.json"
    if kind == "folder":
        (file / "deep").mkdir(parents=True)
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to("/dev/null" if kind.endswith("device") else tmp_path)
    before = file.lstat()
    found = Evidence(file)
    what = "this is not a regular file"
    assert found.warning == f"{file} is not trusted ({what}); it stays where it is ({what}), and the answers run again"
    with pytest.raises(WriteError, match=what):
        found.save(["toy.why"])
    assert file.lstat().st_ino == before.st_ino
    assert {path.name for path in tmp_path.iterdir()} == {"evidence.json", "evidence.json.lock"}


def test_a_link_that_leads_nowhere_is_no_evidence(tmp_path: Path) -> None:
    file = tmp_path / "evidence.json"
    file.symlink_to("nowhere")
    found = Evidence(file)
    assert (found.verdicts, found.warning) == ({}, "")
    found.verdicts = {"toy.why": VERDICT}
    found.save(["toy.why"])
    assert Evidence(file).verdicts == {"toy.why": VERDICT}


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("1")
    found = Evidence(tmp_path / "file" / "evidence.json")
    assert "it stays where it is (this can't be written: " in found.warning
    with pytest.raises(WriteError, match="this can't be written"):
        found.save([])
    assert (tmp_path / "file").read_text() == "1"


def test_nothing_that_was_set_aside_is_lost(tmp_path: Path) -> None:
    for text in ("first", "second", "third"):
        (tmp_path / "evidence.json").write_text(text)
        Evidence(tmp_path / "evidence.json")
    names = ("evidence.set-aside.json", "evidence.set-aside-2.json", "evidence.set-aside-3.json")
    assert [(tmp_path / name).read_text() for name in names] == ["first", "second", "third"]


# Several processes


def test_verdicts_of_others_are_kept_and_those_on_answers_that_are_gone_are_not(tmp_path: Path) -> None:
    file = tmp_path / "evidence.json"
    first, second = Evidence(file), Evidence(file)
    first.verdicts = {"toy.why": VERDICT, "toy.gone": VERDICT}
    first.save(["toy.why", "toy.gone"])
    second.verdicts = {"toy.how": VERDICT}
    second.save(["toy.why", "toy.how"])
    assert set(Evidence(file).verdicts) == {"toy.why", "toy.how"}
    assert set(second.verdicts) >= {"toy.why", "toy.how"}
    first.save(["toy.why", "toy.how"])
    assert set(Evidence(file).verdicts) == {"toy.why", "toy.how"}


@pytest.mark.parametrize(("own", "other", "stays"), [("01", "02", "other"), ("02", "01", "own"), ("01", "01", "own")])
def test_of_two_verdicts_the_later_one_stays(tmp_path: Path, own: str, other: str, stays: str) -> None:
    file = tmp_path / "evidence.json"
    first, second = Evidence(file), Evidence(file)
    first.verdicts = {"toy.why": replace(VERDICT, at=f"2026-01-{other}", key="other")}
    first.save(["toy.why"])
    second.verdicts = {"toy.why": replace(VERDICT, at=f"2026-01-{own}", key="own")}
    second.save(["toy.why"])
    assert Evidence(file).verdicts["toy.why"].key == stays


def at_once(count: int, work: Callable[[int], object]) -> None:
    """Do something in so many processes at once."""
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(count)

    def one(number: int) -> None:
        gate.wait(60)
        work(number)

    processes = [context.Process(target=one, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0


def test_processes_that_save_at_once_lose_nothing(tmp_path: Path) -> None:
    file, ids = tmp_path / "evidence.json", [f"toy.{a}-{b}" for a in range(4) for b in range(10)]

    def save(number: int) -> None:
        found = Evidence(file)
        for turn in range(10):
            found.verdicts[f"toy.{number}-{turn}"] = VERDICT
            found.save(ids)

    at_once(4, save)
    assert set(Evidence(file).verdicts) == set(ids)


def test_processes_that_meet_a_corrupt_file_at_once_set_it_aside_once(tmp_path: Path) -> None:
    file = tmp_path / "evidence.json"

    def meet(number: int) -> None:
        found = Evidence(file)
        found.verdicts[f"toy.{number}"] = VERDICT
        found.save(f"toy.{n}" for n in range(4))

    for turn in range(5):
        file.write_text("corrupt")
        at_once(4, meet)
        assert len(Evidence(file).verdicts) == 4, turn
    assert [path.read_text() for path in tmp_path.glob("*.set-aside*")] == ["corrupt"] * 5


def test_three_commands_on_three_answers_keep_three_verdicts(base: Base) -> None:
    code = ">>> import time\n    >>> time.sleep(1)\n"
    ids = ("a", "b", "c")
    base.write(
        {
            "papers/toy.yml": "cite: toy2020\nidea: Sound.\nimplementation: null\nquestions:\n"
            + "".join(f"  - {{id: {id}, ask: Why?, asked: 2026-01-31}}\n" for id in ids),
            "reference_impl/toy.py": '"""Toy.\n\n'
            + "\n".join(f"Answers: toy.{id}\n    {code}" for id in ids)
            + '"""\n',
        }
    )
    at_once(3, lambda number: base.quaere("verify", f"toy.{ids[number]}"))
    assert set(Evidence(base.root / ".quaere/evidence.json").verdicts) == {f"toy.{id}" for id in ids}
