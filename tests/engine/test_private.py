"""What is private is in nothing that is made, unless it is asked for."""

import json
import pickle
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner
from typer.testing import Result as Said

from quaere.cli import app
from quaere.content.load import load
from quaere.content.model import Library
from quaere.content.private import without_private
from quaere.content.results import Result
from tests.engine.conftest import SOUND, Base

# Each of these words stands in something private alone.
CANARIES = "zebra quagga okapi tapir ocelot wombat numbat quokka dugong manatee axolotl kakapo galago potto"
WORDS = CANARIES.split()
PICTURE = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x04\x00\x00\x00\xb5\x1c\x0c\x02"
    b"\x00\x00\x00\x0bIDATx\xdacd\xf8\x0f\x00\x01\x05\x01\x01'\x18\xe3f\x00\x00\x00\x00IEND\xaeB`\x82"
)
RESULT = Result(
    schema=3,
    experiment="zebra",
    size="small",
    seeds=(0,),
    key="1",
    commit="",
    at="2026-02-01T00:00:00+00:00",
    seconds=1.0,
    device="CPU",
    versions={},
    notes="A galago.",
)
TOY = """\
cite: toy2020
idea: A sound idea.
implementation: null
questions:
  - {id: dugong, ask: Which dugong?, asked: 2026-01-30, private: true, answer: This dugong}
  - {id: why, ask: Why?, asked: 2026-01-31}
  - {id: how, ask: How?, asked: 2026-01-31, answer: By hand.}
quotes:
  - {text: A manatee., page: 3, private: true}
  - {text: A plain word., page: 4}
"""
FILES: dict[str, str | bytes] = {
    "papers/zebra.yml": """\
cite: quagga2026
private: true
idea: An okapi.
tags: [tapir]
affiliations: [Ocelot House]
builds_on: [toy]
notes: "A wombat, as in [[toy]]. ![](wombat.png)"
questions:
  - {id: numbat, ask: Which numbat?, asked: 2026-02-01}
claims: [{id: quokka, says: A quokka., where: Here, reported: "1"}]
""",
    "papers/wombat.png": PICTURE,
    "papers/results/zebra-small.json": RESULT.json_text(),
    "reference_impl/experiments/__init__.py": "",
    "reference_impl/experiments/zebra.py": '"""A potto."""\n',
    "tests/papers/test_zebra.py": "def test_a_potto() -> None: ...\n",
    "renamed.txt": "reference_impl.quokka reference_impl.zebra\n",
    # A topic: that all of its links lead somewhere, a build tells.
    "papers/plain.yml": "title: Plain\nnotes: As in [[toy]].\ntags: [plain]\nextra: {tone: plain}\n",
    "papers/toy.yml": TOY,
    "papers/references.bib": str(SOUND["papers/references.bib"])
    + "@article{quagga2026, author = {Axolotl, Ann}, title = {A quagga}, year = {2026}}\n",
    "reference_impl/zebra.py": '''\
"""A kakapo."""


def kakapo() -> None:
    """Stand there.

    Asked: zebra.numbat
    """


def numbat() -> None:
    """
    Answers: zebra.numbat
        This kakapo.

        >>> 1 + 1
        2
    """
''',
}


def said(base: Base, *arguments: str) -> Said:
    """Run the command in this process."""
    return CliRunner().invoke(app, [*arguments, "--project", str(base.root)])


@pytest.fixture
def secret(base: Base) -> Base:
    base.write(FILES)
    return base


def seen(folder: Path) -> dict[str, list[str]]:
    """Return which canaries each file of a folder shows, in its path or inside."""
    found = {}
    for path in folder.rglob("*"):
        told = path.relative_to(folder).as_posix()
        if path.is_file() and "/vendor/" not in told:
            told += path.read_bytes().decode(errors="replace")
            if words := [word for word in WORDS if re.search(word, told, re.IGNORECASE)]:
                found[path.relative_to(folder).as_posix()] = words
    return found


