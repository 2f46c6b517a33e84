"""The pages that a small library makes: what stands on them, where links lead, and what a hostile card can't do."""

import dataclasses
import datetime
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

import nbformat
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quaere.content import addresses, wikilinks
from quaere.content.bibliography.reference import OTHERS, Name
from quaere.content.history import History, Span
from quaere.content.model import Answer, Card, Library, Module, Paper, Verdict
from quaere.content.results import Quantity, Result
from quaere.content.settings import Settings
from quaere.errors import ConfigError, Place
from quaere.pages import dots, exports, render
from quaere.pages.page import Heading, Page
from quaere.pages.view import Here, View
from tests.engine.conftest import reference

ASKED = datetime.date(2026, 1, 31)
REPO = "https://example.org/house"
SITE = "https://site.example/sub/"


def paper(
    slug: str, title: str = "", year: str = "2020", fields: dict[str, str] | None = None, **card: object
) -> Paper:
    file = f"papers/{slug}.yml"
    fields = {"title": title or f"On {slug}", "year": year, "journal": "Annals", **(fields or {})}
    cited = reference(slug, "article", (Name("Doe", "Jane"), Name("Roe", "Rik")), **fields)
    places: dict[tuple[str | int, ...], Place] = {(): Place(file)}
    places |= {("questions", index): Place(file, 10 + index) for index in range(9)}
    return Paper(slug, file, Card.model_validate({"cite": slug, "idea": "An idea.", **card}), cited, places)


def question(id: str, ask: str = "", **more: object) -> dict[str, object]:
    return {"id": id, "ask": ask or f"Why {id}?", "asked": ASKED, **more}


def answer(id: str, prose: str = "Because.", code: str = ">>> 1 + 1\n2") -> Answer:
    parts = (("text", prose), ("code", code))
    return Answer(id, "house.red", "house.red.Door", Place("house/red.py", 7), parts, ("house.red",), "now")


def verdict(passed: bool = True, key: str = "now", failure: str = "", commit: str = "0123456789+") -> Verdict:
    return Verdict(key, passed, failure, commit, {"python": "3.11.2"}, "2026-02-01T10:20:30+00:00", 0.125)


RED = '''"""A red one.

Source: Doe 2020, Section 1
"""

class Door:
    """Answers: red.held
        Because.

        >>> 1 + 1
        2
    """
'''


def library(*papers: Paper, answers: tuple[Answer, ...] = (), **more: Any) -> Library:
    modules = (
        Module("house", "house/__init__.py", "A house.", "1"),
        Module("house.red", "house/red.py", "A red one.", "2", RED),
        *more.pop("modules", ()),
    )
    return Library({one.slug: one for one in papers}, {}, answers, modules, {}, **more)


def small(**more: Any) -> Library:
    """Two papers, one built on the other, with a question in each state."""
    questions = tuple(question(id) for id in ("held", "changed", "failed", "unasked"))
    red = paper(
        "red",
        title="Red: a color",
        tags=("Warm colors", "light"),
        affiliations=("École",),
        implementation="red",
        questions=(*questions, question("said", answer="It is *so*.")),
        claims=({"id": "big", "says": "It is big.", "where": "Table 1", "reported": "9 | 10"},),
    )
    blue = paper("blue", year="2021", builds_on=("red",), tags=("light",), notes="### A\n\nSee [[red.held]].")
    return library(red, blue, answers=tuple(answer(f"red.{id}") for id in ("held", "changed", "failed")), **more)


EXPERIMENT = Module("house.experiments.red", "house/experiments/red.py", "Paints a wall.", "as it is")
KNOWN = {"id": "curve", "title": "Shades", "caption": "It *darkens*.", "alt": "From 1 to 2."}


def result(key: str = "as it is", words: str = "", **more: object) -> Result:
    """What an experiment on red found; `words` stand wherever it may put any."""
    line = {"kind": "lines", "x": words or "coats", "y": words or "shade", "levels": {words or "white": 0.0}}
    series = ({"name": words or "one", "x": (1, 2), "runs": ((1, 2), (2, 3))},)
    heatmap = {"kind": "heatmap", "rows": (words or "r",), "columns": (words or "c",), "values": ((1,),)}
    texts = dict.fromkeys(("title", "caption", "alt"), words) if words else {}
    finding = {
        "claim": "big",
        "outcome": "partly",
        "rule": words or "Partly if 1 is missing.",
        "ran": words or "two coats",
        "quantities": (
            {
                "name": words or "walls",
                "unit": words,
                "better": "higher",
                "arms": {words or "ours": (8, 9)},
                "reported": {words or "ours": 9},
                "levels": {words or "chance": 1},
            },
        ),
        "gates": ({"needs": words or "It dries.", "is_met": True, "measured": words or "2 h"},),
    }
    found = {
        "findings": (finding,),
        "figures": ({**KNOWN, **texts, **line, "series": series}, {**KNOWN, **texts, "id": "map", **heatmap}),
        "tables": (
            {"title": words or "Walls", "columns": (words or "name", "size"), "rows": ((words or "a", 12345.6),)},
        ),
        "notes": words,
        "settings": {words: words} if words else {},
    }
    ran = {"seconds": 125.0, "device": words or "a machine", "versions": {"python": "3.11.2"}, "seeds": (0, 1)}
    known = {
        "experiment": "red",
        "size": "small",
        "key": key,
        "commit": "0123456789",
        "at": "2026-02-01T10:20:30+00:00",
    }
    return Result.model_validate({**found, **ran, **known, **more})


def tried(**more: Any) -> Library:
    """The two papers, with an experiment on one of them and what it found."""
    return small(modules=(EXPERIMENT,), results={"red": (result(**more),)})


VERDICTS = {
    "red.held": verdict(),
    "red.changed": verdict(key="then"),
    "red.failed": verdict(passed=False, failure="Expected:\n    2\nGot:\n    ```3"),
}


def view(of: Library, **more: Any) -> View:
    citations = {slug: {"BibTeX": f"@article{{{slug}}}", "CSL-JSON": "[]"} for slug in of.papers}
    return render.view(of, VERDICTS, **{"citations": citations, "repo": REPO, "name": "House", **more})


def pages(of: Library, **more: Any) -> dict[str, Page]:
    """Make all pages; the documentation of each module is that of its class `Door`."""
    shown = view(of, **more)
    modules = [render.module(shown, one.name, f'<h2 id="{one.name}.Door">Door</h2>') for one in of.modules]
    return render.pages(shown) | {page.path: page for page in modules}


def body(of: Library, path: str = "papers/red.md", **more: Any) -> str:
    return pages(of, **more)[path].body


def part(name: str, of: Library, path: str = "index.md", **more: Any) -> str:
    return render.part(view(of, **more), render.PARTS[name], path)


def one_question(of: Library, id: str, **more: Any) -> str:
    """Return what the page of red shows of one question."""
    (found,) = [part for part in body(of, **more).split('<details class="q-question"') if f'id="{id}"' in part]
    return found


