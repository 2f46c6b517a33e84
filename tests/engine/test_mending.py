"""`quaere check --fix`: what it mends, what it leaves alone, and that nothing else of a file changes."""

from collections.abc import Callable

import pytest

from quaere.authoring import changes
from quaere.authoring.mending import mend
from quaere.errors import Faults
from tests.engine.conftest import SOUND, Base
from tests.engine.test_authoring import lines

BOOK = SOUND["papers/references.bib"]
CARD = "cite: toy2020  # the key\nidea: An idea.\nimplementation: null\n"
TOY, BIB = "papers/toy.yml", "papers/references.bib"


def mended(base: Base) -> tuple[list[str], list[str]]:
    """Mend a knowledge base; return the rules of what was mended, and the changed lines. What is left is sound."""
    library, faults = base.project.check()
    found = mend(library, faults, texts_as_they_are(base))
    changes.apply(base.root, found.changes)
    library, faults = base.project.check()
    again = mend(library, faults, texts_as_they_are(base))
    assert again.mended == [], "a second time mends more"
    assert str(Faults(faults)) == ""
    return [one.rule for one in found.mended], lines(found.changes.diff)


def texts_as_they_are(base: Base) -> Callable[[str], str | None]:
    return lambda path: (base.root / path).read_bytes().decode() if (base.root / path).is_file() else None


@pytest.mark.parametrize(
    ("file", "text", "rules", "changed"),
    [
        (TOY, CARD + "tags: [a, b, a]  # 2\n", ["duplicate-tag"], ["-tags: [a, b, a]  # 2", "+tags: [a, b]  # 2"]),
        (
            TOY,
            CARD + "questions:\n- {id: q, ask: Q?, asked: 2026/1/31, answer: 1184}  # how many\n",
            ["expected-text", "expected-date"],
            [
                "-- {id: q, ask: Q?, asked: 2026/1/31, answer: 1184}  # how many",
                '+- {id: q, ask: Q?, asked: 2026-01-31, answer: "1184"}  # how many',
            ],
        ),
        (
            TOY,
            CARD + "questions:\n- id: q\n  ask: yes\n  asked: '2026-01-31'  # a day\n",
            ["expected-date", "expected-text"],
            ["-  ask: yes", "-  asked: '2026-01-31'  # a day", '+  ask: "yes"', "+  asked: 2026-01-31  # a day"],
        ),
        (TOY, f"{CARD}formerly: [toy, d]\n", ["former-name-in-use"], ["-formerly: [toy, d]", "+formerly: [d]"]),
        (TOY, f"{CARD}formerly: [d, d]\n", ["duplicate-former-name"], ["-formerly: [d, d]", "+formerly: [d]"]),
        (
            TOY,
            CARD.replace("idea.\n", "idea.  \n") + "notes: |  \n  Kept  \n  as it is.\t\n\n# the end \n",
            ["trailing-blanks"] * 3,
            ["-idea: An idea.  ", "-notes: |  ", "-# the end ", "+idea: An idea.", "+notes: |", "+# the end"],
        ),
        (
            TOY,
            CARD + "links:\n- {kind: paper, title: T, url: 'http://arxiv.org/abs/1706.03762'}\n",
            [],
            [],
        ),
        (
            BIB,
            BOOK.replace("year", "doi = {https://doi.org/10.1000/X_y},\n  url = {http://arxiv.org/abs/1},\n  year"),
            ["doi-prefix", "http"],
            ["-  doi = {https://doi.org/10.1000/X_y},", "-  url = {http://arxiv.org/abs/1},", "+  doi = {10.1000/X_y},",
             "+  url = {https://arxiv.org/abs/1},"],
        ),
        (BIB, BOOK.replace("year", "url = {http://example.org/},\n  year"), [], []),
        (BIB, BOOK.replace("year", "note = {see\n  doi = {https://doi.org/10.1000/x}},\n  year"), [], []),
    ],
)  # fmt: skip
def test_what_is_certain_is_mended_and_nothing_else(
    base: Base, file: str, text: str, rules: list[str], changed: list[str]
) -> None:
    base.write({TOY: CARD, file: text})
    found, made = mended(base)
    assert (sorted(found), sorted(made)) == (sorted(rules), sorted(changed))


def test_line_ends_and_a_byte_order_mark_go_before_all_else(base: Base) -> None:
    text = CARD + "tags: [a]\nnotes: |\n  One \n  two\n"
    base.write({TOY: ("\ufeff" + text.replace("[a]", "[a, a]").replace("\n", "\r\n")).encode()})
    assert mended(base)[0] == ["line-ends", "bom", "duplicate-tag"]
    assert (base.root / TOY).read_bytes().decode() == text


def test_links_by_former_names_are_led_to_today_s(base: Base) -> None:
    base.write(
        {
            TOY: CARD + "formerly: [doll]\n",
            "papers/other.yml": "cite: toy2020\nimplementation: null\n"
            "idea: 'Like [[ doll|it]], and [[doll]].'  # kept\nbuilds_on: [doll]  # it\n",
            "docs/page.md": "# Page\n\n`[[doll]]` is [[doll]].\n",
        }
    )
    assert mended(base) == (
        ["links-to-unknown-cards", "links-of-texts", "links-of-texts", "lineage"],
        [
            "-`[[doll]]` is [[doll]].",
            "+`[[doll]]` is [[toy]].",
            "-idea: 'Like [[ doll|it]], and [[doll]].'  # kept",
            "-builds_on: [doll]  # it",
            "+idea: 'Like [[ toy|it]], and [[toy]].'  # kept",
            "+builds_on: [toy]  # it",
        ],
    )


@pytest.mark.parametrize(
    "text",
    [
        CARD + "questions:\n- {id: q, ask: Q?, asked: 01.02.2026}\n",  # the day or the month may come first
        CARD + "questions:\n- {id: q, ask: Q?, asked: 2026-02-30}\n",
        CARD + "questions:\n- {id: q, ask: Q?, asked: 2026-02-03 10:00:00}\n",
        CARD + "tags: a, b\n",
        CARD + "nots: x\n",
        CARD + "builds_on: [gone]\n",
        CARD + "links: [\n",
    ],
)
def test_what_may_mean_something_else_is_left_alone(base: Base, text: str) -> None:
    base.write({TOY: text})
    library, faults = base.project.check()
    assert faults
    assert mend(library, faults, texts_as_they_are(base)).changes.files == {}


def test_fix_says_what_it_did_and_changes_nothing_in_a_dry_run(base: Base) -> None:
    base.write({TOY: CARD + "tags: [a, a]\n", "papers/bad.yml": "cite: toy2020\nieda: x\nimplementation: null\n"})
    run = base.quaere("check")
    assert run.stdout == "2 faults; `quaere check --fix` mends 1\n"
    before = base.files()
    run = base.quaere("check", "--fix", "--dry-run")
    assert (run.returncode, before) == (1, base.files())
    assert run.stdout.startswith(f"--- a/{TOY}\n+++ b/{TOY}\n")
    assert run.stdout.endswith("would mend 1 finding in 1 file\n2 faults\n")
    run = base.quaere("check", "--fix")
    assert (run.returncode, run.stdout) == (1, "mended 1 finding in 1 file\n1 fault\n")
    assert "stands here twice" not in run.stderr
    (base.root / "papers/bad.yml").unlink()
    run = base.quaere("check", "--fix")
    assert (run.returncode, run.stdout) == (0, "nothing to mend\n1 papers, 0 questions, 0 answers: no faults\n")
    assert base.quaere("check", "--dry-run").returncode == 2
