"""The checks between sound parts. What each says is under cards/; here is when it speaks, and when it does not."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from quaere.content import check
from quaere.content.model import Card, Library, Paper
from quaere.content.settings import Settings
from quaere.errors import Place
from tests.engine.conftest import SOUND, Base, cases, reference

REFERENCE = reference(kind="misc")


def library(*cards: Mapping[str, object], **parts: Any) -> Library:
    """Make a library of cards, called a, b, c, …"""
    papers = {}
    for slug, card in zip("abcdefgh", cards, strict=False):
        whole = Card.model_validate({"cite": "toy2020", "idea": "Sound.", **card})
        papers[slug] = Paper(slug, f"papers/{slug}.yml", whole, REFERENCE, {(): Place(f"papers/{slug}.yml")})
    return dataclasses.replace(Library(papers, {}, (), (), {}), **parts)


def problems(one: check.Check, library: Library) -> list[str]:
    return [error.problem for error in one(library)]


def test_every_check_finds_something_in_the_cases(make_base: Callable[[str], Base]) -> None:
    silent = {one.__name__ for one in check.CHECKS}
    for case in cases(".yml", ".bib", ".python", ".md", ""):
        base = make_base(case.name)
        base.lay_over(case)
        found, _ = base.project.read()
        silent -= {one.__name__ for one in check.CHECKS if problems(one, found)}
    assert not silent


def test_all_checks_speak_in_one_run() -> None:
    found = library({"builds_on": ("x",), "tags": ("t", "t")}, {"notes": "[[y]]", "implementation": "z"})
    assert {error.problem for error in check.check(found)} >= {
        "there is no card `x`",
        "the tag `t` stands here twice",
        "[[y]] leads nowhere",
        "there is no module `z`",
    }


@pytest.mark.parametrize(
    ("builds_on", "circles"),
    [
        ([[], ["a"], ["a", "b"]], []),
        ([["a"]], ["`a` on `a`"]),
        ([["b"], ["a"]], ["`a` on `b` on `a`"]),
        ([["b"], ["c"], ["a"]], ["`a` on `b` on `c` on `a`"]),
        ([["b"], ["a"], ["d"], ["c"]], ["`a` on `b` on `a`", "`c` on `d` on `c`"]),
        ([["b", "c"], ["a"], ["a"]], ["`a` on `b` on `a`", "`a` on `c` on `a`"]),
        ([["x"], ["y"]], []),
    ],
)
def test_each_circle_is_named_once(builds_on: list[list[str]], circles: list[str]) -> None:
    found = library(*({"builds_on": tuple(slugs)} for slugs in builds_on), unsound=frozenset({"x", "y"}))
    told = "the papers build on each other in a circle: "
    assert sorted(problems(check.lineage, found)) == [told + circle for circle in circles]


def test_what_points_at_a_card_at_fault_is_not_judged() -> None:
    found = library(
        {
            "builds_on": ("late",),
            "notes": "[[late]] and [[late.why]]",
            "departures": ({"of": "paper", "from": "late", "where": "Eq. 1", "what": "Much.", "test": "test_much"},),
            "implementation": None,
        },
        bibliography={"toy2020": Place("r.bib"), "late2021": Place("r.bib")},
        tests={"a": frozenset({"test_much"})},
        settings=Settings(every_entry_cited=True),
    )
    about = (check.lineage, check.links_of_texts, check.departures, check.uncited_references)
    assert [problem for one in about for problem in problems(one, found)] == [
        "there is no card `late`",
        "[[late]] leads nowhere",
        "[[late.why]] leads nowhere",
        "there is no card `late`",
        "no card cites `late2021`",
    ]
    excused = dataclasses.replace(found, unsound=frozenset({"late"}))
    assert [problem for one in about for problem in problems(one, excused)] == []


@pytest.mark.parametrize("of", ["paper", "implementation"])
@pytest.mark.parametrize(
    ("origin", "found"),
    [
        ("a", []),
        ("RNN Encoder-Decoder (Cho et al. 2014)", []),
        ("torch.nn.GRU", []),
        ("transformer", ["there is no card `transformer`"]),  # what reads as a slug means a card
    ],
)
def test_a_departure_is_from_a_card_or_from_what_has_none(of: str, origin: str, found: list[str]) -> None:
    card = {"departures": ({"of": of, "from": origin, "where": "Eq. 1", "what": "Much."},)}
    assert problems(check.departures, library(card)) == found


def test_a_departure_needs_a_test_only_where_there_is_code() -> None:
    card = {"departures": ({"of": "implementation", "from": "fairseq 0.12", "where": "Eq. 1", "what": "Much."},)}
    assert problems(check.departures, library(card)) == []
    assert problems(check.departures, library({**card, "implementation": "a"})) == ["no test guards this departure"]


def test_the_tests_of_a_card_are_those_of_the_module_that_it_names() -> None:
    departure = {"of": "paper", "from": "fairseq 0.12", "where": "Eq. 1", "what": "Much.", "test": "test_one"}
    found = library({"departures": (departure,), "implementation": "layers.deep"}, tests={"deep": frozenset()})
    assert problems(check.departures, found) == ["test_deep.py has no `test_one`"]
    told = dataclasses.replace(found, tests={"deep": frozenset({"test_one"})})
    assert problems(check.departures, told) == []


def test_any_tag_goes_where_there_is_no_vocabulary() -> None:
    card = {"tags": ("scale", "RNN")}
    assert problems(check.tags_outside_the_vocabulary, library(card)) == []
    limited = library(card, settings=Settings(tags=["RNN"]))
    assert problems(check.tags_outside_the_vocabulary, limited) == ["unknown tag `scale`"]


def test_a_reference_has_a_title(base: Base) -> None:
    base.write({"papers/references.bib": "@book{toy2020, editor = {A B}, title = {T}, year = 2020}\n"})
    assert base.report() == ""
    base.write({"papers/references.bib": "@book{toy2020, editor = {A B}, year = 2020}\n"})
    assert base.report().startswith("papers/references.bib:1:1: entry `toy2020` has no title\n")


PROSE = st.text(st.sampled_from("ab é\\'\":#-"), max_size=12)


@settings(deadline=None, derandomize=True)
@given(
    lines=st.lists(st.lists(PROSE, min_size=1, max_size=3), min_size=1, max_size=4),
    style=st.sampled_from(["|", ">", '"', "'"]),
    width=st.sampled_from([20, 10_000]),
)
def test_a_link_that_leads_nowhere_is_found_where_it_stands(lines: list[list[str]], style: str, width: int) -> None:
    notes = "\n".join("[[no-where]]".join(line) for line in lines) + "\n[[no-where]]."
    source = f"cite: toy2020\nnotes: {yaml.safe_dump(notes, default_style=style, width=width, allow_unicode=True)}"
    start = Place("papers/a.yml", 2, 8)
    paper = dataclasses.replace(
        library({"notes": notes}).papers["a"], places={(): start, ("notes",): start}, source=source
    )
    found = [error.place for error in check.links_of_texts(Library({"a": paper}, {}, (), (), {}))]
    here = [source.split("\n")[place.line - 1][place.column - 1 :] for place in found]
    assert all(text.startswith("[[no-where]]") for text in here), (source, found)
    assert len(set(found)) == len(found) > 0


def test_a_link_over_http_is_a_remark(base: Base) -> None:
    link = "links: [{kind: video, title: In clear, url: 'http://example.org/video'}]\n"
    base.write({"papers/toy.yml": SOUND["papers/toy.yml"] + link})
    assert [str(one) for one in check.remarks(base.library())] == [
        "remark: papers/toy.yml:7:45: `http://example.org/video` goes over http (at $.links[0].url)"
    ]