class Reading(HTMLParser):
    """What a browser would make of a page: its elements with their attributes, and the text inside each tag."""

    def __init__(self, body: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self.odd: list[str] = []
        self._text: list[str] = []
        self._open: list[str] = []
        self.feed(body)
        self.close()
        self.odd += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "a" and tag in self._open:
            self.odd.append("a link in a link")
        if tag not in {"br", "hr", "img", "input", "wbr"}:
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.odd.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        # The link of a heading to itself is none of its words.
        if self.elements and self.elements[-1][1].get("class") == "headerlink" and self._open[-1:] == ["a"]:
            return
        self._text.append(data)
        for tag in set(self._open):
            self.texts[tag][-1] += data

    def handle_comment(self, data: str) -> None:
        self.odd.append(f"<!--{data}")

    @property
    def text(self) -> str:
        return " ".join("".join(self._text).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    def links(self) -> list[str]:
        return [attributes["href"] for attributes in self.all("a") if "href" in attributes]

    def faults(self) -> list[str]:
        """Return what could run or fetch something, and what is no whole page."""
        found = [tag for tag, _ in self.elements if tag in {"script", "iframe", "object", "style", "base"}]
        # Drawings of ours.
        drawings = {"q-strip", "q-lineage", "q-months"}
        found += [tag for tag, attributes in self.elements if tag == "svg" and attributes.get("class") not in drawings]
        for tag, attributes in self.elements:
            found += [f"{tag} {name}" for name in attributes if name.startswith("on") or name == "style"]
            links = [attributes.get("href", ""), attributes.get("src", "")]
            found += [one for one in links if re.match(r"\s*((?!https?:|mailto:)[\w+.-]+:|//)", one, re.IGNORECASE)]
            found += [one for one in [attributes.get("src", "")] if "//" in one]
        return [*found, *self.odd]


def rows(body: str) -> list[list[str]]:
    """Return the cells of each row of the tables, without their heads."""
    made = [[Reading(cell).text for cell in re.findall("<td.*?</td>", row, re.DOTALL)] for row in body.split("<tr>")]
    return [cells for cells in made if cells]


def links_of(body: str) -> dict[str, str]:
    """Return the links by the words that stand in them."""
    found = re.findall(r'<a\b[^>]*href="([^"]*)"[^>]*>(.*?)</a>', body, re.DOTALL)
    return {Reading(words).text: address for address, words in found}


def test_there_is_a_page_for_each_card_and_for_each_list() -> None:
    cards = {"papers/red.md", "papers/blue.md"}
    made = render.pages(view(small()))
    code = {"code/house.md", "code/red.md"}
    assert set(made) == cards | code | addresses.LISTS
    assert all(page.path == path for path, page in made.items())
    assert {path: made[path].title for path in sorted(set(made) - cards)} == {
        "code/house.md": "house: the code",
        "code/red.md": "house.red: the code",
        "affiliations.md": "Affiliations",
        "board.md": "Board",
        "experiments.md": "Experiments",
        "index.md": "House",
        "lineage.md": "Lineage",
        "papers/index.md": "Papers",
        "questions.md": "Questions",
        "reference/index.md": "Reference",
        "tags.md": "Tags",
    }


def test_a_page_written_by_hand_is_not_made() -> None:
    made = render.pages(view(small(docs={"index.md": "# Home", "topics/color.md": "# Color", "papers/red.md": "# R"})))
    assert "index.md" not in made
    assert "papers/red.md" not in made
    assert "papers/blue.md" in made


@pytest.mark.parametrize(
    "path", [*sorted(addresses.LISTS), "papers/red.md", "papers/blue.md", "reference/red.md", "code/red.md"]
)
def test_a_page_is_whole_and_has_one_title(path: str) -> None:
    page = pages(tried())[path]
    reading = Reading(page.body)
    assert reading.faults() == []
    assert reading.texts["h1"] == [page.title]
    assert page.headings[0].words == page.title
    assert [one.level for one in page.headings] == [1]


NOTES = """\
[a](red.md), [b](red.yml#held), [c](../questions.md?state=open#red), [d](../topics/color.md#deep), [e](wall%201.png),
![f](<wall 1.png>), [g](#notes_), [h](../reference/red.md), [i](../files/x.pdf), [j](../index.md), [k](index.md),
[[red]], [[red.held]], [[blue#A]], ![[wall 1.png]], a[^1]

[^1]: b
"""


def linked() -> Library:
    """A library whose pages link to all there is to link to."""
    green = paper("green", notes=NOTES, departures=({"of": "paper", "from": "red", "where": "Eq. 1", "what": "Much."},))
    base = tried()
    return dataclasses.replace(
        base,
        papers={**base.papers, "green": green},
        docs={"topics/color.md": "# Colors\n\n[[red]] [[green]]", "topics/é & b.md": "[[green]]"},
        files=frozenset({"files/x.pdf"}),
        attachments={"papers/wall 1.png": "papers/wall 1.png"},
    )


@pytest.mark.parametrize("has_folders", [True, False])
def test_every_link_leads_to_a_page_and_an_id_that_are_there(has_folders: bool) -> None:
    of = linked()
    shown = view(of, has_folders=has_folders)
    made = {path: Reading(page.body) for path, page in pages(of, has_folders=has_folders).items()}
    others = {*of.docs, *of.files, *of.attachments, *render.files(shown)}
    where = {urljoin(SITE, shown.url(path)): path for path in {*made, *others}}
    checked = Counter[str]()
    for path, reading in made.items():
        for link in [*reading.links(), *(image["src"] for image in reading.all("img"))]:
            if link.startswith("https://"):
                continue
            assert not re.match(r"[/\\]|[\w+.-]+:", link), f"{path}: {link} is not relative"
            page, part = urldefrag(urljoin(urljoin(SITE, shown.url(path)), link))
            target = where.get(page.partition("?")[0])
            assert target, f"{path}: {link} leads to {page}"
            checked[target] += 1
            if part and target in made:
                assert unquote(part) in made[target].ids(), f"{path}: {link}"
    # What scripts load no page links to.
    linked_to = {path for path in {*made, *others} if not path.startswith("assets/data/")}
    assert set(checked) >= linked_to, "each is linked to"
    assert checked["papers/red.md"] > 10


def test_pages_without_folders_have_addresses_that_end_in_html() -> None:
    made = pages(linked(), has_folders=False)
    links = [link for page in made.values() for link in Reading(page.body).links() if not link.startswith("https://")]
    to_pages = {re.split("[?#]", link)[0] for link in links} - {""}
    named = re.compile(r"\.html$|assets/cards/|feeds/.*\.xml$")
    assert {link for link in to_pages if not named.search(link)} == {
        "../files/x.pdf",
        "../assets/notebooks/red.ipynb",
        "wall%201.png",
        *(f"../{path}" for path in exports.WHOLE),
        *("house.txt", "red.txt", "experiments.red.txt"),
    }
    assert {"red.html", "../papers/red.html", "papers/red.html", "../index.html", "index.html"} <= to_pages
    images = Reading(made["papers/green.md"].body).all("img")
    assert [image["src"] for image in images] == ["wall%201.png"] * 2


def test_a_page_in_a_folder_of_its_own_is_one_step_further_from_the_others() -> None:
    wanted = (
        *(("a", "../red/"), ("b", "../red/#held"), ("c", "../../questions/?state=open#red"), ("e", "../wall%201.png")),
        *(("d", "../../topics/color/#deep"), ("g", "#notes_"), ("h", "../../reference/red/"), ("j", "../../")),
        *(("i", "../../files/x.pdf"), ("k", "../"), ("← Papers", "../"), ("Why held?", "../red/#held")),
    )
    links = links_of(body(linked(), "papers/green.md"))
    assert [(words, links.get(words)) for words, _ in wanted] == list(wanted)


@pytest.mark.parametrize(
    ("target", "id"),
    [
        *(
            ("blue#notes", "notes_"),
            ("blue#notes_", "notes_"),
            ("blue#Notes", "notes_"),
            ("blue#A", "a"),
            ("blue#a", "a"),
        ),
        *(("red#held", "held"), ("red#big_claim", "big_claim"), ("red#Lineage", "lineage_")),
    ],
)
def test_a_wikilink_may_name_a_part_of_a_page(target: str, id: str) -> None:
    made = pages(small())
    slug = target.partition("#")[0]
    assert id in made[f"papers/{slug}.md"].ids
    link = Here(view(small()), "topics/x.md").inline(f"[[{target}|there]]")
    assert links_of(link)["there"] == f"../../papers/{slug}/#{id}"


def test_a_link_calls_a_paper_by_its_short_name_or_by_what_stands_before_the_colon_of_its_title() -> None:
    of = library(paper("red", "Red: a color"), paper("all", "Color Is All You Need", short="the Colorer"))
    words = Reading(Here(view(of), "topics/x.md").inline("[[red]] and [[all]], or [[all|this]]")).text
    assert words == "Red and the Colorer, or this"
    long = view(library(paper("red", "Red" * 200)))
    assert Reading(Here(long, "topics/x.md").inline("[[red]]")).text == "Red" * 100 + "…"
    made = body(of, "papers/all.md")
    assert Reading(made).texts["h1"] == ["Color Is All You Need"]


def test_a_link_that_leads_nowhere_is_text() -> None:
    notes = (
        "[a](none.md), [b](../docs/none.md), [c](../../red.md), ![d](none.png), [e](/red.md), [f](red.txt), [g](x.html)"
    )
    made = body(library(paper("red"), paper("one", notes=notes)), "papers/one.md")
    assert "a, b, c, d, e, f, g" in Reading(made).text
    assert not set("abcdefg") & set(links_of(made))


def test_a_document_beside_the_cards_is_linked_to_and_not_shown_as_a_picture() -> None:
    one = paper("one", notes="![a](b.pdf) [c](b.pdf)")
    reading = Reading(body(library(one, attachments={"papers/b.pdf": "papers/b.pdf"}), "papers/one.md"))
    assert reading.all("img") == []
    assert "../b.pdf" in reading.links()


def test_without_a_repository_nothing_can_be_edited_and_no_source_or_commit_is_linked() -> None:
    with_repo, without = (
        {path: Reading(page.body) for path, page in pages(tried(), repo=repo).items()} for repo in (REPO, "")
    )
    there = {link for reading in with_repo.values() for link in reading.links() if link.startswith("https://")}
    assert {link.removeprefix(REPO).split("/")[1] for link in there} == {"edit", "commit"}
    assert [link for reading in without.values() for link in reading.links() if ":" in link or not link] == []
    bare = view(small(), repo="")
    assert bare.edit("papers/red.yml") == bare.commit("0123456789") == ""
    text = without["papers/red.md"].text
    for gone in ("edit papers/red.yml", "answer it in the card"):
        assert gone in with_repo["papers/red.md"].text
        assert gone not in text
    for kept in ("house/red.py, line 7", "commit 012345678+", "commit 012345678 "):
        assert kept in with_repo["papers/red.md"].text
        assert kept in text
    assert without["reference/red.md"].text.endswith("Source: house/red.py. Door")


def test_an_answer_is_linked_at_the_commit_that_ran_if_its_line_was_the_same_there() -> None:
    def links(**more: Any) -> list[str]:
        ran = {"red.held": verdict(**{"commit": "0123456789", **more})}
        reading = Reading(render.pages(render.view(small(), ran, repo=REPO))["papers/red.md"].body)
        return [link for link in reading.links() if "/blob/" in link]

    assert links() == [f"{REPO}/blob/0123456789/house/red.py#L7"]
    for otherwise in ({"commit": "0123456789+"}, {"commit": ""}, {"key": "then"}):
        assert links(**otherwise) == [], otherwise


def test_the_address_of_the_repository_may_end_in_a_slash() -> None:
    assert body(small(), repo=f"{REPO}/") == body(small(), repo=REPO)


def test_a_question_is_found_at_its_id() -> None:
    reading = Reading(body(small()))
    assert {"held", "changed", "failed", "unasked", "said"} <= set(reading.ids())
    assert "Why held?" in reading.texts["h3"]


def test_a_card_shows_a_question_in_each_state() -> None:
    states = [one["data-state"] for one in Reading(body(small())).all("details") if one.get("class") == "q-question"]
    assert states == ["demonstrated", "unverified", "broken", "open", "answered"]


def test_a_stamp_says_when_and_on_what_an_answer_held() -> None:
    held = one_question(small(), "held")
    text = Reading(held).text
    stamp = r"passed 2026-02-01 10:20 UTC · 0\.1[23] s · commit 012345678\+ · python 3\.11\.2"
    assert re.search(rf"{stamp} · link to this question Because\.", text)
    assert links_of(held)["012345678+"] == f"{REPO}/commit/0123456789"
    assert links_of(held)["house/red.py, line 7"] == "../../code/red/#L7"
    assert links_of(held)["Door"] == "../../reference/red/#house.red.Door"
    assert [code.strip() for code in Reading(held).texts["pre"]] == [">>> 1 + 1\n2"]


def test_an_answer_can_be_copied_as_a_script_and_as_the_commands_that_run_it_and_is_in_a_notebook() -> None:
    held = one_question(small(), "held")
    assert "quaere verify red.held" in Reading(held).texts["code"]
    script, commands = (button["data-copy"] for button in Reading(held).all("button"))
    assert script == "1 + 1\n# 2\n"
    assert commands == f"git clone {REPO}\ncd house\npip install -e .\nquaere verify red.held\n"
    path = "assets/notebooks/red.ipynb"
    assert links_of(held)["Notebook of this card’s answers"] == f"../../{path}"
    book = nbformat.reads(render.files(view(small()))[path].decode(), as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(book)
    cells = [(cell.cell_type, cell.source) for cell in book.cells]
    assert cells[0] == ("markdown", f"# Red: a color\n\nRun it in a clone of <{REPO}>, after `pip install -e .`.")
    assert ("markdown", "Because.") in cells
    assert ("code", "1 + 1\n# 2") in cells
    assert "assets/notebooks/blue.ipynb" not in render.files(view(small()))


def test_links_to_cards_and_questions_are_words_in_a_notebook() -> None:
    prose = "See [[blue]], [[red.held|this]], [[red.said]] and [[nobody]], not `[[blue]]`."
    asked = (question("held"), question("said", ask="Is it so?"))
    red = paper("red", implementation="red", questions=asked)
    of = library(red, paper("blue"), answers=(answer("red.held", prose=prose),))
    book = json.loads(render.files(view(of))["assets/notebooks/red.ipynb"])
    assert "See On blue, this, “Is it so?” and nobody, not `[[blue]]`." in [cell["source"] for cell in book["cells"]]


def test_a_question_is_summed_up_by_the_first_sentence_of_its_answer() -> None:
    card = paper("one", questions=(question("a", answer="It is *so* by [[two]], e.g. at 1.5. Here, too.\n\nMore."),))
    assert (
        Reading(body(library(card, paper("two")), "papers/one.md")).text.count("It is so by On two, e.g. at 1.5.") == 2
    )


@pytest.mark.parametrize(
    ("answer", "first"),
    [
        ("Yes, it is so, as all of them say[^1]. More.\n\n[^1]: Note.", "Yes, it is so, as all of them say."),
        ("Yes, it is so, as all of them say.[^1] More.\n\n[^1]: Note.", "Yes, it is so, as all of them say."),
        (
            "Yes, in all of the cases that matter, i.e. in Fig. 2. More.",
            "Yes, in all of the cases that matter, i.e. in Fig. 2.",
        ),
        ("Yes, it is so^[a *note*], as all of them say. More.", "Yes, it is so, as all of them say."),
    ],
)
def test_the_first_sentence_of_an_answer_is_whole_and_without_its_footnotes(answer: str, first: str) -> None:
    (asked,) = view(library(paper("one", questions=(question("a", answer=answer),)))).summaries["one"].questions
    assert asked.brief == first


def test_a_stale_verdict_is_shown_as_past_and_a_failure_with_its_output() -> None:
    changed, failed = one_question(small(), "changed"), one_question(small(), "failed")
    assert "changed since its last successful run: 2026-02-01" in Reading(changed).text
    assert "passed" not in changed
    assert "Expected:\n    2\nGot:\n    ```3\n" in Reading(failed).texts["pre"]


def test_an_open_question_opens_the_card_at_its_line() -> None:
    unasked = one_question(small(), "unasked")
    assert links_of(unasked)["answer it in the card"] == f"{REPO}/edit/main/papers/red.yml#L13"
    assert "asked 2026-01-31" in Reading(unasked).text


def test_an_answer_never_run_says_so() -> None:
    made = render.pages(render.view(small(), {}))["papers/red.md"].body
    assert Reading(made).text.count("not run yet") == 3
    assert 'data-state="demonstrated"' not in made


def test_an_answer_in_prose_is_markdown() -> None:
    assert "<p>It is <em>so</em>.</p>" in one_question(small(), "said")


def test_a_question_that_names_itself_is_shown_all_the_same() -> None:
    red = paper("red", questions=(question("held", ask="Why [[red.held]]?"), question("b", ask="And [[red.held]]?")))
    assert Reading(body(library(red))).faults() == []
    assert Reading(body(library(red), "questions.md")).faults() == []


def drawn(body: str) -> tuple[list[str], set[str], list[tuple[str, str]]]:
    """Return the paper of the page, the others, and the edges of a lineage, as they are drawn."""
    reading = Reading(body)
    edges = [(one["data-from"], one["data-to"]) for one in reading.all("path") if "data-from" in one]
    others = {one["data-paper"] for one in reading.all("a") if "data-paper" in one}
    ends = {slug for edge in edges for slug in edge}
    return sorted(ends - others), others, edges


def test_lineage_goes_both_ways() -> None:
    made = pages(small())
    red, blue = made["papers/red.md"].body, made["papers/blue.md"].body
    assert drawn(red) == (["red"], {"blue"}, [("red", "blue")])
    assert drawn(blue) == (["blue"], {"red"}, [("red", "blue")])
    assert "../blue/" in Reading(red).links()
    assert "../red/" in Reading(blue).links()


def test_a_card_names_the_pages_that_discuss_it() -> None:
    docs = {
        "topics/color.md": "# Colors\n\n[[red]]",
        "code.md": "# No\n\n`[[red]]`",
        "part.md": "# Part\n\n[[red.held]]",
    }
    made = body(small(docs=docs))
    assert "Discussed in Colors, Part" in Reading(made).text
    assert links_of(made)["Colors"] == "../../topics/color/"
    # Also by a former name, and without what a heading only tells Markdown.
    renamed = library(paper("red", formerly=("rouge",)), docs={"a.md": "# About {#about .wide}\n\n[[rouge]]"})
    assert links_of(body(renamed))["About"] == "../../a/"


@pytest.mark.parametrize(
    ("path", "address"),
    [("a b.md", "a%20b/"), ("50%.md", "50%25/"), ("é.md", "%C3%A9/"), ("c#.md", "c%23/"), ("why?.md", "why%3F/")],
)
def test_a_page_written_by_hand_may_have_any_name(path: str, address: str) -> None:
    made = body(small(docs={path: "# Page\n\n[[red]]"}))
    assert links_of(made)["Page"] == f"../../{address}"


def test_a_card_tells_where_its_paper_is_found() -> None:
    fields = {
        "doi": "10.1000/a<b>(c)",
        "eprint": "2001.00001",
        "archiveprefix": "arXiv",
        "url": "https://e.org/a b?c=d&e",
    }
    links = links_of(body(library(paper("red", fields=fields))))
    assert links == {
        **links,
        "doi:10.1000/a<b>(c)": "https://doi.org/10.1000/a%3Cb%3E(c)",
        "arXiv:2001.00001": "https://arxiv.org/abs/2001.00001",
        "publisher’s page": "https://e.org/a%20b?c=d&amp;e",
    }


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"eprint": "2001.00001", "archiveprefix": "arXiv"}, "http://arxiv.org/pdf/2001.00001v2"),
        ({"doi": "10.1000/a"}, "https://dx.doi.org/10.1000/a"),
    ],
)
def test_an_address_that_leads_to_a_paper_by_its_identifier_is_not_shown_again(
    fields: dict[str, str], url: str
) -> None:
    assert "publisher’s page" not in body(library(paper("red", fields={**fields, "url": url})))


