"""What the lists are filtered by, long lists, and the board."""

import dataclasses
import datetime
import json
import re
from collections import Counter
from typing import Any
from urllib.parse import parse_qsl

import pytest

from quaere.content import addresses
from quaere.content.model import Card, Library
from quaere.content.settings import Settings
from quaere.pages import board, facets, lists, parts, render
from tests.engine.test_pages import (
    REPO,
    Reading,
    answer,
    body,
    library,
    links_of,
    pages,
    paper,
    question,
    small,
    tried,
    view,
)

FAMILIES = {"Google": ["Google Brain", "Google Japan", "Google"], "Alone": ["École", "Nobody"]}


def data(of: Library, name: str) -> Any:
    return json.loads(render.files(view(of))[f"assets/data/{name}.json"])


def counted(of: Library, name: str) -> dict[str, dict[str, int]]:
    """Return how many papers have each value of each facet, as a script would count them."""
    found = data(of, name)
    rows = [
        {facet["name"]: [facet["values"][n] for n in item[at]] for at, facet in enumerate(found["facets"])}
        for item in found["items"]
    ]
    names = [facet["name"] for facet in found["facets"]]
    return {one: dict(Counter(value for row in rows for value in row[one])) for one in names}


def several() -> Library:
    """Papers that differ in all facets."""
    return library(
        paper("red", tags=("light", "warm"), affiliations=("Google Brain", "Google Japan"), implementation="red"),
        paper("blue", year="2021", tags=("light",), affiliations=("Google",), reading={"state": "to-read"}),
        paper("green", year="2021", affiliations=("École",), reading={"state": "read"}),
        paper("gray", year="", reading={"state": "read"}),
        settings=Settings(families=FAMILIES),
    )


def test_papers_are_chosen_by_what_their_cards_say() -> None:
    assert counted(several(), "papers") == {
        "tag": {"light": 2, "warm": 1, "": 2},
        "affiliation": {"Google Brain": 1, "Google Japan": 1, "Google": 1, "École": 1, "": 1},
        "year": {"2020": 1, "2021": 2, "": 1},
        "reading": {"": 1, "to-read": 1, "read": 2},
        "implemented": {"yes": 1, "no": 3},
        "outcome": {},
    }
    assert counted(tried(), "papers")["outcome"] == {"partly": 1}


def test_the_most_frequent_values_come_first_and_those_with_an_order_in_theirs() -> None:
    values = {one["name"]: one["values"] for one in data(several(), "papers")["facets"]}
    assert values["tag"] == ["light", "warm", ""]
    assert values["affiliation"][-1] == ""
    assert values["year"] == ["2021", "2020", ""]
    assert values["reading"] == ["to-read", "read", ""]


def test_a_family_is_its_members_as_far_as_they_are_here() -> None:
    facet = data(several(), "papers")["facets"][1]
    found = {name: {facet["values"][n] for n in members} for name, members in facet["families"].items()}
    assert found == {"Google": {"Google Brain", "Google Japan", "Google"}}


def test_questions_are_chosen_by_state_tag_and_paper_under_former_names_too() -> None:
    red = paper(
        "red", tags=("light",), formerly=("rouge",), questions=(question("held"), question("said", answer="So."))
    )
    found = data(library(red, paper("blue", questions=(question("why"),)), paper("none")), "questions")
    state, tag, by_paper = found["facets"]
    told = [
        (
            state["values"][at],
            [tag["values"][n] for n in found["papers"][one][0]],
            by_paper["values"][found["papers"][one][1][0]],
        )
        for one, at in found["items"]
    ]
    assert told == [("open", [], "blue"), ("open", ["light"], "red"), ("answered", ["light"], "red")]
    assert dict(zip(by_paper["values"], by_paper["labels"], strict=True)) == {"red": "On red", "blue": "On blue"}
    assert by_paper["former"] == {"rouge": "red"}


