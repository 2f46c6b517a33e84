"""What the head of a page tells programs: other forms, the paper, what kind of thing it is, and the sitemap."""

import dataclasses
import datetime
import json
import re
from typing import Any

import pytest

from quaere.content.bibliography.reference import OTHERS, Name
from quaere.content.history import History, Span
from quaere.content.model import Paper
from quaere.pages import head, render, sitemap
from quaere.site import policy
from tests.engine.test_pages import SITE, Reading, library, pages, paper, question, small, view

NASTY = "</script><script>alert(1)</script><!--\u2028\u2029\" onload='x' &amp;"


def told(of: Paper, **more: Any) -> Reading:
    return Reading(pages(library(of), **more)[f"papers/{of.slug}.md"].head)


def tags(of: Paper) -> dict[str, list[str]]:
    """Return the contents of the tags about a paper by their names."""
    found: dict[str, list[str]] = {}
    for meta in told(of).all("meta"):
        if meta.get("name", "").startswith("citation_"):
            found.setdefault(meta["name"].removeprefix("citation_"), []).append(meta["content"])
    return found


def cited(kind: str, **fields: str) -> Paper:
    made = paper("red", fields={"doi": "10.1000/red", "pages": "10--20", "volume": "3", **fields})
    return dataclasses.replace(made, reference=dataclasses.replace(made.reference, kind=kind))


def test_a_card_names_its_other_forms() -> None:
    links = Reading(pages(small())["papers/red.md"].head).all("link")
    # As the theme's script reads them, none is the site in another language; for all others it is an alternate.
    assert {(link["rel"] == "alternate", *link["rel"].split()) for link in links} == {(False, "alternate")}
    found = {link["type"]: link["href"] for link in links}
    assert {kind: href for kind, href in found.items() if "atom" not in kind} == {
        "application/x-bibtex": "../../assets/cards/red.bib",
        "application/x-research-info-systems": "../../assets/cards/red.ris",
        "application/vnd.citationstyles.csl+json": "../../assets/cards/red.csl.json",
        "text/markdown": "../../assets/cards/red.md",
        "application/x-ipynb+json": "../../assets/notebooks/red.ipynb",
    }
    made = render.files(view(small()))
    assert {href.removeprefix("../../") for href in found.values()} <= set(made)


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("article", {}, {"journal_title": ["Annals"], "doi": ["10.1000/red"]}),
        ("inproceedings", {"booktitle": "Proc.", "journal": ""}, {"conference_title": ["Proc."]}),
        ("incollection", {"booktitle": "Book", "journal": ""}, {"inbook_title": ["Book"]}),
        ("article", {"number": "7"}, {"volume": ["3"], "issue": ["7"]}),
        ("phdthesis", {"school": "TU", "journal": ""}, {"dissertation_institution": ["TU"]}),
        ("techreport", {"institution": "MIT", "number": "7"}, {"technical_report_number": ["7"]}),
        (
            "misc",
            {"eprint": "1706.03762", "archiveprefix": "arXiv"},
            {"arxiv_id": ["1706.03762"], "pdf_url": ["https://arxiv.org/pdf/1706.03762"]},
        ),
        ("article", {"url": "https://example.org/a.pdf"}, {"pdf_url": ["https://example.org/a.pdf"]}),
    ],
)
def test_a_card_tells_of_its_paper_in_the_tags_of_highwire(
    kind: str, fields: dict[str, str], expected: dict[str, list[str]]
) -> None:
    found = tags(cited(kind, **fields))
    assert found.items() >= expected.items()
    assert found["title"] == ["On red"]
    assert found["author"] == ["Jane Doe", "Rik Roe"]
    assert (found["publication_date"], found["firstpage"], found["lastpage"]) == (["2020"], ["10"], ["20"])


def named(**fields: str) -> Paper:
    """Return a paper by an organization, a person, and others."""
    made = paper("red", fields={"date": "2017-06-12", "year": "", "month": "", **fields}, tags=("light", "warm"))
    authors = (Name("WHO", is_literal=True), Name("Doe", "Jane"), OTHERS)
    return dataclasses.replace(made, reference=dataclasses.replace(made.reference, names={"author": authors}))


def test_a_day_is_written_as_highwire_does_and_who_is_not_named_is_left_out() -> None:
    found = tags(named())
    assert (found["publication_date"], found["author"]) == (["2017/06/12"], ["WHO", "Jane Doe"])


def test_the_article_of_a_card_is_known_by_its_day_its_authors_its_tags_and_its_names_elsewhere() -> None:
    fields = {"doi": "10.1000/red", "eprint": "1706.03762", "archiveprefix": "arXiv"}
    article = json.loads(told(named(**fields)).texts["script"][0])["about"]
    assert article == {
        "@type": "ScholarlyArticle",
        "headline": "On red",
        "author": [{"@type": "Organization", "name": "WHO"}, {"@type": "Person", "name": "Jane Doe"}],
        "datePublished": "2017-06-12",
        "isPartOf": {"@type": "PublicationVolume", "name": "Annals"},
        "keywords": ["light", "warm"],
        "sameAs": ["https://doi.org/10.1000/red", "https://arxiv.org/abs/1706.03762"],
    }