def test_of_very_many_authors_those_behind_the_first_are_counted_and_folded() -> None:
    names = [Name(f"Author{n}", "Ada") for n in range(31)]

    def shown(*authors: Name) -> str:
        made = paper("red")
        reference = dataclasses.replace(made.reference, names={"author": authors})
        return Reading(body(library(dataclasses.replace(made, reference=reference)))).text

    assert "more authors" not in shown(*names[:30])
    assert "Ada Author19 and 11 more authors Ada Author20, Ada" in shown(*names)
    assert "Ada Author19 and 11 more authors Ada Author20, Ada" in shown(*names, OTHERS)
    assert "Ada Author30 et al." in shown(*names, OTHERS)


def test_links_of_a_card_stand_by_kind() -> None:
    kinds = ("video", "discussion", "code", "blog", "article", "paper", "code")
    links = tuple({"kind": kind, "title": f"{kind} {n}", "url": f"https://e.org/{n}"} for n, kind in enumerate(kinds))
    shown = body(library(paper("red", links=links))).partition('id="links_">')[2].partition("</details>")[0]
    assert Reading(shown).text == (
        "Links Paper paper 5 Code code 2 · code 6 Articles article 4 Videos video 0 Blogs blog 3 "
        "Discussions discussion 1"
    )
    assert links_of(shown)["code 6"] == "https://e.org/6"


