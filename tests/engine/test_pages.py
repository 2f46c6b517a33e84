"""The pages that a small library makes: what stands on them, where links lead, and what a hostile card can't do."""

import dataclasses
import datetime
import html
import json
import posixpath
import re
from html.parser import HTMLParser
from typing import Any

import markdown  # type: ignore[import-untyped]
import pytest
import yaml
from pymdownx.superfences import fence_div_format  # type: ignore[import-untyped]

from quaere.content import wikilinks
from quaere.content.model import Answer, Card, Library, Module, Name, Paper, Reference, Verdict
from quaere.content.results import Result
from quaere.errors import Place
from quaere.pages import render

ASKED = datetime.date(2026, 1, 31)
REPO = "https://example.org/house"
EXTENSIONS: dict[str, dict[str, object]] = {
    "admonition": {},
    "attr_list": {},
    "md_in_html": {},
    "tables": {},
    "toc": {"toc_depth": 4},
    "pymdownx.arithmatex": {"generic": True},
    "pymdownx.details": {},
    "pymdownx.superfences": {"custom_fences": [{"name": "mermaid", "class": "diagram", "format": fence_div_format}]},
    "pymdownx.tabbed": {"alternate_style": True},
}


def paper(
    slug: str, title: str = "", year: str = "2020", fields: dict[str, str] | None = None, **card: object
) -> Paper:
    file = f"papers/{slug}.yml"
    fields = {"title": title or f"On {slug}", "year": year, "journal": "Annals", **(fields or {})}
    reference = Reference(slug, "article", fields, (Name("Doe", "Jane"), Name("Roe", "Rik")), (), "", Place("b.bib"))
    places: dict[tuple[str | int, ...], Place] = {(): Place(file)}
    places |= {("questions", index): Place(file, 10 + index) for index in range(9)}
    return Paper(slug, file, Card.model_validate({"cite": slug, "idea": "An idea.", **card}), reference, places)


def question(id: str, ask: str = "", **more: object) -> dict[str, object]:
    return {"id": id, "ask": ask or f"Why {id}?", "asked": ASKED, **more}


def answer(id: str, prose: str = "Because.", code: str = ">>> 1 + 1\n2") -> Answer:
    parts = (("text", prose), ("code", code))
    return Answer(id, "house.red", "house.red.Door", Place("house/red.py", 7), parts, ("house.red",), "now")


def verdict(passed: bool = True, key: str = "now", failure: str = "", commit: str = "0123456789+") -> Verdict:
    return Verdict(key, passed, failure, commit, {"python": "3.11.2"}, "2026-02-01T10:20:30+00:00", 0.125)


def library(*papers: Paper, answers: tuple[Answer, ...] = (), **more: Any) -> Library:
    modules = (
        Module("house", "house/__init__.py", "A house.", "1"),
        Module("house.red", "house/red.py", "A red one.", "2"),
        *more.pop("modules", ()),
    )
    return Library({one.slug: one for one in papers}, {}, answers, modules, {}, **more)


