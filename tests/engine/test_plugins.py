"""What other distributions add: a small one, installed in a folder of its own, brings checks, formats and importers."""

import os
from pathlib import Path

import pytest

from tests.engine.conftest import Base

CODE = """
from quaere.errors import CardError, Severity


def shouting(library):
    for paper in library.papers.values():
        if paper.card.idea.isupper():
            yield CardError(paper.place("idea"), "the idea shouts", "write it in lower case")


def mild(library):
    for paper in library.papers.values():
        yield CardError(paper.place("idea"), "the idea is short", severity=Severity.WARNING)


def keys(references):
    return "".join(f"{one.key}\\n" for one in references)


def broken(*_):
    raise ZeroDivisionError("by zero")


number = 1
"""


def install(base: Base, *points: str) -> str:
    """Install a distribution beside the knowledge base that names these entry points; return its folder."""
    info = "plugin/toy_plugin-1.2.dist-info"
    groups = "\n".join(f"[quaere.{point.partition('/')[0]}]\n{point.partition('/')[2]}" for point in points)
    base.write(
        {
            "plugin/toy_plugin.py": CODE,
            f"{info}/METADATA": "Metadata-Version: 2.1\nName: toy-plugin\nVersion: 1.2\n",
            f"{info}/entry_points.txt": groups,
        }
    )
    return os.pathsep.join([str(base.root / "plugin"), os.environ.get("PYTHONPATH", "")])


def test_a_plugin_adds_a_check(base: Base) -> None:
    path = install(base, "checks/shouting = toy_plugin:shouting")
    assert base.quaere("check", PYTHONPATH=path).returncode == 0
    base.write({"papers/toy.yml": "cite: toy2020\nidea: AN IDEA!\nimplementation: null\n"})
    run = base.quaere("check", PYTHONPATH=path)
    assert run.stderr == "papers/toy.yml:2:7: the idea shouts (at $.idea)\n  hint: write it in lower case\n"
    assert run.returncode == 1
    assert base.quaere("check").returncode == 0


def test_a_plugin_adds_a_format(base: Base) -> None:
    path = install(base, "exports/keys = toy_plugin:keys")
    assert base.quaere("export", "--format", "keys", PYTHONPATH=path).stdout == "toy2020\n"
    run = base.quaere("export", "--format", "keys")
    told = "there is no format `keys`\n  hint: known: `bibtex`, `csl-json`, `json`, `ris`\n"
    assert (run.returncode, run.stdout, run.stderr) == (2, "", told)


@pytest.mark.parametrize(
    ("point", "problem"),
    [
        ("broken = toy_plugin:broken", "broken of `quaere.{}` failed: ZeroDivisionError: by zero"),
        ("number = toy_plugin:number", "number of `quaere.{}` is no function: toy_plugin:number"),
        (
            "gone = nowhere:f",
            "gone of `quaere.{}` can't be loaded: ModuleNotFoundError: No module named 'nowhere'",
        ),
    ],
)
@pytest.mark.parametrize("group", ["checks", "exports"])
def test_a_plugin_that_fails_is_named(base: Base, group: str, point: str, problem: str) -> None:
    path = install(base, f"{group}/{point}")
    verb = ["check"] if group == "checks" else ["export", "--format", point.partition(" ")[0]]
    run = base.quaere(*verb, PYTHONPATH=path)
    assert run.stderr.startswith(f"plugin toy-plugin 1.2: {problem.format(group)}\n"), run.stderr
    assert run.returncode == 1


# What is imported and added


IMPORTERS = """
import json


def cards(data):
    return {f"{name}.md": f"# {name}\\n\\n{text}\\n" for name, text in json.loads(data).items()}


cards.suffixes = (".cards",)


def endnote(data):
    entry = "@misc{x,\\n  title = {%s},\\n  year = {2021},\\n}\\n"
    return "".join(entry % line for line in data.decode().split("\\n"))


def wrong(data):
    return 1
"""


def installed(base: Base) -> str:
    path = install(
        base, "importers/cards = toy_importers:cards\nendnote = toy_importers:endnote\nwrong = toy_importers:wrong"
    )
    base.write({"plugin/toy_importers.py": IMPORTERS})
    return path


def test_a_plugin_reads_notes_of_a_format_of_its_own(base: Base) -> None:
    path = installed(base)
    notes = '{"A Paper on Dolls": "- [ ] Q: Who sews?", "A Paper on Balls": "Round."}'
    base.write({"notes/all.cards": notes, "notes/other.txt": "no notes", "notes/own.md": "# A Paper on Kites\n\nUp.\n"})
    run = base.quaere("import", "--format", "cards", "notes", PYTHONPATH=path)
    assert (run.returncode, run.stderr) == (0, "")
    assert sorted(base.library().papers) == ["a_paper_on_balls", "a_paper_on_dolls", "own", "toy"]
    asked = [one.question.ask for one in base.library().questions.values()]
    assert "Who sews?" in asked
    # A second time nothing changes, as with any other notes.
    before = base.files()
    assert base.quaere("import", "--format", "cards", "notes", PYTHONPATH=path).returncode == 0
    assert base.files() == before


def test_a_plugin_reads_entries_of_a_format_of_its_own(base: Base) -> None:
    path = installed(base)
    base.write({"library.enl": "Kites\nBalls"})
    run = base.quaere("add", "--format", "endnote", "library.enl", "--no-card", PYTHONPATH=path)
    assert (run.returncode, run.stderr) == (0, "")
    assert len(base.library().bibliography) == 3


@pytest.mark.parametrize("verb", ["add", "import"])
def test_a_format_that_nobody_brings_or_that_fails_is_told(base: Base, verb: str) -> None:
    path = installed(base)
    base.write({"library.enl": "Kites"})
    run = base.quaere(verb, "--format", "endnot", "library.enl", PYTHONPATH=path)
    assert (run.returncode, run.stderr) == (2, "there is no format `endnot`\n  hint: did you mean `endnote`?\n")
    run = base.quaere(verb, "--format", "endnot", "library.enl")
    assert (run.returncode, "entry point `quaere.importers`" in run.stderr) == (2, True)
    run = base.quaere(verb, "--format", "cards", "library.enl", PYTHONPATH=path)
    assert (run.returncode, "cards of `quaere.importers` failed: JSONDecodeError" in run.stderr) == (1, True)
    run = base.quaere(verb, "--format", "wrong", "library.enl", PYTHONPATH=path)
    assert (run.returncode, "wrong of `quaere.importers` returned no text" in run.stderr) == (1, True)


def test_the_plugin_that_the_guide_shows_works(base: Base) -> None:
    guide = (Path(__file__).parents[2] / "docs/guide/command-line.md").read_text(encoding="utf-8")
    code = guide.partition("\n## Plugins")[2].partition("```python\n")[2].partition("```")[0]
    path = install(base, "importers/org = quaere_org:notes")
    base.write({"plugin/quaere_org.py": code, "notes/a.org": "* A Paper on Dolls\n** Questions\nWho sews?\n"})
    run = base.quaere("import", "--format", "org", "notes", PYTHONPATH=path)
    assert (run.returncode, run.stderr) == (0, "")
    assert "Who sews?" in [one.question.ask for one in base.library().questions.values()]