def test_papers_stand_by_year_the_newest_first_and_then_by_title_whatever_its_case() -> None:
    years = {"b": "2020", "A": "2020", "c": "", "C": "2021", "D": "2020"}
    of = library(*(paper(f"p{n}", title=title, year=year) for n, (title, year) in enumerate(years.items())))
    assert [one.title for one in view(of).summaries.values()] == ["C", "A", "b", "D", "c"]


def test_a_departure_names_where_it_is_from_and_the_test_that_shows_it() -> None:
    departures = (
        {"of": "paper", "from": "two", "where": "Eq. $1$", "what": "Much *more*.", "test": "test_much_more"},
        {"of": "implementation", "from": "torch <2", "where": "x.py", "what": "See [[two]]."},
    )
    made = body(library(paper("red", departures=departures), paper("two")))
    assert rows(made) == [
        ["Much more.", r"Eq. \(1\)", "On two", "test_much_more"],
        ["See On two.", "x.py", "torch <2", "–"],
    ]
    assert links_of(made)["On two"] == "../two/"


def test_a_card_can_be_cited_in_each_format() -> None:
    reading = Reading(body(small()))
    assert reading.texts["label"] == ["BibTeX", "CSL-JSON"]
    assert [label["for"] for label in reading.all("label")] == [input["id"] for input in reading.all("input")]
    assert [text.strip() for text in reading.texts["pre"][-2:]] == ["@article{red}", "[]"]
    assert "cite_" not in reading_of_uncited().ids()


def reading_of_uncited() -> Reading:
    return Reading(body(small(), citations={}))


def test_a_claim_says_that_nothing_was_measured() -> None:
    said = "It is big. Table 1 no experiment Reported: 9 | 10 A verdict would take: an experiment of this paper"
    assert "1 claim without an experiment" in Reading(body(small())).text
    assert said in " ".join(Reading(body(small())).text.split())


def test_a_claim_says_that_its_experiment_has_not_been_run_or_not_since_the_claim() -> None:
    assert "A verdict would take: a run of its experiment" in body(small(modules=(EXPERIMENT,)))
    assert "no verdict at this size" in body(small(modules=(EXPERIMENT,)))
    other = {"claim": "other", "outcome": "no experiment", "needed": "more"}
    assert "a new run: the claim is newer than the last one" in body(tried(findings=(other,)))


def test_a_claim_shows_what_was_reported_and_what_was_measured_side_by_side() -> None:
    text = " ".join(Reading(body(tried())).text.split())
    assert "It is big. Table 1 size small: two coats partly Reported: 9 | 10 walls (higher is better)" in text
    assert "ours" in text
    assert "8.5 (8 to 9); the paper: 9" in text
    assert "chance: 1" in text
    assert "Rule and conditions Partly if 1 is missing. Met: It dries. 2 h" in text
    gate = {"needs": "It dries.", "is_met": False, "measured": "2 h"}
    unmet = {"claim": "big", "outcome": "no verdict at this size", "needed": "a day", "rule": "1.", "gates": (gate,)}
    assert "Not met: It dries. 2 h" in Reading(body(tried(findings=(unmet,)))).text


def test_the_dots_of_a_quantity_lie_on_one_axis() -> None:
    made = Reading(body(tried()))
    assert [circle["cx"] for circle in made.all("circle") if "cx" in circle] == ["86.0%", "98.0%"]
    assert [text["x"] for text in made.all("text") if "%" in text.get("x", "")] == ["98.0%"]


FINITE = st.floats(allow_nan=False, allow_infinity=False)
SEEDS = st.lists(st.one_of(st.none(), st.floats()), min_size=1, max_size=4)


@example(arms={"a": [1.7e308, 1.7e308], "b": [-1.7e308]}, level=0.0, reported=0.0, log=False)
@example(arms={"a": [5e-324, 1.7e308]}, level=1.0, reported=1.0, log=True)
@example(arms={"a": [1.7976931348623157e308] * 3}, level=0.0, reported=0.0, log=False)
@given(
    arms=st.dictionaries(st.sampled_from("abc"), SEEDS, min_size=1), level=FINITE, reported=FINITE, log=st.booleans()
)
def test_every_value_of_a_quantity_has_its_place_on_the_axis(
    arms: dict[str, list[float | None]], level: float, reported: float, log: bool
) -> None:
    known = {"name": "score", "arms": arms, "levels": {"chance": level}, "reported": {"a": reported}, "log": log}
    plot = dots.plot(Quantity.model_validate(known))
    assert [row.arm for row in plot.rows] == [*arms]
    places = [place for row in plot.rows for place in (*row.dots, row.mean, row.reported) if place is not None]
    assert all(0 <= place <= 100 for place in (*places, *(one.place for one in plot.levels)))
    for row in plot.rows:
        assert len(row.dots) == sum(value is not None and math.isfinite(value) for value in arms[row.arm])


def test_a_claim_takes_the_largest_result_that_has_a_verdict() -> None:
    waits = {"claim": "big", "outcome": "no verdict at this size", "needed": "more paint"}
    small_one, gpu = result(), result(size="gpu", findings=(waits,))
    made = body(small(modules=(EXPERIMENT,), results={"red": (gpu, small_one)}))
    assert "size small: two coats" in Reading(made).text
    assert "A verdict would take: more paint" in body(tried(findings=(waits,)))
    assert Reading(made).faults() == []


def test_claims_that_were_tried_come_first() -> None:
    claims = ({"id": id, "says": f"It is {id}.", "where": "Table 1", "reported": "9"} for id in ("old", "big"))
    red = paper("red", implementation="red", claims=tuple(claims))
    told = body(library(red, results={"red": (result(),)}))
    assert told.index("It is big.") < told.index("It is old.")


def test_a_result_whose_code_has_changed_is_marked_stale() -> None:
    fresh, stale = body(tried()), body(tried(key="as it was"))
    assert ("stale" in fresh, stale.count("stale: the code has changed since")) == (False, 2)


