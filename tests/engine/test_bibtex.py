"""BibTeX comes out as Unicode, people as names, and the entry as it was written."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quaere.content.bibliography.bibtex import Bibliography
from quaere.content.bibliography.reference import OTHERS, Name, Reference
from quaere.errors import BibError

ROOT = Path(__file__).parents[2]


def reference(fields: str, kind: str = "article") -> Reference:
    """Read an entry that must be sound."""
    book = Bibliography(f"@{kind}{{toy2020,\n{fields}\n}}\n", "references.bib")
    assert not book.faults
    found, faults = book.references(["toy2020"])
    assert not faults
    return found["toy2020"]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (r"{\"U}ber {\'e}t{\'e}s, {\ss} \v{S}koda \c{c} \aa{} {\L}ukasz \o", "Über étés, ß Škoda ç å Łukasz ø"),
        ("{BERT}: {Pre-training} of {Deep} models", "BERT: Pre-training of Deep models"),
        (r"Attention \& {\em recurrence}, 100\% \emph{more}", "Attention & recurrence, 100% more"),
        ("100% raw", "100% raw"),
        (r"In $O(n^2)$ and \(\alpha\) time", "In O(n²) and α time"),
        ("``Quoted'' -- and --- dashed", "“Quoted” – and — dashed"),
        ("Over\n   several\t lines", "Over several lines"),
        ("A tie~between", "A tie\xa0between"),
    ],
)
def test_latex_is_shown_as_unicode(written: str, shown: str) -> None:
    assert reference(f"title = {{{written}}}").title == shown


def test_addresses_and_numbers_are_taken_as_they_are() -> None:
    found = reference(r"doi = {10.1000/a\_b%3C}, url = {https://example.org/~ann/?a=1\&b=--}, eprint = {1706.03762}")
    assert found.fields == {
        "doi": "10.1000/a_b%3C",
        "url": "https://example.org/~ann/?a=1&b=--",
        "eprint": "1706.03762",
    }


def body(name: str) -> Name:
    return Name(name, is_literal=True)


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("Maker, Ann", [Name("Maker", "Ann")]),
        ("Ann B. Maker", [Name("Maker", "Ann B.")]),
        (
            "Ludwig van Beethoven and de la Cruz, Ana",
            [Name("Beethoven", "Ludwig", dropping="van"), Name("Cruz", "Ana", dropping="de la")],
        ),
        ("King, Jr., Martin Luther", [Name("King", "Martin Luther", suffix="Jr.")]),
        ("{Google Brain} and {Barnes and Noble}", [body("Google Brain"), body("Barnes and Noble")]),
        (r"Kaiser, {\L}ukasz and {\'E}variste Galois", [Name("Kaiser", "Łukasz"), Name("Galois", "Évariste")]),
        ("Plato", [Name("Plato")]),
        ("Ann Maker and others", [Name("Maker", "Ann"), OTHERS]),
        ("Ann\n  Maker and\n  Bob Maker", [Name("Maker", "Ann"), Name("Maker", "Bob")]),
        ("", []),
    ],
)
def test_people_become_names(written: str, names: list[Name]) -> None:
    assert list(reference(f"author = {{{written}}}").authors) == names


def test_editors_are_no_authors() -> None:
    found = reference("editor = {Maker, Ann}")
    assert (found.authors, found.editors) == ((), (Name("Maker", "Ann"),))


@pytest.mark.parametrize(("month", "name"), [("jan", "January"), ("SEP", "September"), ("{sep}", "sep"), ("9", "9")])
def test_the_months_that_bibtex_knows_need_no_string(month: str, name: str) -> None:
    assert reference(f"month = {month}").fields == {"month": name}


def test_strings_stand_for_their_text() -> None:
    book = Bibliography("@string{acm = {ACM Press}}\n@book{toy2020, publisher = acm, series = {acm}}\n", "r.bib")
    assert book.references(["toy2020"])[0]["toy2020"].fields == {"publisher": "ACM Press", "series": "acm"}


def test_fields_and_kinds_are_lower_case_and_the_source_keeps_the_values() -> None:
    found = reference('TITLE = "{\\"U}ber {"}alles{"}",\n  Year = 2020', kind="ARTICLE")
    assert (found.kind, found.fields) == ("article", {"title": 'Über "alles"', "year": "2020"})
    assert found.sources["toy2020"] == '@article{toy2020,\n  title = {{\\"U}ber {"}alles{"}},\n  year = {2020},\n}\n'


def test_an_entry_knows_its_line() -> None:
    book = Bibliography("% a comment\n\n@string{a = {b}}\n@comment{none}\n\n@misc{toy2020, title = a}\n", "r.bib")
    assert str(book.place("toy2020")) == "r.bib:6:1"
    assert str(book.references(["toy2020"])[0]["toy2020"].place) == "r.bib:6:1"


def test_lines_may_end_with_cr_lf() -> None:
    book = Bibliography("@misc{toy2020,\r\n  title = {Toys\r\n  and more},\r\n  year = x,\r\n}\r\n", "r.bib")
    found, faults = book.references(["toy2020"])
    assert [str(fault.place) for fault in faults] == ["r.bib:4:1"]
    assert not found


def test_references_come_in_the_order_asked_for_and_unknown_ones_do_not() -> None:
    book = Bibliography("@misc{a, title = {A}}\n@misc{b, title = {B}}\n", "r.bib")
    found, faults = book.references(["b", "c", "a"])
    assert (list(found), faults) == (["b", "a"], [])


def test_all_faults_of_an_entry_come_together_and_others_are_read() -> None:
    book = Bibliography("@misc{a,\n  title = x,\n  note = y,\n}\n@misc{b, title = {B}}\n", "r.bib")
    found, faults = book.references(["a", "b"])
    assert [str(fault.place) for fault in faults] == ["r.bib:2:1", "r.bib:3:1"]
    assert all(isinstance(fault, BibError) for fault in faults)
    assert list(found) == ["b"]


def test_an_entry_at_fault_is_still_known_to_be_there() -> None:
    book = Bibliography(
        "@misc{twice, title = {A}, title = {B}}\n@misc{open, title = {A\n@misc{b, title = {B}}\n", "r.bib"
    )
    assert len(book.faults) == 1
    assert [fault.problem for fault in book.references(["twice"])[1]] == ["entry `twice` has the field `title` twice"]
    assert [key for key in ("twice", "open", "b", "c") if book.has(key)] == ["twice", "open", "b"]
    assert list(book.entries) == ["b"]


def test_the_bibliography_of_this_project_is_sound() -> None:
    book = Bibliography((ROOT / "papers/references.bib").read_text(encoding="utf-8"), "references.bib")
    found, faults = book.references(book.entries)
    assert not book.faults
    assert not faults
    assert len(found) >= 14
    for one in found.values():
        assert one.authors, one.key
        assert one.year, one.key
        assert one.venue or one.arxiv, one.key
        assert not set("{}\\") & set(" ".join([one.title, *map(str, one.authors)])), one.key


# Small letters would be particles.
WORDS = st.from_regex(r"[A-ZÀ-ÖØ-Þ][a-zà-öø-ÿ]{1,8}( [A-ZÀ-ÖØ-Þ][a-zà-öø-ÿ]{1,8}){0,3}", fullmatch=True).filter(
    lambda text: not {"and", "jr", "sr"} & set(text.lower().split())
)


@settings(deadline=None, derandomize=True)
@given(title=WORDS, people=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_plain_words_come_out_as_they_went_in(title: str, people: list[tuple[str, str]]) -> None:
    written = " and ".join(f"{family}, {given}" for family, given in people)
    found = reference(f"title = {{{title}}}, author = {{{written}}}")
    assert found.title == title
    assert [(name.family, name.given) for name in found.authors] == people
