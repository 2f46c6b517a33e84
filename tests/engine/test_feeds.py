"""The feeds: valid Atom that a reader takes, stable ids, and no news without an event."""

import datetime
import re
from pathlib import Path
from typing import Any

import feedparser
import pytest
from lxml import etree

from quaere.content.history import History, Span
from quaere.content.model import Library
from quaere.pages import feeds, render
from quaere.pages.view import View
from quaere.project import Project
from tests.engine.test_pages import (
    ASKED,
    SITE,
    VERDICTS,
    Reading,
    answer,
    library,
    pages,
    paper,
    question,
    small,
    verdict,
    view,
)

ROOT = Path(__file__).parents[2]
GRAMMAR = etree.RelaxNG(etree.parse(Path(__file__).with_name("atom.rng")))
ATOM = "{http://www.w3.org/2005/Atom}"


def at(day: int, hour: int = 0) -> datetime.datetime:
    return datetime.datetime(2026, 2, day, hour, tzinfo=datetime.UTC)


HISTORY = History(
    files={"papers/red.yml": Span(at(1), at(9)), "papers/blue.yml": Span(at(2), at(2))},
    prose={"red.held": at(3), "red.said": at(4)},
    code={"red.held": at(5)},
)


def files(shown: View) -> dict[str, str]:
    return {output.path: output.data(shown).decode() for output in feeds.outputs(shown)}


def made(of: Library, **more: Any) -> dict[str, str]:
    return files(view(of, **{"site_url": SITE, "history": HISTORY, **more}))


def faults(text: str) -> list[str]:
    """Return where a feed departs from RFC 4287."""
    root = etree.fromstring(text.encode())
    found = [] if GRAMMAR.validate(root) else [str(GRAMMAR.error_log)]
    ids = [one.text for one in root.iter(f"{ATOM}id")]
    found += [f"{id} twice" for id in ids if ids.count(id) > 1]
    for entry in root.iter(f"{ATOM}entry", f"{ATOM}feed"):
        links = [(one.get("rel"), one.get("type"), one.get("hreflang")) for one in entry.iterfind(f"{ATOM}link")]
        found += [f"{link} twice" for link in links if links.count(link) > 1]
    return found


def entries(text: str) -> dict[str, Any]:
    read = feedparser.parse(text.encode(), resolve_relative_uris=False)
    assert not read.bozo
    return {entry.title: entry for entry in read.entries}


@pytest.mark.parametrize("site_url", [SITE, ""])
def test_feeds_are_valid_atom(site_url: str) -> None:
    for of in (small(), Library({}, {}, (), (), {})):
        for path, text in made(of, site_url=site_url).items():
            assert faults(text) == [], path
    assert faults(made(small())["feeds/all.xml"].replace("T00:00:00Z", "", 1))


def test_the_feeds_of_this_library_are_valid_and_hold_the_newest() -> None:
    project = Project.find(ROOT)
    shown = project.view(project.check()[0], name="House", site_url=SITE)
    found = files(shown)
    assert set(found) == {"feeds/all.xml", "feeds/papers.xml", "feeds/asked.xml", "feeds/answered.xml"} | {
        feeds.of_tag(shown, tag) for tag in shown.tags
    }
    for path, text in found.items():
        assert faults(text) == [], path
    asked = [entry.updated for entry in entries(found["feeds/asked.xml"]).values()]
    assert len(asked) == feeds.MOST
    assert asked == sorted(asked, reverse=True)
    assert asked[0][:10] == max(str(one.question.asked) for one in shown.library.questions.values())


def test_an_entry_tells_of_an_event_with_its_date_its_page_and_its_text() -> None:
    found = entries(made(small())["feeds/all.xml"])
    assert {title: entry.updated[:10] for title, entry in found.items()} == {
        "Paper: Red: a color": "2026-02-01",
        "Paper: On blue": "2026-02-02",
        **{f"Asked: Why {id}?": "2026-01-31" for id in ("held", "changed", "failed", "unasked", "said")},
        # One in code that passed, one in prose. Of those whose code has changed or failed nothing is told.
        "Answered: Why held?": "2026-02-05",
        "Answered: Why said?": "2026-02-04",
    }
    held = found["Answered: Why held?"]
    assert held.published[:10] == "2026-02-03"
    assert held.link == f"{SITE}papers/red/#held"
    assert "Because." in held.content[0].value
    assert [tag.term for tag in held.tags] == ["answered", "Warm colors", "light"]
    said = found["Answered: Why said?"].content[0].value
    assert "It is <em>so</em>." in said
    # In words, since a reader of feeds shows no colors.
    assert "Shown by code, about <a" in held.content[0].value
    assert "An answer in prose, about <a" in said
    assert Reading(found["Paper: On blue"].content[0].value).text == "Doe and Roe · 2021 · Annals An idea."