def test_a_card_shows_its_experiment_with_where_it_ran() -> None:
    made = body(tried())
    text = Reading(made).text
    assert "Paints a wall. Its code: house.experiments.red." in text
    assert links_of(made)["house.experiments.red"] == "../../reference/experiments.red/"
    assert "quaere run red --size small\nquaere notebook red\n" in "".join(Reading(made).texts["pre"])
    assert (
        "2026-02-01 10:20 UTC · 2 min · size small · seeds 0, 1 · a machine · commit 012345678 · python 3.11.2" in text
    )
    assert rows(made)[-1] == ["a", "12,346"]


def test_an_experiment_that_was_not_run_says_so() -> None:
    assert "There is no result yet." in Reading(body(small(modules=(EXPERIMENT,)))).text


def test_a_card_folds_away_what_the_experiment_was_set_to() -> None:
    settings = {"seeds": 3, "text": {"batch_size": 16, "rate": 0.002, "files": None}, "lags": [10, 2000], "none": []}
    made = body(tried(settings=settings))
    assert rows(made[made.index('class="q-settings"') :]) == [
        ["seeds", "3"],
        ["text, batch size", "16"],
        ["text, rate", "0.002"],
        ["text, files", "–"],
        ["lags", "10, 2000"],
        ["none", "none"],
    ]
    assert 'class="q-settings"' not in body(tried())


def test_each_figure_of_a_result_is_there_for_light_and_dark_pages_with_words_for_who_cannot_see_it() -> None:
    shown = view(tried())
    reading = Reading(render.pages(shown)["papers/red.md"].body)
    key, images = reading.all("img")[:2], reading.all("img")[2:]
    assert [image["src"] for image in key] == [image["src"] for image in images[:2]]
    paths = [f"assets/results/red-small-{id}-{ground}.svg" for id in ("curve", "map") for ground in ("light", "dark")]
    assert [image["src"] for image in images] == [f"../../{path}#only-{path[-9:-4].strip('-')}" for path in paths]
    assert {image["alt"] for image in images} == {"From 1 to 2."}
    drawings = render.files(shown)
    assert {path for path in drawings if path.startswith("assets/results/")} == set(paths)
    assert all(drawings[path].startswith(b"<svg") for path in paths)
    assert "Shades. It darkens." in reading.text


def test_a_figure_is_drawn_again_only_when_it_or_what_draws_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[bytes, str] = {}
    drawn: list[str] = []

    def keep(source: bytes, make: Callable[[], str]) -> str:
        if source not in kept:
            drawn.append(make())
            kept[source] = drawn[-1]
        return kept[source]

    first = render.files(render.view(tried(), {}, kept=keep))
    assert render.files(render.view(tried(), {}, kept=keep)) == first
    assert len(drawn) == 4
    monkeypatch.setattr("quaere.pages.figures.recipe", lambda: b"another")
    render.files(render.view(tried(), {}, kept=keep))
    assert len(drawn) == 8


def test_notes_of_a_result_are_markdown_with_headings_below_the_experiments() -> None:
    made = pages(tried(notes="# Seen\n\nAs [[blue]] *says*."))["papers/red.md"]
    assert "As On blue says." in Reading(made.body).text
    experiment = next(one for one in made.headings[0].below if one.id == "experiment_")
    assert [(one.level, one.id, one.words) for one in experiment.below] == [(3, "seen", "Seen")]


def test_the_page_of_experiments_counts_what_became_of_the_claims() -> None:
    made = body(tried(), "experiments.md")
    assert links_of(made)["Red: a color"] == "../papers/red/#experiment_"
    assert ("1 partly" in Reading(made).text, "blue" in made) == (True, False)
    assert [image["src"] for image in Reading(made).all("img")] == [
        f"../assets/results/red-small-curve-{ground}.svg#only-{ground}" for ground in ("light", "dark")
    ]
    assert "There is no experiment yet." in body(small(), "experiments.md")


def test_a_page_written_by_hand_can_show_the_benchmarks() -> None:
    of = small(benchmarks=result())
    made = part("benchmarks", of, "speed.md")
    assert Reading(made).all("img")[0]["src"] == "../assets/results/benchmarks-curve-light.svg#only-light"
    assert "12,346" in Reading(made).text
    assert "No benchmark has been run yet." in part("benchmarks", small(), "speed.md")
    assert "assets/results/benchmarks-curve-dark.svg" in render.files(view(of))


def test_benchmarks_of_other_code_are_marked_stale_and_experiments_do_not_matter() -> None:
    def shown(*modules: Module, key: str) -> str:
        return part("benchmarks", small(modules=modules, benchmarks=result(key)))

    code = Module("house.red", "house/red.py", "Red.", "as it is")
    key = small(modules=(code,)).code_key
    assert "stale" not in shown(code, key=key)
    assert "stale" not in shown(code, EXPERIMENT, key=key)
    assert "stale: the code has changed since" in shown(dataclasses.replace(code, key="changed"), key=key)


def test_questions_stand_below_their_papers_and_the_facets_wait_for_a_script() -> None:
    reading = Reading(body(small(), "questions.md"))
    assert "hidden" in reading.all("form")[0]
    assert [one["data-facet"] for one in reading.all("fieldset")] == ["state", "tag", "paper"]
    assert [text for text in reading.texts["li"] if "Why" in text] == [
        *("Why held? demonstrated", "Why changed? unverified", "Why failed? broken", "Why unasked? open"),
        "Why said? answered",
    ]


def test_questions_link_to_where_they_stand_and_hold_no_other_link() -> None:
    red = paper(
        "red",
        questions=(question("held", ask="Is [[blue]] *this*, <https://e.org> or [[red.said]]"), question("said")),
    )
    made = body(library(red, paper("blue")), "questions.md")
    assert Reading(made).faults() == []
    assert links_of(made)["Is On blue this, https://e.org or Why said?"] == "../papers/red/#held"


def test_tags_that_look_alike_have_headings_of_their_own() -> None:
    alike = library(paper("one", tags=("CNNs", "cnns")), paper("two", tags=("C++", "c")))
    made = pages(alike)
    assert {"cnns", "cnns_2", "c", "c_2"} <= made["tags.md"].ids
    links = links_of(made["papers/two.md"].body)
    assert (links["c"], links["C++"]) == ("../../tags/#c", "../../tags/#c_2")


HOSTILE = "</h1><script>alert(1)</script> | a_b_c *d* [x](javascript:e) {onclick=f} `g` $h$ &amp; \"i' -->"


def hostile_card() -> Paper:
    plain = {"id": "big", "says": HOSTILE, "where": HOSTILE, "reported": HOSTILE}
    departure = {"of": "paper", "from": HOSTILE, "where": HOSTILE, "what": HOSTILE, "test": "test_x"}
    return paper(
        "bad",
        title=HOSTILE,
        fields={"journal": HOSTILE, "doi": '10.1/"><script>', "url": "https://e.org/(a)_b_\"onclick='x'$1$"},
        idea=HOSTILE,
        tags=(HOSTILE,),
        affiliations=(HOSTILE,),
        reading={"state": "read", "through": HOSTILE},
        links=({"kind": "code", "title": HOSTILE, "url": 'https://e.org/"onmouseover="x"/$a$_b_<script>(c)'},),
        questions=(question("held", ask=HOSTILE),),
        departures=(departure,),
        claims=(plain,),
        notes=HOSTILE,
    )


def is_harmless(link: str) -> bool:
    return re.fullmatch(r"https://[^\s<>\"'`|]+|[\w./#?=%+-]*", link) is not None


def test_a_hostile_result_puts_nothing_alive_on_a_page() -> None:
    made = pages(tried(words=HOSTILE, commit=HOSTILE, at=HOSTILE, size=HOSTILE, versions={HOSTILE: HOSTILE}))
    for page in made.values():
        reading = Reading(page.body)
        assert reading.faults() == []
        assert all(map(is_harmless, reading.links()))


@pytest.mark.parametrize("path", ["papers/bad.md", *sorted(addresses.LISTS)])
def test_a_hostile_card_puts_nothing_alive_on_a_page(path: str) -> None:
    citations = {"bad": {HOSTILE: HOSTILE}}
    reading = Reading(body(library(hostile_card()), path, name=HOSTILE, citations=citations, repo='https://e.org/"a'))
    assert reading.faults() == []
    assert [link for link in reading.links() if not is_harmless(link) and '"' not in link] == []


def test_a_hostile_verdict_and_module_put_nothing_alive_on_a_page() -> None:
    bad = Module("house.red", f"house/{HOSTILE}.py", HOSTILE, "2")
    of = small(modules=(bad,))
    of = dataclasses.replace(of, modules=tuple(one for one in of.modules if one is bad or one.name == "house"))
    verdicts = {"red.held": Verdict("now", False, HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, HOSTILE, 1.0)}
    shown = render.view(of, verdicts, repo=REPO)
    made = [render.module(shown, "house.red", ""), *render.pages(shown).values()]
    assert [fault for page in made for fault in Reading(page.body).faults()] == []


