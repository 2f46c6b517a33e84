"""What a paper rests on, what is like it, and how a lineage is drawn."""

import dataclasses
import re
from collections.abc import Mapping
from itertools import combinations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from quaere.content.states import State
from quaere.pages import lineage, parts
from quaere.pages.lineage import Kin
from quaere.pages.related import Related, related
from tests.engine.test_pages import (
    Reading,
    answer,
    body,
    drawn,
    library,
    pages,
    paper,
    question,
    small,
)


def kin(
    builds_on: Mapping[str, tuple[str, ...]],
    states: Mapping[str, State] | None = None,
    years: Mapping[str, int | None] | None = None,
) -> dict[str, Kin]:
    """Papers that build on one another; some have a question in a state."""
    return {
        slug: Kin(
            slug,
            slug,
            slug,
            Markup(slug),
            (years or {}).get(slug, 2020),
            False,
            before,
            ((states[slug], 1),) if states and slug in states else (),
        )
        for slug, before in builds_on.items()
    }


def rests_on(papers: dict[str, Kin]) -> dict[str, tuple[str, State]]:
    return {slug: (one.slug, one.state) for slug, one in lineage.troubles(papers).items()}


CHAIN = {"a": (), "b": ("a",), "c": ("b",), "d": ("c", "e"), "e": (), "f": ("e",)}


def test_what_does_not_hold_reaches_all_that_rest_on_it() -> None:
    assert rests_on(kin(CHAIN)) == {}
    assert rests_on(kin(CHAIN, {"a": State.OPEN, "b": State.ANSWERED, "c": State.DEMONSTRATED})) == {}
    broken = ("a", State.BROKEN)
    assert rests_on(kin(CHAIN, {"a": State.BROKEN})) == {"b": broken, "c": broken, "d": broken}
    # A broken answer far back counts before an unverified one near by; the paper's own are its own.
    unverified = {"a": State.BROKEN, "b": State.UNVERIFIED, "e": State.UNVERIFIED}
    assert rests_on(kin(CHAIN, unverified)) == {
        "b": broken, "c": broken, "d": broken, "f": ("e", State.UNVERIFIED)
    }  # fmt: skip


def test_a_circle_of_papers_ends() -> None:
    circle = kin({"a": ("c",), "b": ("a",), "c": ("b",)}, {"a": State.BROKEN})
    assert rests_on(circle) == {"b": ("a", State.BROKEN), "c": ("a", State.BROKEN)}
    (group,) = lineage.groups(circle)
    assert len(group.drawing.edges) == 3


SLUGS = [f"p{number}" for number in range(9)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(SLUGS), st.sampled_from(SLUGS)), max_size=20), st.integers(0, 3))
def test_every_paper_with_lineage_is_drawn_once_and_none_over_another(
    pairs: list[tuple[str, str]], spread: int
) -> None:
    before = {slug: tuple(dict.fromkeys(one for one, later in pairs if later == slug != one)) for slug in SLUGS}
    known = kin(before, years={slug: 2000 + at * spread for at, slug in enumerate(SLUGS)})
    groups = lineage.groups(known)
    nodes = [node for group in groups for node in group.drawing.nodes]
    joined = {slug for slug, one in known.items() if one.builds_on} | {
        slug for one in known.values() for slug in one.builds_on
    }
    assert sorted(node.slug for node in nodes) == sorted(joined)
    edges = [(earlier, later) for group in groups for earlier, later, _ in group.drawing.edges]
    assert sorted(edges) == sorted((earlier, slug) for slug, one in known.items() for earlier in one.builds_on)
    for group in groups:
        for drawing in (group.drawing, group.narrow):
            for one, other in combinations(drawing.nodes, 2):
                assert (
                    one.left + one.width <= other.left
                    or other.left + other.width <= one.left
                    or one.top + one.height <= other.top
                    or other.top + other.height <= one.top
                )
    assert lineage.groups(known) == groups


def spans(drawing: lineage.Drawing) -> dict[str, tuple[float, float, float]]:
    """Return where each paper's line runs down beside the boxes of a narrow drawing: across, from, to."""
    found: dict[str, tuple[float, float, float]] = {}
    for earlier, _, path in drawing.edges:
        numbers = [float(number) for number in re.findall(r"[\d.]+", path)]
        at, ends = numbers[3], (numbers[1], numbers[-2])
        _, low, high = found.get(earlier, (at, *ends))
        found[earlier] = at, min(low, *ends), max(high, *ends)
    return found


