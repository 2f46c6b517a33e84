"""Generated libraries: the same bytes each time, and sound."""

import hashlib
import re
from pathlib import Path

from benchmarks import generated
from quaere.project import Project

COUNT = 60


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_generated_library_is_sound_and_has_questions_in_each_state_that_needs_no_code(tmp_path: Path) -> None:
    generated.write_library(tmp_path, COUNT)
    library, faults = Project.find(tmp_path).check()
    assert not faults
    assert len(library.papers) == COUNT
    assert {one.state({}).value for one in library.questions.values()} == {"open", "answered"}
    sizes = [len(paper.source.encode()) for paper in library.papers.values()]
    assert 3500 < sum(sizes) / COUNT < 4500


def test_a_card_is_the_same_in_a_library_of_any_size_and_on_every_machine(tmp_path: Path) -> None:
    generated.write_library(tmp_path, 20)
    first = contents(tmp_path)
    generated.write_library(tmp_path, COUNT)
    grown = contents(tmp_path)
    bibliography = "papers/references.bib"
    assert {path for path in first if grown[path] != first[path]} == {bibliography}
    assert grown[bibliography].startswith(first[bibliography])
    generated.write_library(tmp_path, 20)
    assert contents(tmp_path) == first
    digest = hashlib.sha256(generated.yaml(generated.card(7)).encode()).hexdigest()
    assert digest[:16] == "1e5c7bc2fb978ae7"
    assert generated.card(7, seed=1) != generated.card(7)


def test_no_link_of_the_same_cards_as_markdown_is_dead(tmp_path: Path) -> None:
    generated.write_plain(tmp_path, COUNT)
    pages = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "docs").glob("*.md")}
    assert len(pages) == COUNT + 1
    linked = {name for text in pages.values() for name in re.findall(r"\]\((\w+\.md)\)", text)}
    assert linked <= pages.keys()
    assert not any("[[" in text for text in pages.values())