def test_the_texts_stand_in_the_order_of_the_choices() -> None:
    texts, found = data(several(), "papers-texts"), data(several(), "papers")
    assert [one[0] for one in texts["items"]] == list(view(several()).summaries)
    years = found["facets"][2]["values"]
    assert ["2020" if one[0] == "red" else "" if one[0] == "gray" else "2021" for one in texts["items"]] == [
        years[item[2][0]] for item in found["items"]
    ]
    of = small()
    asked = data(of, "questions-texts")
    assert [asked["papers"][0][0], [one[0] for one in asked["items"]]] == [
        "red",
        ["held", "changed", "failed", "unasked", "said"],
    ]
    (red,) = [one for one in data(of, "papers-texts")["items"] if one[0] == "red"]
    assert red[2:5] == ["Doe and Roe · 2020 · Annals", "An idea.", "Jane Doe, Rik Roe"]
    # Of blue and of red, for the order by open questions.
    assert data(of, "papers")["open"] == [0, 1]
    assert dict(zip(data(of, "papers-texts")["states"], red[5], strict=True)) == {
        "demonstrated": 1,
        "answered": 1,
        "unverified": 1,
        "broken": 1,
        "open": 1,
    }


def test_a_hostile_text_is_escaped_where_a_script_draws_it() -> None:
    bad = paper("bad", title="<script>alert(1)</script>", idea="<img src=x onerror=alert(1)> $<script>$", tags=("<b>",))
    (item,) = data(library(bad), "papers-texts")["items"]
    for text in (item[1], item[3]):
        assert Reading(text).faults() == []
        assert not Reading(text).all("img")


# Long lists