def test_a_hostile_title_is_shown_as_it_is_written() -> None:
    page = pages(library(hostile_card()))["papers/bad.md"]
    reading = Reading(page.body)
    assert reading.texts["h1"] == [page.title] == [HOSTILE]
    assert page.headings[0].words == HOSTILE
    assert [len(reading.texts[tag]) for tag in ("tr", "td", "th")] == [2, 4, 4]


@pytest.mark.parametrize(
    "notes",
    [
        "<script>alert(1)</script>",
        "a <img src=x onerror=alert(1)> b",
        "</div></div>\n\n<style>*{display:none}</style>",
        "[x](javascript:alert(1))",
        "[x](java&Tab;script:alert(1))",
        "[x][y]\n\n[y]: javascript:alert(1)",
        "[x](https://e.org){ onclick=alert(1) }",
        "``` {.mermaid onclick=alert(1)}\nx\n```",
        '```a"onclick="x\n<script>\n```',
        "![x](https://e.org/pixel.png)",
        "![x](//e.org/pixel.png)",
        "![[//e.org/pixel.png]]",
        "[x](/\\e.org) [y](//e.org/papers/wall.png) ![z](//e.org/papers/wall.png)",
        "$a<script>alert(1)</script>$",
        "<!-- --><script>alert(1)</script>",
        "{{ view }} {% include 'x' %}",
        "</textarea></title></article>",
    ],
)
def test_hostile_notes_and_answers_put_nothing_alive_on_a_page(notes: str) -> None:
    bad = paper("bad", notes=notes, implementation="red", questions=(question("held", answer=notes), question("shown")))
    of = library(bad, answers=(answer("bad.shown", prose=notes),), attachments={"papers/wall.png": "papers/wall.png"})
    made = body(of, "papers/bad.md")
    assert Reading(made).faults() == []
    assert Reading(made).all("img") == []
    whole = Reading(
        re.sub(r'<span class="q-brief">.*?</span>\s*</summary>|<button.*?</button>', "", made, flags=re.DOTALL)
    ).text
    for words in ("script", "style", "view", "textarea"):
        assert whole.count(words) % 3 == 0, "what stands in all three is shown in all three"


def test_a_line_of_a_card_may_hold_code_math_and_links() -> None:
    card = paper("one", idea="Not `a_b` but $|x_1|$, *self* or 2 * 3 * a_b_, see [[two|that]].")
    page = pages(library(card, paper("two")))["papers/one.md"]
    line = (
        r'<p class="q-idea">Not <code>a_b</code> but <span class="arithmatex">\(|x_1|\)</span>, <em>self</em> or '
        '2 * 3 * a_b_, see <a href="../two/">that</a>.</p>'
    )
    assert line in page.body


def test_mathematics_is_unicode_where_none_is_drawn() -> None:
    asked = question("a", ask="Why $x^2$, not `\\(x\\)`?", answer="So.")
    card = paper(
        "one",
        idea="As $x^2$, see [[one.a]].",
        questions=(asked,),
        notes="![A $y^2$](https://e.org/a.png) ![$z^2$](a.png)",
    )
    of = library(card, files={"papers/a.png": "papers/a.png"})
    shown = view(of)
    page = render.pages(shown)["papers/one.md"]
    assert page.description == r"As x², see Why x², not \(x\)?."
    assert r"<title>Asked: Why x², not \(x\)?</title>" in render.files(shown)["feeds/asked.xml"].decode()
    assert '"Why x\\u00b2, not' in page.head
    assert ">A y²</a>" in page.body
    assert "z²" in page.body


def test_a_page_is_described_in_plain_words() -> None:
    card = paper("one", idea="Not `a_b`, *see* [[two|that]] & more.")
    made = pages(library(card, paper("two")))
    assert made["papers/one.md"].description == "Not a_b, see that & more."
    assert made["code/red.md"].description == made["reference/red.md"].description == "A red one."


def test_code_has_its_language_and_its_colors() -> None:
    notes = "```python\nif a < b:\n    pass\n```\n\n```klingon\na < b\n```\n\n    a < b"
    made = body(library(paper("one", notes=notes)), "papers/one.md", citations={})
    reading = Reading(made)
    assert [one["class"] for one in reading.all("div") if "highlight" in one.get("class", "")] == [
        f"language-{name} highlight" for name in ("python", "klingon", "text")
    ]
    assert reading.texts["code"][-3:] == ["if a < b:\n    pass\n", "a < b\n", "a < b\n"]
    assert '<span class="k">if</span>' in made


def test_code_that_holds_fences_stays_inside_its_own() -> None:
    shown = answer("red.held", code='>>> print("```")\n```\n>>> print("<div>")\n<div>')
    red = paper("red", implementation="red", questions=(question("held"),))
    reading = Reading(body(library(red, answers=(shown,))))
    assert any('print("```")\n```\n' in text for text in reading.texts["pre"])
    assert reading.faults() == []


# Headings and ids


def test_the_headings_of_a_page_form_a_tree() -> None:
    notes = "### A <b>\n\n##### Deep\n\n#### B & `c`\n\n### D\n\n#### A <b>"
    red = paper(
        "red", title="Red & green", notes=notes, questions=(question("held", answer="# In *it*"), question("b"))
    )
    page = pages(library(red), citations={})["papers/red.md"]
    assert page.headings == (
        Heading(
            1,
            "red-green",
            "Red & green",
            (
                Heading(
                    2,
                    "questions_",
                    "Questions",
                    (Heading(3, "held", "Why held?", (Heading(4, "in-it", "In it"),)), Heading(3, "b", "Why b?")),
                ),
                Heading(
                    2,
                    "notes_",
                    "Notes",
                    (
                        Heading(3, "a-b", "A <b>", (Heading(4, "b-c", "B & c"),)),
                        Heading(3, "d", "D", (Heading(4, "a-b_1", "A <b>"),)),
                    ),
                ),
                Heading(2, "history_", "History"),
            ),
        ),
    )


def test_a_page_without_headings_has_no_tree() -> None:
    assert Page("a.md", "A", "<p>a</p>").headings == ()
    assert Page("a.md", "A", "").ids == frozenset()


def test_a_heading_before_a_higher_one_stands_beside_it() -> None:
    page = Page("a.md", "A", '<h3 id="a">A</h3><h2 id="b">B</h2><h5 id="c">C</h5><h4 id="d">D</h4>')
    assert page.headings == (Heading(3, "a", "A"), Heading(2, "b", "B", (Heading(4, "d", "D"),)))


def test_a_page_knows_its_ids_from_what_is_only_written() -> None:
    for page in pages(
        library(paper("red", notes='Not id="this", `id="that"` nor [x](https://e.org \'id="it"\').'))
    ).values():
        assert page.ids == set(Reading(page.body).ids())


def test_a_title_of_a_link_in_a_heading_is_none_of_its_words() -> None:
    page = pages(library(paper("red", notes='### a [b](https://e.org "c > d")')), citations={})["papers/red.md"]
    assert page.headings[0].below[0].below[0].words == "a b"


def test_a_heading_of_the_notes_takes_no_id_of_a_question_a_claim_or_a_section() -> None:
    claims = ({"id": "big", "says": "It is big.", "where": "Table 1", "reported": "9"},)
    notes = "### Held\n\n### big_claim\n\n### notes_\n\n### Red"
    red = paper("red", title="Red", notes=notes, questions=(question("held"),), claims=claims)
    found = pages(library(red), citations={})["papers/red.md"].headings[0]
    assert found.id == "red"
    assert [one.id for one in found.below] == ["questions_", "notes_", "claims_", "history_"]
    assert [one.id for one in found.below[0].below] == ["held"]
    assert [one.id for one in found.below[1].below] == ["held_1", "big_claim_1", "notes", "red_1"]


def crowded() -> Library:
    """Cards that are called as pages are, with headings that are called as all else is."""
    names = ("papers", "questions", "experiments", "tags", "affiliations", "reference", "house")
    words = ("held", "notes_", "Notes", "big_claim", "curve_figure", "__tabbed_1_1", "fn-t1-1", "house")
    notes = "".join(f"### {name}\n\n" for name in words)
    cards = [
        paper(
            name,
            title=name,
            notes=f"{notes}a[^1]\n\n[^1]: b",
            claims=({"id": "big", "says": "It is big.", "where": "Table 1", "reported": "9"},),
            questions=(question("held"), question("notes"), question("house", answer="a[^1]\n\n[^1]: b\n\n### held")),
            tags=("Tags", "tags", "Papers"),
            affiliations=("Affiliations",),
        )
        for name in names
    ]
    modules = tuple(dataclasses.replace(EXPERIMENT, name=f"house.experiments.{name}") for name in names)
    return library(
        *cards, modules=modules, results={name: (result(notes="### held\n\n### map_figure"),) for name in names}
    )