def test_nothing_of_a_site_shows_what_is_private_unless_it_is_asked_for(secret: Base) -> None:
    said(secret, "verify", "--private")
    built = said(secret, "build", "--private", "--offline", "--site", str(secret.root / "own"))
    assert built.exit_code == 0, built.output
    shown = seen(secret.root / "own")
    assert {word for words in shown.values() for word in words} == set(WORDS)  # all canaries sing
    # Over the same folder: what was there goes, and nobody takes it for a site that is up to date.
    for folder in ("own", "site"):
        assert said(secret, "build", "--offline", "--site", str(secret.root / folder)).exit_code == 0
        for copy in (folder, f"{folder}-offline"):
            assert seen(secret.root / copy) == {}, copy
    page = (secret.root / "site/papers/toy/index.html").read_text()
    assert "A plain word." in page
    assert 'id="why"' in page
    assert said(secret, "build", "--private", "--site", str(secret.root / "own")).exit_code == 0
    assert (secret.root / "own/papers/zebra/index.html").is_file()


def test_no_command_prints_what_is_private_unless_it_is_asked_for(secret: Base) -> None:
    said(secret, "verify", "--private")
    for command in (["questions"], ["questions", "--json"], ["export"], ["run", "--list"], ["show", "toy"], ["check"]):
        plain = said(secret, *command)
        assert plain.exit_code == 0, plain.output
        assert not [word for word in WORDS if word in plain.output.lower()], command
    assert "zebra.numbat" in said(secret, "questions", "--private").output
    assert "quagga" in said(secret, "export", "--private").output
    assert "manatee" in said(secret, "show", "toy", "--private").output
    assert said(secret, "show", "zebra").exit_code == 2


def test_a_run_without_what_is_private_keeps_what_is_known_of_it(secret: Base) -> None:
    assert "1 run" in said(secret, "verify", "--private").output
    secret.write({"reference_impl/toy.py": '"""Toy.\n\nAnswers: toy.why\n    >>> 1\n    1\n"""\n'})
    secret.write({"papers/toy.yml": TOY.replace("implementation: null\n", "")})
    assert "1 run" in said(secret, "verify").output
    assert "0 run, 2 unchanged" in said(secret, "verify", "--private").output
    assert "zebra.numbat" in json.loads((secret.root / ".quaere/evidence.json").read_text())["verdicts"]


def test_a_library_in_which_nothing_is_private_is_left_as_it_is(base: Base) -> None:
    library = load(base.root, base.project.settings, {})[0]
    assert without_private(library) is library


def test_what_is_private_is_nowhere_in_the_library_that_others_get(secret: Base) -> None:
    # It leads to what is private in all ways that a card's fields have, which a check would not let pass.
    more = "builds_on: [zebra]\ndepartures: [{of: paper, from: zebra, where: Here, what: All.}]\n"
    secret.write({"papers/toy.yml": f"{TOY}{more}status: {{state: superseded, by: zebra}}\n"})
    whole = load(secret.root, secret.project.settings, {})[0]
    assert {word for word in WORDS if word in told(whole)} == set(WORDS)
    shown = without_private(whole)
    assert [word for word in WORDS if word in told(shown)] == []
    assert [asked.place.line for asked in shown.questions.values()] == [6, 7]
    assert shown.papers["toy"].place("quotes", 0, "text").line == 10


@pytest.mark.parametrize(
    ("page", "text", "is_kept"),
    [
        ("index.md", "No picture.", False),
        ("index.md", "![A wombat](papers/wombat.png)", True),
        ("topics/a.md", "![A wombat][1]\n\n[1]: ../papers/wombat%2Epng", True),
        ("topics/a.md", '<img src="../../papers/wombat.png" alt="">', True),
        ("topics/a.md", '<img src="../../papers/wombat&#46;png" alt="">', True),
        # Named alike.
        ("index.md", "![Another](assets/wombat.png), a sea-wombat.png", False),
    ],
)
def test_a_picture_of_a_private_card_stays_if_a_page_written_by_hand_shows_it(
    secret: Base, page: str, text: str, is_kept: bool
) -> None:
    secret.write({f"docs/{page}": f"# Page\n\n{text}\n", "docs/assets/wombat.png": PICTURE})
    library = without_private(load(secret.root, secret.project.settings, {})[0])
    assert ("papers/wombat.png" in library.attachments) is is_kept