def many(count: int, **card: Any) -> Library:
    return library(*(paper(f"p{n:03}", year=str(2000 + n % 20), **card) for n in range(count)))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few things fill a page."""
    monkeypatch.setattr(parts, "PAPERS", 3)
    monkeypatch.setattr(parts, "QUESTIONS", 4)
    monkeypatch.setattr(parts, "LINES", 3)


def long(**more: Any) -> Library:
    asked = tuple(question(f"q{n}") for n in range(2))
    found = [paper(f"p{n}", year=str(2000 + n // 2), tags=("all", f"t{n % 5}"), questions=asked) for n in range(7)]
    return library(*found, paper("many", year="1999", questions=tuple(question(f"q{n}") for n in range(9))), **more)


@pytest.mark.usefixtures("few")
def test_a_long_list_goes_on_on_pages_of_its_own_and_holds_each_thing_once() -> None:
    made = {path: page.body for path, page in pages(long()).items()}
    listed = [
        slug for n in (1, 2, 3) for slug in re.findall(r'<h2 id="(\w+)"', made[addresses.part("papers/index.md", n)])
    ]
    assert listed == list(view(long()).summaries)
    asked = [made[addresses.part("questions.md", n)] for n in range(1, 6)]
    links = [link for one in asked for link in re.findall(r'href="[./]*papers/(\w+/#\w+)"', one)]
    assert sorted(links) == sorted(id.replace(".", "/#") for id in long().questions)
    # A paper's questions stay together, even if they are many.
    assert max(one.count("<li>") for one in asked) == 9
    assert "questions/page-6.md" not in made


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("has_folders", [True, False])
def test_the_pages_of_a_list_lead_to_one_another(has_folders: bool) -> None:
    made = pages(long(), has_folders=has_folders)
    first, second = (links_of(made[path].body) for path in ("papers/index.md", "papers/page-2.md"))
    assert first["Next →"] == ("page-2/" if has_folders else "page-2.html")
    assert second["← Previous"] == ("../" if has_folders else "index.html")
    assert second["3"] == ("../page-3/" if has_folders else "page-3.html")
    assert made["papers/page-2.md"].title == "Papers, page 2"
    assert not Reading(made["papers/page-2.md"].body).all("form")


@pytest.mark.usefixtures("few")
def test_each_year_leads_to_its_newest_paper_wherever_that_stands() -> None:
    links = links_of(body(long(), "papers/index.md"))
    assert (links["2003"], links["2002"], links["2000"]) == ("#p6", "#p4", "page-2/#p0") or links["2000"].endswith(
        "#p0"
    )
    where = {year: links[year] for year in ("2003", "2001", "1999")}
    assert where == {"2003": "#p6", "2001": "page-2/#p2", "1999": "page-3/#many"}


@pytest.mark.usefixtures("few")
def test_groups_that_one_page_does_not_hold_are_listed_with_the_place_where_they_begin() -> None:
    made = {path: page.body for path, page in pages(long()).items() if path.startswith("tags")}
    first = Reading(made["tags.md"])
    # The addresses of tags stay.
    assert {"all", *(f"t{n}" for n in range(5))} <= set(first.ids())
    assert links_of(made["tags.md"])["all"] == "page-2/#all"
    listed = Counter(slug for text in made.values() for slug in re.findall(r'papers/(p\d)/"', text))
    assert listed == {f"p{n}": 2 for n in range(7)}
    for path, text in made.items():
        assert len(Reading(text).ids()) == len(set(Reading(text).ids())), path
    assert sum(text.count('id="all"') for text in made.values()) == 1 + 3


@pytest.mark.usefixtures("few")
def test_lists_have_as_many_pages_as_are_told_and_no_more() -> None:
    shown = view(long())
    made = set(render.pages(shown))
    for path, length in lists.lengths(shown).items():
        assert {addresses.part(path, n) for n in range(1, length + 1)} <= made
        assert addresses.part(path, length + 1) not in made


def test_pages_of_a_large_library_stay_small() -> None:
    asked = tuple(question(f"q{n}") for n in range(3))
    of = library(
        *(
            paper(f"p{n:04}", tags=("a", "b", f"c{n % 40}"), affiliations=(f"d{n % 300}",), questions=asked)
            for n in range(1000)
        )
    )
    sizes = {path: len(page.body) for path, page in pages(of).items() if not re.match(r"papers/p\d", path)}
    assert max(sizes.values()) < 150_000, sizes
    shown = render.files(view(of))
    assert len(shown["assets/data/papers.json"]) < 40_000
    assert len(shown["assets/data/questions.json"]) < 70_000


def test_a_tag_leads_to_the_filters_that_have_it_chosen() -> None:
    made = body(library(paper("red", tags=("a & b", "é"))), "tags.md")
    assert 'href="../papers/?tag=a+%26+b"' in made
    assert 'href="../questions/?tag=%C3%A9"' in made
    other = body(library(paper("red", affiliations=("École",))), "affiliations.md")
    assert 'href="../papers/?affiliation=%C3%89cole"' in other


# The board


def asked_on(*days: str) -> Library:
    dates = [datetime.date.fromisoformat(day) for day in days]
    return library(paper("red", questions=tuple({**question(f"q{n}"), "asked": day} for n, day in enumerate(dates))))


def test_the_oldest_open_question_stands_first_with_the_line_to_answer_it_on() -> None:
    of = asked_on("2026-03-01", "2026-01-01", "2026-02-01")
    made = body(of, "board.md")
    assert re.findall(r"Why (q\d)\?", made) == ["q1", "q2", "q0"]
    assert re.findall(rf'href="{REPO}/edit/main/papers/red.yml#L(\d+)">answer this', made) == ["11", "12", "10"]
    assert "answer this" not in body(of, "board.md", repo="")


def test_the_board_tells_what_is_broken_unverified_and_open_and_nothing_else() -> None:
    reading = Reading(body(small(), "board.md"))
    assert [re.sub(r"\W*$", "", text) for text in reading.texts["h2"]] == [
        *("Broken (1", "Unverified (1", "Open (1", "Questions asked by month", "What is missing")
    ]


def test_the_board_tells_what_the_cards_lack() -> None:
    whole = paper(
        "whole",
        tags=("light",),
        affiliations=("École",),
        reading={"state": "read"},
        links=({"kind": "code", "title": "Code", "url": "https://example.org/"},),
    )
    assert "missing" not in body(library(whole), "board.md")
    made = Reading(
        body(
            library(whole, paper("bare", claims=({"id": "big", "says": "It is big.", "where": "1", "reported": "9"},))),
            "board.md",
        )
    )
    assert made.texts["h3"] == [
        *("Claims without an experiment (1)", "No affiliation (1)", "No link (1)", "No tag (1)", "No reading state (1)")
    ]
    assert "../papers/whole/" not in made.links()
    assert "../papers/bare/" in made.links()


def test_what_a_section_of_the_board_links_to_is_what_stands_in_it() -> None:
    bare = paper("bare", claims=({"id": "big", "says": "It is big.", "where": "1", "reported": "9"},))
    topic = dataclasses.replace(paper("about"), card=Card.model_validate({"title": "About"}))
    of = library(*several().papers.values(), bare, topic)
    sections = [one for one in board.context(view(of))["missing"] if one.query]
    assert len(sections) == 4
    counts = counted(of, "papers")
    for section in sections:
        ((facet, value),) = parse_qsl(section.query.removeprefix("?"), keep_blank_values=True)
        assert counts[facet][value] == len(section.rows), section.title


def test_a_stale_result_is_told_by_its_size() -> None:
    assert "Stale results" not in body(tried(), "board.md")
    reading = Reading(body(tried(key="then"), "board.md"))
    assert "Stale results (1)" in reading.texts["h3"]
    assert "small" in reading.text.partition("Stale results (1)")[2][:160]


def test_long_sections_are_folded_and_end_with_a_link_to_all() -> None:
    of = library(*(paper(f"p{n:03}", questions=(question("why"),)) for n in range(200)))
    made = body(of, "board.md")
    section = made.partition('id="asked_"')[0]
    assert section.count("answer this") == 165
    assert "150 more" in section
    assert 'And 35 more: <a href="../questions/?state=open">all 200</a>' in section


@pytest.mark.parametrize(
    ("days", "bars", "earlier"),
    [
        ((), [], 0),
        (("2026-01-31",), [("2026-01", 1)], 0),
        (
            ("2025-11-01", "2026-02-01", "2026-02-28"),
            [("2025-11", 1), ("2025-12", 0), ("2026-01", 0), ("2026-02", 2)],
            0,
        ),
    ],
)
def test_months_without_questions_have_their_place(
    days: tuple[str, ...], bars: list[tuple[str, int]], earlier: int
) -> None:
    found, before = board.months(map(datetime.date.fromisoformat, days))
    assert [(bar.month, bar.count) for bar in found] == bars
    assert before == earlier


def test_the_plot_ends_with_the_newest_question_and_counts_what_came_before_it_begins() -> None:
    days = [datetime.date(1, 1, 1), datetime.date(9999, 12, 31), datetime.date(9999, 12, 1), datetime.date(9997, 1, 1)]
    found, before = board.months(days)
    assert (len(found), found[0].month, found[-1].month, before) == (36, "9997-01", "9999-12", 1)
    assert found[-1].height == max(bar.height for bar in found) == 2 * found[0].height
    assert all(bar.x >= 0 and bar.x + bar.width <= 720 and 0 <= bar.y <= 96 for bar in found)


def test_the_plot_has_words_for_who_cannot_see_it_and_its_color_from_the_page() -> None:
    made = body(asked_on("2025-12-01", "2026-02-01", "2026-02-02"), "board.md")
    assert 'aria-label="Questions asked by month, from 2025-12 to 2026-02, 2 at most"' in made
    assert "2025-12: 1, 2026-02: 2" in made
    assert "style=" not in made
    assert "fill=" not in made


def test_an_answered_question_is_not_on_the_board() -> None:
    red = paper("red", questions=(question("said", answer="So."), question("held")), implementation="red")
    made = body(library(red, answers=(answer("red.held"),)), "board.md")
    assert "Why said?" not in made
    assert "Why held?" not in made


def test_facets_are_those_that_the_data_have() -> None:
    for name, known in {**facets.FACETS, "papers": facets.of_papers(view(several()))}.items():
        assert [one["name"] for one in data(several(), name)["facets"]] == list(known)