@pytest.mark.parametrize("path", [*sorted(addresses.LISTS), "papers/house.md"])
def test_no_page_has_an_id_twice(path: str) -> None:
    ids = Reading(body(crowded(), path)).ids()
    assert [id for id, count in Counter(ids).items() if count > 1] == []
    if path == "papers/house.md":
        assert {"held", "notes", "house", "notes_", "big_claim", "curve_figure", "questions_"} <= set(ids)


@pytest.mark.parametrize("name", ["What holds", "Newest cards", "red"])
def test_the_name_of_a_site_may_be_that_of_a_part_of_its_home(name: str) -> None:
    ids = Reading(body(small(), addresses.HOME, name=name)).ids()
    assert [id for id, count in Counter(ids).items() if count > 1] == []


# Pages written by hand, and what they ask for


TEXT = """[[red]] and [[red.held|its *first* question]], \\[[not]] this.

```text
[[red]] <!-- quaere:states -->
```

- ~~~
  [[red]]
  ~~~

`[[red]]` and ``a ` [[red]]`` but $x[[red]]$ and $$[[red]]$$ and <!-- [[red]] -->

[[nobody]] [[nobody|some text]] [[ red ]]
"""


def test_wikilinks_stand_outside_code_math_and_comments() -> None:
    found = [(TEXT[at : at + 2], target) for at, target in wikilinks.wikilinks(TEXT)]
    assert found == [("[[", name) for name in ("red", "red.held", "nobody", "nobody", "red")]


def test_an_unclosed_fence_reaches_to_the_end() -> None:
    assert list(wikilinks.wikilinks("[[a]]\n\n```\n[[b]]\n")) == [(0, "a")]


def test_code_in_one_line_ends_with_the_line_it_stands_in() -> None:
    assert [target for _, target in wikilinks.wikilinks("```[[a]]``` [[b]]\n\n`x [[c]]\n\n[[d]]`")] == ["b", "c", "d"]


def test_on_a_page_deep_down_links_find_the_way_back() -> None:
    here = Here(view(small()), "topics/deep/x.md")
    assert here.inline("[[red]] and [[red.held|its *first* question]]") == (
        '<a href="../../../papers/red/">Red</a> and '
        '<a href="../../../papers/red/#held">its <em>first</em> question</a> '
        '<span class="q-badge" data-state="demonstrated">demonstrated</span>'
    )
    assert here.to(addresses.HOME) == "../../../"
    assert here.to("topics/deep/x.md#part") == "#part"
    assert Here(view(small()), addresses.HOME).to(addresses.HOME) == "./"
    assert Here(view(small(), has_folders=False), "topics/deep/x.md").to(addresses.HOME) == "../../index.html"


PATHS = st.lists(st.sampled_from(["a", "b", "a b", "index"]), min_size=1, max_size=4).map(
    lambda way: f"{'/'.join(way)}.md"
)


@pytest.mark.parametrize("has_folders", [True, False])
def test_a_link_leads_from_any_page_to_any_other(has_folders: bool) -> None:
    at = view(small(), has_folders=has_folders)

    @given(PATHS, PATHS)
    def leads(of: str, to: str) -> None:
        written = Here(at, of).to(to)
        assert urljoin(f"{SITE}{at.url(of)}", written) == f"{SITE}{at.url(to)}"
        assert written, "an empty address would keep the query"

    leads()


def test_a_page_can_ask_for_the_states_and_the_newest_cards() -> None:
    assert set(render.PARTS) == {"states", "newest", "question", "figure", "benchmarks", "lineage"}
    states, newest = part("states", small()), part("newest", small())
    assert Reading(states).faults() == Reading(newest).faults() == []
    assert Reading(states).links() == [
        f"questions/?state={state}" for state in ("demonstrated", "answered", "unverified", "broken", "open")
    ]
    assert Reading(states).texts["strong"] == ["1"] * 5
    assert links_of(newest)["Red: a color"] == "papers/red/"
    assert links_of(part("newest", small(), "topics/x.md"))["Red: a color"] == "../../papers/red/"


def test_a_page_can_show_a_question_opened_that_links_to_its_card() -> None:
    of = small()
    shown = render.part(view(of), render.PARTS["question"], "topics/x.md", "red.held")
    assert Reading(shown).faults() == []
    assert [details.get("open") for details in Reading(shown).all("details")] == [""]
    assert links_of(shown)["link to this question"] == "../../papers/red/#held"
    assert ">>> 1 + 1\n2" in Reading(shown).texts["pre"][0]


def test_a_page_can_show_a_figure_of_an_experiment_that_links_to_it() -> None:
    ran = result()
    curve = ran.figures[0]
    # What it says was written for the card.
    ran = ran.model_copy(update={"figures": (curve.model_copy(update={"caption": "As [Blue](blue.md) does."}),)})
    shown = render.part(view(small(results={"red": (ran,)})), render.PARTS["figure"], "topics/x.md", "red.curve")
    assert Reading(shown).faults() == []
    assert links_of(shown)["Blue"] == "../../papers/blue/"
    assert [image["src"].partition("#")[2] for image in Reading(shown).all("img")] == ["only-light", "only-dark"]
    assert links_of(shown)["the experiment of Red"] == "../../papers/red/#experiment_"


def test_the_heading_of_a_fold_holds_no_link() -> None:
    made = Reading(body(library(paper("red", notes="### See [[blue]] and [x](https://e.org)\n\nIt."), paper("blue"))))
    assert "See On blue and x\n" in made.texts["summary"]
    assert "https://e.org" not in made.links()


@pytest.mark.parametrize(
    "code", [">>> " + "-" * 100_000 + "1\n1", ">>> " + "(" * 5000, ">>> def f(:\n...", ">>>x\n", ">>> \0"]
)
def test_code_that_is_no_doctest_is_shown_as_it_is(code: str) -> None:
    made = body(library(paper("red", notes=f"```pycon\n{code}\n```")), "papers/red.md", citations={})
    assert len(Reading(made).texts["code"]) == 2


def test_a_card_as_markdown_keeps_fences_in_code_apart() -> None:
    shown = answer("red.held", code='>>> print("```")\n```')
    red = paper("red", implementation="red", questions=(question("held"),))
    text = render.files(view(library(red, answers=(shown,))))["assets/cards/red.md"].decode()
    assert '````pycon\n>>> print("```")\n```\n````' in text


def test_states_that_no_question_has_are_not_shown() -> None:
    only = library(paper("red", questions=(question("a", answer="So."),)))
    assert Reading(part("states", only)).texts["strong"] == ["1"]


def test_the_newest_cards_are_those_with_the_newest_questions() -> None:
    old = paper("old", year="2025", questions=(question("a"),))
    new = paper("new", year="1990", questions=({**question("b"), "asked": datetime.date(2026, 3, 1)},))
    many = [paper(f"p{n}") for n in range(9)]
    assert Reading(part("newest", library(old, *many, new))).texts["h3"][:2] == ["On new", "On old"]
    assert len(Reading(part("newest", library(old, *many, new))).texts["h3"]) == 6


def test_cards_with_code_come_before_those_of_the_reading_list() -> None:
    red, new = (
        paper(slug, questions=({**question(slug), "asked": day},), implementation=code)
        for slug, day, code in (("red", datetime.date(2026, 1, 1), "red"), ("new", datetime.date(2026, 3, 1), None))
    )
    of = library(new, red)
    assert Reading(part("newest", of)).texts["h3"] == ["On red", "On new"]


def test_of_cards_with_questions_of_a_day_the_one_with_most_comes_first() -> None:
    of = library(paper("one", questions=(question("a"),)), paper("two", questions=(question("a"), question("b"))))
    assert Reading(part("newest", of)).texts["h3"] == ["On two", "On one"]


def test_the_home_page_without_one_written_by_hand_shows_what_holds_and_the_newest_cards() -> None:
    reading = Reading(body(small(), addresses.HOME))
    assert reading.texts["h2"] == ["Questions by state", "Cards with the newest questions", "What builds on what"]
    assert {"papers/", "tags/", "affiliations/", "papers/red/", "questions/?state=open"} <= set(reading.links())
    assert pages(small(), name="")[addresses.HOME].title == "Papers"


# Modules, and what a page tells of itself


def test_a_page_of_a_module_tells_what_it_implements_and_answers() -> None:
    made = pages(small())
    red = made["reference/red.md"]
    assert Reading(red.body).text == (
        "← Reference house.red Implements Red: a color. Answers: 1 demonstrated 1 unverified 1 broken. "
        "Source: house/red.py. Door"
    )
    assert '<h2 id="house.red.Door">Door</h2>' in red.body, "its documentation is HTML"
    assert links_of(red.body)["Red: a color"] == "../../papers/red/"
    assert links_of(red.body)["house/red.py"] == "../../code/red/"
    assert "demonstrated" not in made["reference/house.md"].body


