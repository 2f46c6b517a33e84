"""Bad input: each case under cards/ gets the report that stands beside it, and nothing is run or written."""

import datetime
import re
from pathlib import Path

import pytest

from quaere.content.bibliography.reference import Name
from tests.engine.conftest import Base, cases

CASES = cases(".yml", ".bib", ".python", ".toml", ".md", "")


def expected(case: Path) -> str:
    return case.with_suffix(".txt").read_text(encoding="utf-8")


def problems(report: str) -> list[str]:
    """Return the lines that say where and what; hints name what else there is, so they differ in other company."""
    return sorted(line for line in report.splitlines() if not line.startswith("  hint: "))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_report_on_a_case_is_the_one_beside_it_word_for_word(base: Base, case: Path) -> None:
    base.lay_over(case)
    before = base.files()
    assert base.report() + "\n" == expected(case)
    assert base.files() == before, "something was run or written"


def test_each_case_has_its_report_and_each_report_its_case() -> None:
    assert sorted(case.stem for case in CASES) == sorted(text.stem for text in cases(".txt"))


def test_each_fault_in_a_report_has_a_file_a_line_and_a_column() -> None:
    for case in CASES:
        assert problems(expected(case)), case
        for line in problems(expected(case)):
            file, row, column, problem = line.split(":", 3)
            assert (
                file.rpartition(".")[2] in ("yml", "bib", "py", "toml", "md", "json") or case.name == "no_folder.toml"
            )
            assert int(row) >= 1, line
            assert int(column) >= 1, line
            assert problem.strip(), line


def test_one_run_reports_all_faults_of_all_files_and_runs_and_writes_nothing(base: Base) -> None:
    together = [*cases(".yml", ".md"), *(case for case in CASES if case.name in ("entry_twice.bib", "outside.python"))]
    for case in together:
        base.lay_over(case)
    before = base.files()
    run = base.quaere("check")
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    wanted = sorted(line for case in together for line in problems(expected(case)))
    assert problems(run.stderr) == wanted
    assert run.stdout == f"{len(wanted)} faults; `quaere check --fix` mends 11\n"
    assert base.files() == before
    assert not (base.root / "executed").exists()


def test_the_sound_knowledge_base_has_no_faults(base: Base) -> None:
    assert base.report() == ""


def test_a_scalar_of_ten_megabytes_is_refused_before_it_is_parsed(base: Base) -> None:
    base.write({"papers/large.yml": b"cite: toy2020\nidea: " + b"x" * 10_000_000 + b"\n"})
    assert base.report() == (
        "papers/large.yml:1:1: the file has 10.0 MB; a card may have 1 MB\n"
        "  hint: put data beside the card and link to it"
    )


def test_former_names_are_read_and_a_line_without_two_names_is_told(base: Base) -> None:
    base.write({"renamed.txt": "# names\nref.toy.old  ref.toy.new\n\nref.toy.one ref.toy.two # since 0.3\n"})
    assert base.library().renamed == {"ref.toy.old": "ref.toy.new", "ref.toy.one": "ref.toy.two"}
    base.write({"renamed.txt": "a.b c.d\na.b\na-b c.d\n"})
    assert re.findall(r"^renamed.txt:(\d+):1: expected two names$", base.report(), re.MULTILINE) == ["2", "3"]


def test_a_folder_without_bibliography_is_told_so_once(base: Base) -> None:
    (base.root / "papers/references.bib").unlink()
    assert base.report() == (
        "papers/references.bib:1:1: there is no such file\n"
        "  hint: make it, or set `bibliography` in [tool.quaere]\n"
        "papers/toy.yml:1:7: papers/references.bib has no entry `toy2020` (at $.cite)"
    )


def test_what_is_named_like_a_card_but_is_no_file_is_reported(base: Base) -> None:
    (base.root / "papers/folder.yml").mkdir()
    (base.root / "papers/gone.yml").symlink_to("nowhere.yml")
    assert base.report() == (
        "papers/folder.yml:1:1: this is a folder where a file is expected\n"
        "  hint: move it away, or give it another name\n"
        "papers/gone.yml:1:1: the file can't be read: No such file or directory\n"
        "  hint: it is a link to what is not there: remove it, or put the file itself here"
    )