NUMBERS = st.integers(0, 47)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=120))
@example([(one, later) for one in range(24) for later in range(24, 48)])
def test_a_phone_s_drawing_is_as_wide_as_a_phone_and_no_two_papers_share_a_line(pairs: list[tuple[int, int]]) -> None:
    # In the order of their names, the last of a year would come first.
    before = {f"p{99 - n}": tuple({f"p{99 - one}" for one, later in pairs if later == n > one}) for n in range(48)}
    known = kin(before, years={slug: 1990 + n // 3 for n, slug in enumerate(before)})
    drawing = lineage.draw_narrow(known.values(), {})
    slugs = [node.slug for node in drawing.nodes]
    edges = [(one, other) for one, other, _ in drawing.edges]
    assert sorted(edges) == sorted((one, slug) for slug in before for one in before[slug])
    # What a paper builds on stands above it.
    assert all(slugs.index(one) < slugs.index(other) for one, other in edges)
    assert max(node.left + node.width for node in drawing.nodes) < drawing.years_at < drawing.width < 330
    for (at, low, high), (beside, begin, end) in combinations(spans(drawing).values(), 2):
        assert at > 0
        assert at != beside or high < begin or end < low


def test_years_follow_one_another_and_what_a_paper_builds_on_comes_first() -> None:
    before = {"a": (), "b": ("a",), "c": ("b",), "d": ("c",), "e": ("a",)}
    known = kin(before, years={"a": 1997, "d": None, "e": 2021})
    (group,) = lineage.groups(known)
    drawing = group.drawing
    assert drawing.is_turned
    assert [year.label for year in drawing.years] == ["1997", "2020", "2021", "?"]
    assert [year.start for year in drawing.years] == sorted(year.start for year in drawing.years)
    left = {node.slug: node.left for node in drawing.nodes}
    assert sorted(left, key=lambda slug: left[slug]) == ["a", "b", "c", "e", "d"]


def test_the_list_of_a_long_lineage_goes_on_on_pages_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "LINES", 5)
    star = {"root": (), **{f"p{number}": ("root",) for number in range(8)}}
    made = pages(library(*(paper(slug, builds_on=before) for slug, before in star.items())))
    first, *listed = [
        Reading(page.body) for path, page in sorted(made.items()) if path.startswith(("lineage.md", "lineage/"))
    ]
    assert set(star).isdisjoint(first.ids())
    assert "page-2/#year-2020" in first.links()
    found = [[id for id in page.ids() if id in star] for page in listed]
    assert [len(ids) for ids in found] == [5, 4]
    assert {id for ids in found for id in ids} == set(star)
    # A paper on another page is led to there, one on this page here.
    root = next(at for at, ids in enumerate(found) if "root" in ids)
    assert "#root" in listed[root].links()
    assert f"../page-{root + 2}/#root" in listed[1 - root].links()
    assert "../../lineage/" in Reading(made["papers/root.md"].body).links()


def test_a_large_group_is_drawn_in_part_and_listed_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "MOST", 5)
    star = {"root": (), **{f"p{number}": ("root",) for number in range(8)}}
    of = library(*(paper(slug, builds_on=before) for slug, before in star.items()))
    made = pages(of)
    listed, card = made["lineage.md"].body, made["papers/root.md"].body
    assert len(drawn(listed)[1]) == 5
    assert "Drawn: 5 of 9 papers" in Reading(listed).text
    assert set(star) <= set(Reading(listed).ids())
    assert len(drawn(card)[1]) == 6
    assert all(f"../{slug}/" in Reading(card).links() for slug in star if slug != "root")


def test_the_page_tells_states_and_what_papers_rest_on_in_words() -> None:
    made = Reading(pages(small())["lineage.md"].body)
    assert made.faults() == []
    assert "On blue builds on Red ! rests on Red, which has a broken answer" in made.text
    assert "Red: a color" in made.text
    titles = made.texts["title"]
    assert "Red: a color (2020): 1 demonstrated, 1 answered, 1 unverified, 1 broken, 1 open" in titles
    assert "On blue (2021): no questions; rests on Red, which has a broken answer" in titles
    assert "✓ 1 ¶ 1 ? 1 ✕ 1 ○ 1" in " ".join(" ".join(made.texts["svg"]).split())
    assert "Rests on ! Red, which has a broken answer" in Reading(body(small(), "papers/blue.md")).text