def test_a_link_to_a_former_name_leads_to_the_name_of_today() -> None:
    renamed = {"house.red.Gate": "house.red.Door.open", "house.red.lost": "house.blue.x", "house.red.Door": "house.x"}
    made = pages(small(renamed=renamed))
    body = made["reference/red.md"].body
    assert '<a id="house.red.lost"></a><a id="house.red.Gate"></a><h2 id="house.red.Door">' in body
    assert body.count('id="house.red.Door"') == 1
    assert "house.red.Gate" not in made["reference/house.md"].body


def test_the_reference_lists_the_modules_with_what_they_answer() -> None:
    made = body(small(), addresses.REFERENCE)
    assert rows(made) == [
        ["house", "A house.", "read", "–"],
        ["red", "A red one.", "read", "1 demonstrated 1 unverified 1 broken"],
    ]
    assert links_of(made)["red"] == "red/"


def test_pages_are_edited_where_they_are_written_and_lists_are_not() -> None:
    made = pages(small())
    assert {path: page.source for path, page in made.items() if page.source} == {
        "papers/red.md": "papers/red.yml",
        "papers/blue.md": "papers/blue.yml",
        **{f"{folder}/house.md": "house/__init__.py" for folder in ("code", "reference")},
        **{f"{folder}/red.md": "house/red.py" for folder in ("code", "reference")},
    }


def test_a_page_tells_search_engines_what_it_is() -> None:
    made = pages(small())
    assert made["papers/red.md"].description == "An idea."
    assert made["reference/red.md"].description == "A red one."


def test_without_cards_there_are_pages_all_the_same() -> None:
    made = {path: Reading(page.body) for path, page in pages(library()).items()}
    assert "There is no card yet." in made["papers/index.md"].text
    assert "There are no questions yet." in made["questions.md"].text
    assert "There are none yet." in made["tags.md"].text
    assert "There is no experiment yet." in made["experiments.md"].text
    nothing = Library({}, {}, (), (), {})
    assert "There is no module yet." in Reading(body(nothing, addresses.REFERENCE)).text
    assert [fault for page in pages(nothing).values() for fault in Reading(page.body).faults()] == []


# Templates of the library


def test_a_template_of_the_library_stands_in_for_ours() -> None:
    own, ours = (
        pages(small(templates={"card.html": "<h1>{{ title }}</h1>{{ here.inline(card.idea) }}"})),
        pages(small()),
    )
    assert own["papers/red.md"].body == "<h1>Red: a color</h1>An idea."
    assert own["questions.md"] == ours["questions.md"]
    assert ours["papers/red.md"].body.startswith("<p>")


def test_a_template_may_extend_ours() -> None:
    template = '{% extends "quaere/card.html" %}\n{% block notes %}<p>{{ super() }} & {{ "<own>" }}</p>{% endblock %}'
    own, ours = body(small(templates={"card.html": template}), "papers/blue.md"), body(small(), "papers/blue.md")
    start, end = ours.index('<h2 id="notes_"'), ours.index('<h2 id="lineage_"')
    assert own.startswith(ours[:start] + "<p>" + ours[start:end].rstrip())
    assert own.endswith("& &lt;own&gt;</p>" + ours[end:]) or own.replace("\n", "").endswith(
        ("& &lt;own&gt;</p>" + ours[end:]).replace("\n", "")
    )


def test_a_template_of_the_library_is_used_wherever_ours_would_be() -> None:
    code = body(small(templates={"code.html": "<pre>{{ language }}: {{ body }}</pre>"}))
    assert "<pre>pycon: &gt;&gt;&gt; 1 + 1\n2\n</pre>" in re.sub("<(?!/?pre)[^>]*>", "", code)
    states = small(templates={"states.html": "<p>{{ here.path }}</p>"})
    assert part("states", states, "a.md") == "<p>a.md</p>"
    assert "<p>index.md</p>" in body(states, addresses.HOME)
    more = small(templates={"card.html": "{% include 'mine/a.html' %}", "mine/a.html": "<p>{{ paper.slug }}</p>"})
    assert body(more) == "<p>red</p>"


@pytest.mark.parametrize(
    ("name", "template", "line", "problem"),
    [
        ("card.html", "{% if %}", 1, "expression"),
        ("card.html", "<p>\n{{ title </p>", 2, "unexpected '/'"),
        ("card.html", "<p>\n\n{% block a %}", 3, "block"),
        ("card.html", "<p>\n{{ title | louder }}", 2, "louder"),
        ("card.html", "<p>\n\n{{ nothing }}", 3, "'nothing' is undefined"),
        ("card.html", "<p>\n{{ paper.nothing }}", 2, "no attribute 'nothing'"),
        (
            "card.html",
            "{% extends 'quaere/card.html' %}\n{% block notes %}\n{{ nothing }}{% endblock %}",
            3,
            "'nothing'",
        ),
        ("card.html", "{% macro a() %}\n{{ nothing }}\n{% endmacro %}\n{{ a() }}", 2, "'nothing'"),
        ("macros.html", "{% macro heading(level, id, words) %}\n{{ nothing }}\n{% endmacro %}", 2, "'nothing'"),
        ("question.html", "\n\n\n{{ nothing }}", 4, "'nothing'"),
        ("code.html", "\n{{ nothing }}", 2, "'nothing'"),
        ("card.html", "<p>\n{% include 'none.html' %}", 2, "none.html"),
        ("card.html", "{% extends 'quaere/none.html' %}", 1, "none.html"),
    ],
)
def test_a_template_at_fault_is_told_with_its_line(name: str, template: str, line: int, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        render.pages(view(small(templates={name: template})))
    assert caught.value.place == Place(f"templates/{name}", line)
    assert problem in caught.value.problem
    assert caught.value.hint


@pytest.mark.parametrize(
    "template",
    ["\n{{ 1 / 0 }}", "\n{{ title + 1 }}", "\n{{ here.tag('none') }}", "\n{{ here.block(title) }}", "\n{{ title() }}"],
)
def test_a_template_that_asks_for_what_cannot_be_done_is_told_with_its_line(template: str) -> None:
    with pytest.raises(ConfigError) as caught:
        render.pages(view(small(templates={"card.html": template})))
    assert caught.value.place == Place("templates/card.html", 2)


def test_a_template_that_extends_itself_is_told() -> None:
    with pytest.raises(ConfigError) as caught:
        render.pages(view(small(templates={"card.html": '{% extends "card.html" %}'})))
    assert caught.value.place.file == "templates/card.html"


def test_a_fault_names_the_folder_that_the_settings_name() -> None:
    of = small(templates={"states.html": "{{ nothing }}"}, settings=Settings(templates="look/at"))
    with pytest.raises(ConfigError) as caught:
        part("states", of)
    assert str(caught.value).startswith("look/at/states.html:1:1: this template can't be filled in: 'nothing'")


# History


def test_a_card_ends_with_its_history() -> None:
    def at(day: int) -> datetime.datetime:
        return datetime.datetime(2026, 2, day, 23, 59, tzinfo=datetime.UTC)

    known = History({"papers/red.yml": Span(at(1), at(3))}, {"red.said": at(2)}, {"red.held": at(4)})
    shown = body(small(), repo="https://github.com/house/house", history=known).partition('id="history_"')[2]
    assert "added 2026-02-01 and last changed 2026-02-03 · all its versions" in Reading(shown).text
    assert links_of(shown)["all its versions"] == "https://github.com/house/house/commits/main/papers/red.yml"
    assert [" ".join(one.split()) for one in Reading(shown).texts["li"]] == [
        "Why held? asked 2026-01-31 · answered 2026-02-04 · last run 2026-02-01",
        "Why changed? asked 2026-01-31 · last run 2026-02-01",
        "Why failed? asked 2026-01-31 · last run 2026-02-01",
        "Why unasked? asked 2026-01-31",
        "Why said? asked 2026-01-31 · answered 2026-02-02",
    ]
    # Without git, what the card and the evidence say.
    assert "added" not in body(small()).partition('id="history_"')[2]
    assert "history_" not in body(small(), "papers/blue.md")
    assert "all its versions" not in body(small(), repo="https://git.example.org/house", history=known)
    by_ann = body(library(paper("red", questions=(question("said", by="Ann"),)))).partition('id="history_"')[2]
    assert "asked 2026-01-31 by Ann" in Reading(by_ann).text
    elsewhere = view(small(), repo="https://gitlab.com/house/house", branch="c#")
    assert elsewhere.log("papers/é.yml") == "https://gitlab.com/house/house/-/commits/c%23/papers/%C3%A9.yml"