def test_a_card_or_a_module_that_is_a_link_to_a_file_elsewhere_is_not_read(base: Base) -> None:
    base.write({"secret/card.yml": "idea: a secret\n", "secret/code.py": '"""A secret."""\n'})
    (base.root / "papers/file.yml").symlink_to(base.root / "secret/card.yml")
    (base.root / "papers/round.yml").symlink_to("round.yml")
    (base.root / "reference_impl/file.py").symlink_to("../secret/code.py")
    (base.root / "reference_impl/folder").symlink_to(base.root / "secret", target_is_directory=True)
    library, _ = base.project.read()
    assert [module.name for module in library.modules] == ["reference_impl"]
    hint = "  hint: put the file itself here: links out of a folder are not followed"
    assert base.report() == (
        f"papers/file.yml:1:1: this is a link to a file elsewhere\n{hint}\n"
        "papers/round.yml:1:1: the file can't be read: Too many levels of symbolic links\n"
        "  hint: it is a link that leads back to itself: remove it\n"
        f"reference_impl/file.py:1:1: this is a link to a file elsewhere\n{hint}\n"
        "reference_impl/folder: this is a link to a folder\n"
        "  hint: put the folder itself here: links to folders are not followed"
    )


def test_the_files_of_an_editor_are_passed_over(base: Base) -> None:
    for name in ("papers/.#toy.yml", "reference_impl/.#toy.py", "docs/.#page.md"):
        (base.root / name).parent.mkdir(exist_ok=True)
        (base.root / name).symlink_to("ann@desk.1234")
    assert base.report() == ""


def test_a_library_holds_what_its_files_say(base: Base) -> None:
    base.write(
        {
            "papers/vit.yml": "cite: vit2021\nidea: Patches.\ntags: [scale]\nbuilds_on: [toy]\n",
            "papers/references.bib": (base.root / "papers/references.bib").read_text()
            + "@misc{vit2021, author={A. B. Maker and {Team}}, title={Vi{T}}, year=2021}\n",
            "reference_impl/vit.py": '"""Patches.\n\nAnswers: toy.why\n    >>> 1\n    1\n"""\n',
            "tests/papers/test_vit.py": "def test_one(): ...\n\nclass TestMore:\n    def test_two(self): ...\n",
            "docs/guide/page.md": "See [[vit]].\n",
        }
    )
    library = base.library()
    assert list(library.papers) == ["toy", "vit"]
    vit = library.papers["vit"]
    assert vit.file == "papers/vit.yml"
    assert (vit.card.implementation, vit.card.tags, vit.card.notes) == ("vit", ("scale",), None)
    assert (vit.reference.title, vit.reference.year) == ("ViT", 2021)
    assert vit.reference.authors == (Name("Maker", "A. B."), Name("Team", is_literal=True))
    assert str(vit.place("builds_on", 0)) == "papers/vit.yml:4:13"
    assert vit.place("links").line == 1, "what is not written stands where the card starts"
    assert library.module_of(vit) == library.modules[1]
    assert library.modules[1].summary == "Patches."
    assert library.module_of(library.papers["toy"]) is None
    assert library.tests == {"vit": {"test_one", "test_two"}}
    assert library.docs == {"guide/page.md": "See [[vit]].\n"}
    assert list(library.questions) == ["toy.why", "toy.how"]
    why = library.questions["toy.why"]
    assert (why.question.asked, str(why.place)) == (datetime.date(2026, 1, 31), "papers/toy.yml:5:5")
    assert why.answer == library.answers[0]
    assert library.questions["toy.how"].answer is None


def test_a_line_that_links_write_out_has_a_length(base: Base) -> None:
    base.write({"papers/toy.yml": f"cite: toy2020\nidea: {'long ' * 401}\nimplementation: null\n"})
    assert base.report() == (
        "papers/toy.yml:2:7: the text has 2,004 characters, and 2,000 is the most (at $.idea)\n"
        "  hint: say it in a sentence, and the rest in `notes`"
    )
