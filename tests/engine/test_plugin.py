"""A small knowledge base built by MkDocs itself: what the plugin hands over, and how faults come out."""

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CARD = """
cite: doe2020
idea: An idea.
tags: [light]
notes: |
  ### A heading

  See [[red.held]].
questions:
  - {id: held, ask: Does it hold?, asked: 2026-01-31}
  - {id: unasked, ask: Does anybody know?, asked: 2026-01-31}
"""

BIB = """
@article{doe2020,
  author = {Doe, Jane},
  title = {On Red},
  journal = {Annals},
  year = {2020},
}
"""

MODULE = '''
"""A door.

$$x = y$$
"""


class Door:
    """Opens.

    Answers: red.held
        It does.

        >>> 1 + 1
        2
    """
'''

MKDOCS = """
site_name: House
repo_url: https://example.org/house
edit_uri: edit/main/docs/
strict: true
nav: [index.md, questions.md, papers/index.md]
theme: {name: material, font: false, features: [content.action.edit]}
plugins:
  - quaere
  - mkdocstrings: {handlers: {python: {options: {show_root_heading: false, show_root_toc_entry: false}}}}
markdown_extensions:
  - attr_list
  - md_in_html
  - tables
  - pymdownx.superfences
  - pymdownx.tabbed: {alternate_style: true}
"""

FILES = {
    "pyproject.toml": '[tool.quaere]\nimplementation = "house"\n',
    "papers/red.yml": CARD.lstrip(),
    "papers/references.bib": BIB.lstrip(),
    "house/__init__.py": '"""A house."""\n',
    "house/red.py": MODULE.lstrip(),
    "tests/papers/test_red.py": "def test_door():\n    assert 1\n",
    "docs/index.md": "# Home\n\n[[red]] and `[[red]]`\n\n<!-- quaere:states -->\n\n<!-- quaere:question red.held -->\n",
    "mkdocs.yml": MKDOCS.lstrip(),
}


def write(folder: Path, changed: dict[str, str]) -> Path:
    for path, text in (FILES | changed).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


def build(folder: Path, option: str = "--quiet") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", option]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write(tmp_path_factory.mktemp("house"), {})
    built = build(folder)
    assert (built.returncode, built.stderr) == (0, "")
    return folder / "site"


def page(site: Path, path: str) -> str:
    return (site / path / "index.html").read_text(encoding="utf-8")


def test_cards_lists_and_modules_become_pages(site: Path) -> None:
    pages = {path.parent.relative_to(site).as_posix() for path in site.rglob("index.html")}
    assert pages == {
        *(".", "papers", "papers/red", "lineage", "questions", "board", "experiments", "tags", "affiliations"),
        *("reference", "reference/house", "reference/red", "code/house", "code/red"),
    }


def test_pages_bring_their_style_and_script_along(site: Path) -> None:
    card = page(site, "papers/red")
    assert '<link rel="stylesheet" href="../../assets/quaere.css">' in card
    assert '<script src="../../assets/quaere.js" type="module"></script>' in card
    assert (site / "assets/quaere.css").stat().st_size > 1000
    assert (site / "assets/quaere.js").stat().st_size > 1000


def test_what_the_search_reads_comes_along(site: Path) -> None:
    data = site / "assets/data/search"
    assert "On Red" in (data / "names.json").read_text(encoding="utf-8")
    assert "red|" in (data / "words/re.json").read_text(encoding="utf-8")


def test_the_edit_link_of_a_card_opens_the_card(site: Path) -> None:
    def edited(path: str) -> list[str]:
        return re.findall(r'<a href="([^"]*)"[^>]*rel="edit"', page(site, path))

    assert edited("papers/red") == ["https://example.org/house/edit/main/papers/red.yml"]
    assert edited("reference/red") == ["https://example.org/house/edit/main/house/red.py"]
    assert edited(".") == ["https://example.org/house/edit/main/docs/index.md"]
    assert edited("questions") == []


def test_pages_written_by_hand_are_written_out(site: Path) -> None:
    home = page(site, ".")
    assert '<a href="papers/red/">On Red</a> and <code>[[red]]</code>' in home
    assert 'href="questions/?state=unverified"' in home


def test_the_page_of_a_module_links_to_the_questions_that_it_answers_and_leaves_the_answers_to_the_cards(
    site: Path,
) -> None:
    module = page(site, "reference/red")
    asked = '<a href="../../papers/red/#held">Does it hold?</a> <span class="q-badge" data-state="unverified">'
    assert f"<em>Answers</em> {asked}" in module
    assert "It does." in page(site, "papers/red")
    assert "It does." not in re.sub(r"(?s)<details.*?</details>", "", module)
    assert 'id="house.red.Door"' in module
    assert 'href="../../reference/red/#house.red.Door"' in page(site, "papers/red")


def test_no_page_asks_another_host_for_anything(site: Path) -> None:
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        fetched = re.findall(r'(?:src|<link[^>]*href)="((?:https?:)?//[^"]*)"', text)
        assert fetched == []
        # The theme's script asks the repository's host for stars and releases wherever it finds this component.
        assert 'data-md-component="source"' not in text


def test_faults_are_told_all_at_once_without_a_traceback(tmp_path: Path) -> None:
    folder = write(tmp_path, {"papers/red.yml": "cite: doe2020\nidea: 7\nnote: x\n", "papers/blue.yml": "cite: [\n"})
    built = build(folder)
    assert built.returncode == 1
    told = html.unescape(built.stderr)
    assert "papers/red.yml:2:7: expected text, found int `7`" in told
    assert "papers/red.yml:3:1: unknown key `note`" in told
    assert "papers/blue.yml:" in told
    assert "Traceback" not in told
    assert not (folder / "site").exists()


def test_without_strict_a_fault_is_a_warning_and_the_rest_is_built(tmp_path: Path) -> None:
    built = build(write(tmp_path, {"papers/blue.yml": "cite: [\n"}), "--no-strict")
    assert built.returncode == 0
    assert "WARNING" in built.stderr
    assert "papers/blue.yml:" in built.stderr
    assert "On Red" in page(tmp_path / "site", "papers/red")


def test_settings_at_fault_are_told_without_a_traceback(tmp_path: Path) -> None:
    built = build(write(tmp_path, {"pyproject.toml": "[tool.quaere]\npaper = 'x'\n"}))
    assert built.returncode == 1
    assert "unknown setting `paper`" in built.stderr
    assert "Traceback" not in built.stderr