def small(**more: Any) -> Library:
    """Two papers, one built on the other, with a question in each state."""
    questions = tuple(question(id) for id in ("held", "changed", "failed", "unasked"))
    red = paper(
        "red",
        title="Red: a colour",
        tags=("Warm colours", "light"),
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
    finding = {"claim": "big", "outcome": "partly", "measured": words or "8 of 9", "why": words or "1 is missing"}
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
    return small(modules=(EXPERIMENT,), results={"red": result(**more)})


VERDICTS = {
    "red.held": verdict(),
    "red.changed": verdict(key="then"),
    "red.failed": verdict(passed=False, failure="Expected:\n    2\nGot:\n    ```3"),
}


def pages(of: Library, docs: dict[str, str] | None = None) -> dict[str, str]:
    citations = {slug: {"BibTeX": "@article{x}", "CSL-JSON": "[]"} for slug in of.papers}
    made = render.render(of, VERDICTS, citations, REPO, docs or {})
    return {path: content for path, content in made.items() if isinstance(content, str)}


class Reading(HTMLParser):
    """What a browser would make of a page: its elements with their attributes, and the text inside each tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        body = re.sub(r"\A---\n.*?\n---\n", "", page, flags=re.DOTALL)
        self.source = markdown.markdown(body, extensions=list(EXTENSIONS), extension_configs=EXTENSIONS)
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in {"br", "img", "input"}:
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.texts[tag][-1] += data

    def ids(self) -> set[str]:
        return {attributes["id"] for _, attributes in self.elements if "id" in attributes}

    def links(self) -> list[str]:
        return [attributes["href"] for tag, attributes in self.elements if tag == "a" and "href" in attributes]

    def faults(self) -> list[str]:
        """Return what could run or fetch something."""
        found = [tag for tag, _ in self.elements if tag in {"script", "iframe", "object", "style", "base", "svg"}]
        for tag, attributes in self.elements:
            found += [f"{tag} {name}" for name in attributes if name.startswith("on") or name == "style"]
            addresses = [attributes.get("href", ""), attributes.get("src", "")]
            found += [one for one in addresses if re.match(r"\s*(javascript|data|vbscript):", html.unescape(one), re.I)]
            found += [one for one in [attributes.get("src", "")] if "//" in one]
        # What browsers and parsers make of odd comments differs.
        return [*found, *re.findall("<!--.*", self.source)]


def status(reading: Reading, state: str) -> int:
    return sum(attributes.get("data-state") == state and tag == "div" for tag, attributes in reading.elements)


def test_there_is_a_page_for_each_card_and_module_and_for_each_list() -> None:
    made = render.render(small(), VERDICTS, {}, REPO, {})
    assert set(made) == {
        *("papers/index.md", "papers/red.md", "papers/blue.md", "questions.md", "tags.md", "affiliations.md"),
        "experiments.md",
        *("reference/index.md", "reference/house.md", "reference/red.md", "assets/quaere.css", "assets/quaere.js"),
    }
    assert all(isinstance(content, str) for path, content in made.items() if path.endswith(".md"))


def test_every_link_leads_to_a_page_and_a_heading_that_are_there() -> None:
    made = {path: Reading(page) for path, page in pages(small()).items()}
    checked = 0
    for path, reading in made.items():
        for link in reading.links():
            if re.match(r"https?://|\?", link):
                continue
            target, _, anchor = link.partition("#")
            target = posixpath.normpath(posixpath.join(posixpath.dirname(path), target)) if target else path
            assert target in made, f"{path}: {link}"
            if anchor and not anchor.startswith("house."):
                assert anchor in made[target].ids(), f"{path}: {link}"
            checked += 1
    assert checked > 30


def test_a_question_is_found_at_its_id() -> None:
    reading = Reading(pages(small())["papers/red.md"])
    assert {"held", "changed", "failed", "unasked", "said"} <= reading.ids()
    assert "Why held?" in [text.strip() for text in reading.texts["h3"]]


def test_a_card_shows_a_question_in_each_state() -> None:
    reading = Reading(pages(small())["papers/red.md"])
    states = ("demonstrated", "unverified", "broken", "open", "answered")
    assert [status(reading, state) for state in states] == [1, 1, 1, 1, 1]


def test_a_stamp_says_when_and_on_what_an_answer_held() -> None:
    page = pages(small())["papers/red.md"]
    held = page[page.index("{ #held }") : page.index("{ #changed }")]
    text = Reading(held).source
    assert re.search(r"passed .*2026-02-01 10:20 UTC.*0\.1[23] s.*commit .*012345678\+.*python 3\.11\.2", text)
    assert f'href="{REPO}/commit/0123456789"' in text
    assert "```sh\nquaere verify red.held\n```" in held
    assert f"{REPO}/blob/main/house/red.py#L7" in text
    assert "../reference/red.md#house.red.Door" in text


def test_a_stale_verdict_is_shown_as_past_and_a_failure_with_its_output() -> None:
    page = pages(small())["papers/red.md"]
    changed = page[page.index("{ #changed }") : page.index("{ #failed }")]
    failed = page[page.index("{ #failed }") : page.index("{ #unasked }")]
    assert "changed since it last held" in changed
    assert "passed" not in changed
    assert "Expected:\n    2\nGot:\n    ```3\n" in Reading(failed).texts["pre"]


def test_an_open_question_opens_the_card_at_its_line() -> None:
    page = pages(small())["papers/red.md"]
    assert f"{REPO}/edit/main/papers/red.yml#L13" in page[page.index("{ #unasked }") :]


def test_an_answer_never_run_says_so() -> None:
    page = render.render(small(), {}, {}, REPO, {})["papers/red.md"]
    assert isinstance(page, str)
    assert page.count("not run yet") == 3
    assert 'data-state="demonstrated"' not in page


def test_lineage_goes_both_ways() -> None:
    made = pages(small())
    assert "built on by" in made["papers/red.md"]
    assert "[On blue](blue.md)" in made["papers/red.md"]
    assert "builds on" in made["papers/blue.md"]
    assert "[Red: a colour](red.md)" in made["papers/blue.md"]


def test_a_card_names_the_pages_that_discuss_it() -> None:
    page = pages(small(), docs={"topics/colour.md": "# Colours\n\n[[red]]", "code.md": "# No\n\n`[[red]]`"})[
        "papers/red.md"
    ]
    assert "[Colours](../topics/colour.md)" in page
    assert "code.md" not in page


def test_a_claim_says_that_nothing_was_measured() -> None:
    reading = Reading(pages(small())["papers/red.md"])
    cells = [text.strip() for text in reading.texts["td"]]
    said = "not tried at this sizethere is no experiment of this paper"
    assert cells == ["It is big.Table 1", "9 | 10", said]


def test_a_claim_says_that_its_experiment_has_not_been_run_or_not_since_the_claim() -> None:
    assert "its experiment has not been run" in pages(small(modules=(EXPERIMENT,)))["papers/red.md"]
    assert "the claim is newer than the last run" in pages(tried(findings=()))["papers/red.md"]


def test_a_claim_shows_what_was_reported_and_what_was_measured_side_by_side() -> None:
    reading = Reading(pages(tried())["papers/red.md"])
    cells = [text.strip() for text in reading.texts["td"]]
    assert cells[:3] == ["It is big.Table 1", "9 | 10", "partly8 of 91 is missing"]


def test_claims_that_were_tried_come_first() -> None:
    claims = ({"id": id, "says": f"It is {id}.", "where": "Table 1", "reported": "9"} for id in ("old", "big"))
    red = paper("red", implementation="red", claims=tuple(claims))
    cells = Reading(pages(library(red, results={"red": result()}))["papers/red.md"]).texts["td"]
    assert [cells[0], cells[3]] == ["It is big.Table 1", "It is old.Table 1"]


def test_a_result_whose_code_has_changed_is_marked_stale() -> None:
    fresh, stale = pages(tried())["papers/red.md"], pages(tried(key="as it was"))["papers/red.md"]
    assert ("stale" in fresh, stale.count("stale: the code has changed since")) == (False, 2)


def test_a_card_shows_its_experiment_with_where_it_ran() -> None:
    page = pages(tried())["papers/red.md"]
    shown = re.sub(r"<[^>]*>", "", page)
    assert "Paints a wall. Its code: [`house.experiments.red`](../reference/experiments.red.md)." in page
    assert "quaere run red --size small" in page
    assert (
        "2026-02-01 10:20 UTC · 2 min · size small · seeds 0, 1 · a machine · commit 012345678 · python 3.11.2" in shown
    )
    assert Reading(page).texts["td"][-2:] == ["a", "12,346"]


def test_a_card_folds_away_what_the_experiment_was_set_to() -> None:
    settings = {"seeds": 3, "text": {"batch_size": 16, "rate": 0.002, "files": None}, "lags": [10, 2000], "none": []}
    page = pages(tried(settings=settings))["papers/red.md"]
    rows = Reading(page[page.index("<details") :]).texts["td"]
    named = ["seeds", "3", "text, batch size", "16", "text, rate", "0.002", "text, files", "–", "lags", "10, 2000"]
    assert rows == [*named, "none", "none"]
    assert "<details" not in pages(tried())["papers/red.md"]


def test_each_figure_of_a_result_is_there_for_light_and_dark_pages_with_words_for_who_cannot_see_it() -> None:
    made = render.render(tried(), VERDICTS, {}, REPO, {})
    images = [attributes for tag, attributes in Reading(str(made["papers/red.md"])).elements if tag == "img"]
    paths = [posixpath.normpath(f"papers/{image['src'].partition('#')[0]}") for image in images]
    assert paths == [f"assets/results/red-{id}-{ground}.svg" for id in ("curve", "map") for ground in ("light", "dark")]
    assert [image["src"].partition("#")[2] for image in images] == ["only-light", "only-dark"] * 2
    assert {image["alt"] for image in images} == {"From 1 to 2."}
    assert all(bytes(made[path]).startswith(b"<svg") for path in paths)  # type: ignore[arg-type]
    assert "It <em>darkens</em>." in Reading(str(made["papers/red.md"])).source


def test_the_page_of_experiments_counts_what_became_of_the_claims() -> None:
    page = pages(tried())["experiments.md"]
    assert "[Red: a colour](papers/red.md#experiment_)" in page
    assert ("1 partly" in page, "blue" in page) == (True, False)
    assert "There is no experiment yet." in pages(small())["experiments.md"]


def test_a_page_written_by_hand_can_show_the_benchmarks() -> None:
    shown = render.expand("<!-- quaere:benchmarks -->", "speed.md", small(benchmarks=result()), {})
    assert "assets/results/benchmarks-curve-light.svg" in shown
    assert "12,346" in shown
    assert "No benchmark has been run yet." in render.expand("<!-- quaere:benchmarks -->", "speed.md", small(), {})
    made = render.render(small(benchmarks=result()), VERDICTS, {}, REPO, {})
    assert "assets/results/benchmarks-curve-dark.svg" in made


def test_benchmarks_of_other_code_are_marked_stale_and_experiments_do_not_matter() -> None:
    def page(*modules: Module, key: str) -> str:
        return render.expand("<!-- quaere:benchmarks -->", "p.md", small(modules=modules, benchmarks=result(key)), {})

    code = Module("house.red", "house/red.py", "Red.", "as it is")
    key = small(modules=(code,)).code_key
    assert "stale" not in page(code, key=key)
    assert "stale" not in page(code, EXPERIMENT, key=key)
    assert "stale: the code has changed since" in page(dataclasses.replace(code, key="changed"), key=key)


def test_filters_know_state_tag_and_paper() -> None:
    reading = Reading(pages(small())["questions.md"])
    groups = [attributes for _, attributes in reading.elements if "data-paper" in attributes]
    assert [(group["data-paper"], json.loads(group["data-tags"])) for group in groups] == [
        ("red", ["Warm colours", "light"])
    ]
    options = [attributes["value"] for tag, attributes in reading.elements if tag == "option"]
    states = ["demonstrated", "answered", "unverified", "broken", "open"]
    assert options == ["", *states, "", "light", "Warm colours", "", "red"]
    form = next(attributes for tag, attributes in reading.elements if tag == "form")
    assert "hidden" in form
    assert len([text for text in reading.texts["li"] if "Why" in text]) == 5


def test_tags_that_look_alike_have_headings_of_their_own() -> None:
    alike = library(paper("one", tags=("CNNs", "cnns")), paper("two", tags=("C++", "c")))
    assert {"cnns", "cnns_2", "c", "c_2"} <= Reading(pages(alike)["tags.md"]).ids()


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
    )


def test_a_hostile_result_puts_nothing_alive_on_a_page() -> None:
    reading = Reading(pages(tried(words=HOSTILE))["papers/red.md"])
    assert reading.faults() == []
    assert not [link for link in reading.links() if not re.match(r"https://|[\w./#?=-]*$", link)]


@pytest.mark.parametrize("path", ["papers/bad.md", "papers/index.md", "questions.md", "tags.md", "affiliations.md"])
def test_a_hostile_card_puts_nothing_alive_on_a_page(path: str) -> None:
    reading = Reading(pages(library(hostile_card()))[path])
    assert reading.faults() == []
    assert not [link for link in reading.links() if not re.match(r"https://|[\w./#?=-]*$", link)]


def test_a_hostile_title_is_shown_as_it_is_written() -> None:
    made = pages(library(hostile_card()))
    reading = Reading(made["papers/bad.md"])
    assert reading.texts["h1"] == [HOSTILE]
    assert [len(reading.texts[tag]) for tag in ("tr", "td", "th")] == [4, 7, 7]
    front = yaml.safe_load(made["papers/bad.md"].split("---\n")[1])
    assert html.unescape(front["title"]) == HOSTILE
    assert not re.search(r"[<>\"']", front["title"] + front["description"])


@pytest.mark.parametrize(
    "notes",
    [
        "<script>alert(1)</script>",
        "a <img src=x onerror=alert(1)> b",
        "<iframe src='https://e.org'></iframe>",
        "</div></div>\n\n<style>*{display:none}</style>",
        "[x](javascript:alert(1))",
        "[x]( <javascript:alert(1)>)",
        "[x](JAVA&#115;CRIPT:alert(1))",
        "[x](java&Tab;script:alert(1))",
        "[x](javascript&colon;alert(1))",
        "[x][y]\n\n[y]: javascript:alert(1)",
        "[x](https://e.org){ onclick=alert(1) }",
        "paragraph\n{: onclick=alert(1) }",
        "### heading {onclick=alert(1)}",
        "``` {.mermaid onclick=alert(1)}\nx\n```",
        "![x](https://e.org/pixel.png)",
        "![x][y]\n\n[y]: https://e.org/pixel.png",
        "![x](//e.org/pixel.png)",
        "$a<script>alert(1)</script>$",
        "$$\n<script>alert(1)</script>\n$$",
        "<!-- --><script>alert(1)</script>",
    ],
)
def test_hostile_notes_and_answers_put_nothing_alive_on_a_page(notes: str) -> None:
    bad = paper("bad", notes=notes, implementation="red", questions=(question("held", answer=notes), question("shown")))
    made = pages(library(bad, answers=(answer("bad.shown", prose=notes),)))
    assert Reading(made["papers/bad.md"]).faults() == []


def test_markdown_and_math_in_notes_pass() -> None:
    table = "| a | b |\n| - | - |\n| 1 | 2 |"
    notes = "*a* `<b>` **c** <https://e.org> $x_1 < y_{2}$\n\n> quoted\n\n" + table + "\n\n```python\nif a < b: {}\n```"
    source = Reading(pages(library(paper("fine", notes=notes)))["papers/fine.md"]).source
    assert "<em>a</em> <code>&lt;b&gt;</code> <strong>c</strong>" in source
    assert 'href="https://e.org"' in source
    assert r'<span class="arithmatex">\(x_1 \lt  y_{2}\)</span>' in source
    assert "<blockquote>" in source
    assert "<td>2</td>" in source
    assert "if a &lt; b: {}" in re.sub(r"<(?!/?(em|strong))[^>]*>", "", source)


def test_a_line_of_a_card_may_hold_code_math_and_links() -> None:
    card = paper("one", idea="Not `a_b` but $|x_1|$, *self* or 2 * 3 * a_b_, see [[two|that]].")
    page = pages(library(card, paper("two")))["papers/one.md"]
    line = r"Not `a_b` but $\vert x_1\vert $, *self* or 2 &#42; 3 &#42; a&#95;b&#95;, see [that](two.md)."
    assert line in page


def test_code_that_holds_fences_stays_inside_its_own() -> None:
    shown = answer("red.held", code='>>> print("```")\n```\n>>> print("<div>")\n<div>')
    red = paper("red", implementation="red", questions=(question("held"),))
    reading = Reading(pages(library(red, answers=(shown,)))["papers/red.md"])
    assert any('print("```")\n```\n' in text for text in reading.texts["pre"])
    assert "### " not in reading.source


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


def test_wikilinks_become_links_with_the_state_of_a_question() -> None:
    expanded = render.expand(TEXT, "topics/deep/x.md", small(), VERDICTS)
    assert expanded.startswith("[Red](../../papers/red.md) and [its *first* question](../../papers/red.md#held) <span")
    assert 'data-state="demonstrated">demonstrated</span>, \\[[not]] this.' in expanded
    assert expanded.count("[[red]]") == 7
    assert "nobody some text [Red](../../papers/red.md)" in expanded


def test_directives_show_the_states_and_the_newest_cards() -> None:
    text = "<!-- quaere:states -->\n\n<!--quaere:newest-->\n\n`<!-- quaere:states -->`\n\n<!-- quaere:nothing -->\n"
    expanded = render.expand(text, "index.md", small(), VERDICTS)
    reading = Reading(expanded)
    assert {f"questions.md?state={state}" for state in ("open", "broken", "demonstrated")} <= set(reading.links())
    assert "papers/red.md" in reading.links()
    assert "`<!-- quaere:states -->`" in expanded
    assert "<!-- quaere:nothing -->" in expanded
    assert "<!--quaere:newest-->" not in expanded


def test_the_newest_cards_are_those_with_the_newest_questions() -> None:
    old = paper("old", year="2025", questions=(question("a"),))
    new = paper("new", year="1990", questions=({**question("b"), "asked": datetime.date(2026, 3, 1)},))
    expanded = render.expand("<!-- quaere:newest -->", "index.md", library(old, new), {})
    assert expanded.index("papers/new.md") < expanded.index("papers/old.md")


def test_a_page_of_a_module_tells_what_it_implements_and_answers() -> None:
    page = pages(small())["reference/red.md"]
    assert "::: house.red\n" in page
    assert "Implements [Red: a colour](../papers/red.md)." in page
    assert "1 demonstrated" in page
    assert "1 demonstrated" not in pages(small())["reference/house.md"]


def test_answers_on_the_pages_of_modules_link_to_their_questions() -> None:
    links = render.answer_links(small(), VERDICTS)
    assert set(links) == {"red.held", "red.changed", "red.failed"}
    assert links["red.held"].endswith("[Why held?](../papers/red.md#held)")
    assert 'data-state="broken"' in links["red.failed"]


def test_pages_are_edited_where_they_are_written() -> None:
    sources = render.sources(small())
    assert sources["papers/red.md"] == "papers/red.yml"
    assert sources["reference/red.md"] == "house/red.py"


def test_without_cards_there_are_pages_all_the_same() -> None:
    made = pages(library())
    assert "There is no card yet." in made["papers/index.md"]
    assert "Nobody has asked yet." in made["questions.md"]
    assert "No card names any." in made["tags.md"]


CONFIG = """
site_name: House
repo_url: !ENV [SOMEWHERE, "https://example.org"]
theme: {name: material, features: [content.action.edit, content.code.copy]}
plugins:
  - search
  - quaere
  - mkdocstrings: {handlers: {python: {options: {show_source: true}}}}
extra_css: [assets/own.css]
markdown_extensions:
  - fences: {format: !!python/name:some.thing }
"""


def test_a_folder_of_its_own_needs_no_plugin() -> None:
    docs: dict[str, str | bytes] = {"index.md": "[[red]] <!-- quaere:states -->", "assets/own.css": b"a{}"}
    code: dict[str, str | bytes] = {"house/red.py": b"pass"}
    made_pages: dict[str, str | bytes] = {"papers/red.md": "x", **render.ASSETS}
    made = render.standalone(small(), VERDICTS, made_pages, docs, code, CONFIG)
    assert {"docs/papers/red.md", "docs/assets/own.css", "docs/assets/quaere.js", "house/red.py"} <= set(made)
    assert "data-md-component" not in str(made["overrides/partials/source.html"])
    assert "[Red](papers/red.md)" in str(made["docs/index.md"])
    text = str(made["mkdocs.yml"])
    assert "!ENV" in text
    assert "!!python/name:some.thing" in text
    config = yaml.safe_load(re.sub(r"!(ENV|!python\S*)", "", text))
    assert [one if isinstance(one, str) else next(iter(one)) for one in config["plugins"]] == ["search", "mkdocstrings"]
    options = config["plugins"][1]["mkdocstrings"]["handlers"]["python"]["options"]
    assert options["show_source"] is True
    assert options["extensions"][0]["quaere.content.answers.AnswersExtension"]["links"].keys() == {
        *("red.held", "red.changed", "red.failed")
    }
    assert config["extra_css"] == ["assets/quaere.css", "assets/own.css"]
    assert config["extra_javascript"] == [{"path": "assets/quaere.js", "type": "module"}]
    assert config["theme"] == {"name": "material", "features": ["content.code.copy"], "custom_dir": "overrides"}