def test_what_holds_is_said_of_a_card_too() -> None:
    red = paper("red", implementation="red", questions=(question("held"),))
    of = library(red, paper("blue", builds_on=("red",)), answers=(answer("red.held"),))
    assert "no broken and no unverified answer" in body(of, "papers/blue.md")
    of = dataclasses.replace(of, answers=(dataclasses.replace(answer("red.held"), key="later"),))
    assert "which has an unverified answer" in body(of, "papers/blue.md")


def test_a_card_names_the_cards_that_link_to_it_from_any_text() -> None:
    texts = {
        "notes": paper("notes_", notes="[[red]]"),
        "questions": paper("asks", questions=(question("a", ask="Why [[red.held]]?"),)),
        "answers": paper("answers", questions=(question("a", answer="See [[red#notes]]."),)),
        "claims": paper("claims", claims=({"id": "a", "says": "As [[red|it]].", "where": "1", "reported": "2"},)),
        "rest": paper("rest", claims=({"id": "a", "says": "A.", "where": "As [[red]]", "reported": "2"},)),
        "reported": paper("reported", claims=({"id": "a", "says": "A.", "where": "1", "reported": "[[red]] + 1"},)),
        "quotes": paper("quotes", quotes=({"text": "No.", "note": "See [[red]]."},)),
        "idea": paper("idea", "Ideas: a list", idea="Like [[red]]."),
        "departs": paper("departs", departures=({"of": "paper", "from": "x", "where": "1", "what": "Not [[red]]."},)),
        "found": paper("found", departures=({"of": "paper", "from": "x", "where": "[[red]]", "what": "All."},)),
        "ran": paper("ran", implementation="red", questions=(question("a"),)),
        "code": paper("code", notes="`[[red]]`"),
        "lost": paper("lost", notes="[[nothing]]"),
    }
    of = library(*small().papers.values(), *texts.values(), answers=(answer("ran.a", prose="See [[red]]."),))
    made = body(of, "papers/red.md")
    linked = made.partition("Also linked from")[2].partition("</dd>")[0]
    names = {one.slug for one in texts.values()} - {"code", "lost"}
    assert sorted(Reading(linked).links()) == sorted(f"../{name}/" for name in names)
    # A name that is not all of the title has that beside it.
    assert [link["title"] for link in Reading(linked).all("a") if "title" in link] == ["Ideas: a list"]


def test_related_papers_share_what_few_have() -> None:
    many = {f"m{number}": ("common",) for number in range(8)}
    tags = {"here": ("common", "rare"), "alike": ("rare",), "later": ("rare", "other"), **many}
    before = {"here": ("base",), "twin": ("base",), "later": ("here",), "base": ()}
    slugs = dict.fromkeys([*tags, *before])
    of = library(*(paper(slug, tags=tags.get(slug, ()), builds_on=before.get(slug, ())) for slug in slugs))
    made = Reading(body(of, "papers/here.md"))
    words = made.text.partition("Related ")[2]
    # Those of the lineage itself are not named again.
    assert words.startswith("On twin also builds on On base On alike rare On m0 common")
    assert sum(f"On m{number}" in words for number in range(8)) == 4


def test_a_paper_that_both_build_on_counts_as_two_tags() -> None:
    found = related("here", {"light": ("here", "alike")}, {"base": ("here", "twin")}, ())
    assert found == [Related("twin", (), ("base",)), Related("alike", ("light",), ())]


def test_the_home_page_shows_the_papers_with_code() -> None:
    slugs: dict[str, tuple[str, ...]] = {f"p{number}": (f"p{number - 1}",) if number else () for number in range(40)}
    known = kin(slugs)
    with_code = {slug: dataclasses.replace(one, has_code=slug in ("p7", "p8", "p20")) for slug, one in known.items()}
    shown = lineage.at_home(with_code)
    assert shown
    assert [[node.slug for node in one.nodes] for one in (shown.drawing, shown.narrow)] == [["p7", "p8"]] * 2
    without = lineage.at_home(known)
    assert without
    assert len(without.drawing.nodes) <= 24
    assert lineage.at_home(kin({"a": (), "b": ()})) is None