def told(library: Library) -> str:
    """Return all that a library holds, as Python keeps it."""
    return pickle.dumps(library).decode(errors="replace").lower()


def test_what_leads_to_something_private_is_a_fault_with_its_place(secret: Base) -> None:
    card = TOY + (
        "builds_on: [zebra]\nnotes: 'See [[zebra]], [[toy.dugong]] and [it](zebra.yml).'\n"
        "departures: [{of: paper, from: zebra, where: Here, what: All.}]\n"
    )
    secret.write({"papers/toy.yml": card.replace("builds_on: [toy]", "")})
    secret.write({"papers/zebra.yml": str(FILES["papers/zebra.yml"]).replace("builds_on: [toy]\n", "")})
    secret.write({"docs/index.md": "# Home\n\nSee [[zebra.numbat]].\n\n<!-- quaere:question toy.dugong -->\n"})
    secret.write(
        {"reference_impl/other.py": '"""Other.\n\nAnswers: toy.dugong\n    >>> 1\n    1\n"""\nfrom . import zebra\n'}
    )
    hint = "  hint: take it out, make this private too, or make that public"
    told = "is private, and stands here where everybody sees it"
    assert secret.report().split("\n") == [
        f"docs/index.md:3:5: `zebra.numbat` {told}",
        hint,
        f"docs/index.md:5:1: `toy.dugong` {told}",
        hint,
        f"papers/toy.yml:11:13: `zebra` {told} (at $.builds_on[0])",
        hint,
        f"papers/toy.yml:12:13: `zebra` {told} (at $.notes)",
        hint,
        f"papers/toy.yml:12:24: `toy.dugong` {told} (at $.notes)",
        hint,
        f"papers/toy.yml:12:48: `zebra.yml` {told} (at $.notes)",
        hint,
        f"papers/toy.yml:13:32: `zebra` {told} (at $.departures[0].from)",
        hint,
        f"reference_impl/other.py:3:10: `toy.dugong` {told}",
        "  hint: move this into the module of a private card, or make that public",
        f"reference_impl/other.py:7:15: `zebra` {told}",
        "  hint: move this into the module of a private card, or make that public",
    ]
    assert said(secret, "build").exit_code == 1
    assert not (secret.root / "site").exists()


def test_what_is_private_stays_so_under_a_former_name(base: Base) -> None:
    question = "{{id: why, ask: Why?, asked: 2026-01-31, answers: [{{code: {}}}], private: true}}"
    card = f"cite: toy2020\nimplementation: null\nformerly: [tay]\nquestions: [{question}]\n"
    module = '"""Toy.\n\nAnswers: toy.told\n    So.\n\n    >>> 1\n    1\n"""\n'
    base.write({"papers/toy.yml": card.format("tay.told"), "reference_impl/more.py": module})
    base.write({"papers/tay/seen.png": PICTURE, "papers/toy/seen.png": PICTURE})
    assert [one.id for one in base.project.read()[0].answers] == []
    base.write({"papers/toy.yml": card.format("toy.told").replace(", private: true", "") + "private: true\n"})
    assert list(base.project.read()[0].attachments) == []


def test_a_card_without_its_private_parts_tells_when_the_others_move(base: Base) -> None:
    secret = "questions:\n  - id: secret\n    private: true\n    ask: Mine?\n    asked: 2026-01-31\n"
    places = {}
    for more in ("", "    # A remark.\n", "    # A remark.\n    by: Me\n"):
        base.write({"papers/toy.yml": SOUND["papers/toy.yml"].replace("questions:\n", f"{secret}{more}")})
        paper = base.project.check()[0].papers["toy"]
        assert [one.id for one in paper.card.questions] == ["why", "how"]
        places[paper.digest] = paper.place("questions", 0).line
    assert list(places.values()) == [9, 10, 11]