def test_a_feed_of_one_kind_tells_of_that_alone() -> None:
    found = made(small())
    whole = entries(found[feeds.path(feeds.ALL)])
    kinds = {kind: entries(found[feeds.path(kind)]).keys() for kind in feeds.Kind}
    assert all(title.startswith(feeds._LEADS[kind]) for kind, titles in kinds.items() for title in titles)
    assert all(kinds.values())
    assert {title for titles in kinds.values() for title in titles} == whole.keys()


def test_a_feed_of_a_tag_tells_of_its_papers_alone() -> None:
    found = made(small())
    assert "Paper: On blue" not in entries(found["feeds/tag-warm-colors.xml"])
    assert {"Paper: On blue", "Paper: Red: a color"} <= set(entries(found["feeds/tag-light.xml"]))
    links = {link.rel: link.href for link in feedparser.parse(found["feeds/tag-warm-colors.xml"].encode()).feed.links}
    assert links == {"self": f"{SITE}feeds/tag-warm-colors.xml", "alternate": f"{SITE}tags/#warm-colors"}


def test_without_git_an_event_has_the_date_of_its_question() -> None:
    found = entries(made(small(), history=History())["feeds/all.xml"])
    assert {entry.updated[:10] for entry in found.values()} == {str(ASKED)}
    # Nothing is known of a card without questions.
    assert "Paper: On blue" not in found
    assert "Paper: Red: a color" in found


def test_a_new_run_of_an_answer_and_rewording_are_no_news() -> None:
    def told(**more: Any) -> dict[str, str]:
        of = library(paper("red", questions=(question("held", **more),)), answers=(answer("red.held"),))
        return made(of)

    before = told()
    again = verdict()
    later = {**VERDICTS, "red.held": type(again)(**{**vars(again), "at": "2026-10-01T00:00:00+00:00", "seconds": 9.0})}
    of = library(paper("red", questions=(question("held"),)), answers=(answer("red.held"),))
    shown = render.view(of, later, repo="https://example.org/house", name="House", site_url=SITE, history=HISTORY)
    assert files(shown) == before
    ids = [
        set(re.findall("<id>(.*?)</id>|<updated>(.*?)<", text["feeds/all.xml"])) for text in (before, told(ask="Eh?"))
    ]
    assert ids[0] == ids[1]


def test_ids_are_those_of_the_repository_wherever_the_site_is_served() -> None:
    def ids(**more: Any) -> list[str]:
        return re.findall("<id>(.*?)</id>", made(small(), **more)["feeds/all.xml"])

    assert ids() == ids(site_url="https://elsewhere.example/") == ids(site_url="")
    assert set(ids()) & set(ids(repo="https://example.org/another")) == set()
    assert ids(repo="") != ids(repo="", site_url="https://elsewhere.example/")


def test_links_in_an_entry_are_whole_or_lead_from_the_feed() -> None:
    def told(**more: Any) -> str:
        said = question("said", answer="See [[blue]], [that](blue.yml), [it](https://example.org/a) and [[red.held]].")
        of = library(paper("red", questions=(said, question("held"))), paper("blue", notes="### A"))
        content: str = entries(made(of, **more)["feeds/all.xml"])["Answered: Why said?"].content[0].value
        return content

    rest = ["papers/blue/", "papers/blue/", "https://example.org/a", "papers/red/#held", "papers/red/"]
    assert Reading(told()).links() == [one if "//" in one else SITE + one for one in rest]
    assert Reading(told(site_url="")).links() == [one if "//" in one else "../" + one for one in rest]
    # The state of a question that is linked is no news of this one.
    assert "q-badge" not in told()


def test_a_feed_holds_what_no_text_can_end() -> None:
    nasty = "]]> </content> &lt; \x00\x0b\ufffe <script>alert(1)</script> \U0001f600"
    card = paper("red", title=nasty, tags=(nasty, "x" * 5000), questions=(question("held", ask=nasty, answer=nasty),))
    for path, text in made(library(card), name=nasty, description=nasty).items():
        assert faults(text) == []
        assert len(path) < 200
        for entry in entries(text).values():
            assert "\U0001f600" in entry.title
            assert Reading(entry.content[0].value).faults() == []


def test_pages_lead_to_their_feeds() -> None:
    made_pages = pages(small())

    def feeds_of(path: str) -> list[str]:
        told = Reading(made_pages[path].head).all("link")
        return [link["href"] for link in told if link["type"] == "application/atom+xml"]

    assert feeds_of("papers/index.md") == ["../feeds/papers.xml", "../feeds/all.xml"]
    assert feeds_of("questions.md") == ["../feeds/asked.xml", "../feeds/answered.xml", "../feeds/all.xml"]
    assert feeds_of("papers/red.md") == ["../../feeds/all.xml"]
    shown = {path: Reading(page.body).links() for path, page in made_pages.items()}
    assert "../feeds/papers.xml" in shown["papers/index.md"]
    assert "../feeds/asked.xml" in shown["questions.md"]
    assert "../feeds/tag-warm-colors.xml" in shown["tags.md"]
    assert not any("feeds/" in link for link in shown["affiliations.md"])