def test_there_is_one_item_of_coins_on_a_card_beside_its_tags() -> None:
    page = pages(small())["papers/red.md"]
    assert page.body.count("Z3988") == 1
    assert page.head.count("citation_title") == 1
    assert "citation_" not in pages(small())["papers/index.md"].head


def test_a_card_is_a_page_about_an_article_with_questions() -> None:
    made = Reading(pages(small(), site_url=SITE)["papers/red.md"].head)
    data = json.loads(made.texts["script"][0])
    assert (data["@type"], data["url"]) == ("WebPage", f"{SITE}papers/red/")
    article = data["about"]
    assert (article["@type"], article["headline"], article["datePublished"]) == (
        "ScholarlyArticle",
        "Red: a color",
        "2020",
    )
    assert [author["name"] for author in article["author"]] == ["Jane Doe", "Rik Roe"]
    answered = {one["name"]: one.get("acceptedAnswer", {}).get("text") for one in data["hasPart"]}
    # What does not hold is no answer.
    assert answered == {
        "Why held?": "Because.",
        "Why changed?": None,
        "Why failed?": None,
        "Why unasked?": None,
        "Why said?": "It is so.",
    }
    first = data["hasPart"][0]
    assert (first["url"], first["dateCreated"]) == (f"{SITE}papers/red/#held", "2026-01-31")


def test_whole_addresses_stand_only_where_the_site_has_one() -> None:
    def properties(**more: Any) -> dict[str, str]:
        metas = Reading(pages(small(), **more)["papers/red.md"].head).all("meta")
        return {meta["property"]: meta["content"] for meta in metas if "property" in meta}

    assert properties(site_url=SITE)["og:url"] == f"{SITE}papers/red/"
    assert properties(site_url=SITE, has_folders=False)["og:url"] == f"{SITE}papers/red.html"
    told = properties(site_url=SITE)
    assert (told["og:type"], told["og:image:alt"]) == ("article", "Red: a color")
    assert "og:url" not in properties()
    assert properties()["og:title"] == "Red: a color"
    home = Reading(pages(small(), name="House")["index.md"].head).all("meta")
    assert {"property": "og:title", "content": "House"} in home
    assert {"property": "og:type", "content": "website"} in home


def test_no_text_leaves_the_element_that_it_stands_in() -> None:
    nasty = paper("red", title=NASTY, idea=NASTY, tags=(NASTY,), questions=(question("held", ask=NASTY, answer=NASTY),))
    text = pages(library(nasty), name=NASTY, site_url=SITE, description=NASTY)["papers/red.md"].head
    found = Reading(text)
    assert {tag for tag, _ in found.elements} == {"link", "meta", "script"}
    assert len(found.all("script")) == 1
    (script,) = found.texts["script"]
    assert "<" not in script
    assert not set("\u2028\u2029") & set(script)
    assert json.loads(script)["about"]["headline"] == NASTY
    assert {"property": "og:title", "content": NASTY} in found.all("meta")
    assert not any(name.startswith("on") for _, attributes in found.elements for name in attributes)


def test_a_block_of_data_gets_no_hash_in_the_policy() -> None:
    page = '<head><script type="application/ld+json">{"a": 1}</script><script>b</script></head>'
    assert len(re.findall("sha256-", policy.put(page, page, "", is_served=False))) == 1


def test_the_sitemap_names_every_page_with_the_time_of_its_last_change() -> None:
    at = datetime.datetime(2026, 2, 3, tzinfo=datetime.UTC)
    before = at - datetime.timedelta(days=1)
    later = at + datetime.timedelta(days=1)
    history = History(
        {"papers/red.yml": Span(at, at), "house/red.py": Span(at, later), "papers/blue.yml": Span(before, before)}
    )
    of = small(docs={"a.md": "# A"}, unsound=frozenset({"lost"}))
    shown = view(of, site_url=SITE, history=history)
    made = {output.path: output.data(shown).decode() for output in sitemap.outputs(shown)}
    found = dict(re.findall("<loc>(.*?)</loc>(?:<lastmod>(.*?)</lastmod>)?", made["sitemap.xml"]))
    # A card at fault has no page.
    assert set(found) == {SITE + view(of).url(page) for page in of.pages - {"papers/lost.md"}}
    # A card's page changes with its answers.
    assert found[f"{SITE}papers/red/"] == "2026-02-04T00:00:00Z"
    assert found[f"{SITE}papers/blue/"] == "2026-02-02T00:00:00Z"
    # A list changes with any card.
    assert found[f"{SITE}papers/"] == "2026-02-03T00:00:00Z"
    assert found[f"{SITE}a/"] == ""
    assert made["robots.txt"].endswith(f"\nSitemap: {SITE}sitemap.xml\n")
    assert list(sitemap.outputs(view(of))) == []


def test_a_file_that_somebody_wrote_stands_in_for_one_that_is_made() -> None:
    made = render.files(view(small(files=frozenset({"robots.txt"})), site_url=SITE))
    assert "robots.txt" not in made
    assert "sitemap.xml" in made


def test_pages_without_a_card_are_described_by_the_site() -> None:
    shown = view(small(), description="A house.")
    told = head.context(shown, "questions.md", "Questions", "", None)
    assert (told["description"], told["data"], told["citation"]) == ("A house.", None, [])
