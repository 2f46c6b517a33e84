"""What a reader does with the site: look, filter, switch to dark, read on a phone, copy, and edit."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from quaere.content.model import Library
from quaere.pages import scripts
from tests.engine.conftest import SOUND, Base
from tests.own import LIBRARY, ROOT
from tests.site.conftest import served, visit, with_mermaid

CARD = "papers/transformer/"
MODULE = "reference/layers.attention/"


@pytest.fixture(scope="module")
def library() -> Library:
    return LIBRARY


def links_of_questions(page: Page) -> list[tuple[str, str]]:
    """List the links in the page's questions: the question around each, and where it leads."""
    return [
        (id, href)
        for id, href in page.locator(".q-question").evaluate_all(
            "all => all.flatMap(one => [...one.querySelectorAll('a')].map(a => [one.querySelector('h3').id, a.href]))"
        )
    ]


def lines_edited(page: Page) -> list[tuple[str, str, int, str]]:
    """List the links that edit lines in the repository: the question around it, the file, the number, and the line."""
    matches = [(id, re.search(r"/edit/main/(.+)#L(\d+)$", href)) for id, href in links_of_questions(page)]
    return [
        (id, match[1], int(match[2]), (ROOT / match[1]).read_text(encoding="utf-8").splitlines()[int(match[2]) - 1])
        for id, match in matches
        if match
    ]


# What the pages show


def test_a_question_opens_where_its_address_leads_to_it_and_all_of_them_by_a_button(page: Page) -> None:
    page.goto(CARD)
    folds = page.locator("details.q-question")
    assert page.locator("details.q-question[open]").count() == 0
    page.goto(f"{CARD}#path-length")
    expect(page.locator("details.q-question[open] #path-length")).to_be_in_viewport()
    assert page.locator("details.q-question[open]").count() == 1
    page.get_by_role("button", name="Open all").first.click()
    assert page.locator("details.q-question[open]").count() == folds.count()
    page.get_by_role("button", name="Close all").first.click()
    assert page.locator("details.q-question[open]").count() == 0


def test_a_folded_card_is_a_few_screens_high(page: Page) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(CARD)
    assert page.evaluate("document.documentElement.scrollHeight") < 6000


def test_a_card_prints_as_it_is_folded(page: Page) -> None:
    def sheets() -> int:
        return len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4")))

    visit(page, CARD)
    assert sheets() <= 12
    page.get_by_role("button", name="Open all").first.click()
    assert sheets() > 24
    page.get_by_role("button", name="Close all").first.click()
    # The dialog would wait for somebody.
    page.evaluate("window.print = () => { window.asked = document.querySelectorAll('details:not([open])').length }")
    page.get_by_role("button", name="Print with all answers").click()
    assert page.evaluate("window.asked") == 0
    assert sheets() > 24, "with all answers"
    assert sheets() <= 12, "as before"
    page.add_init_script("window.print = () => {}")
    visit(page, f"{CARD}?print=all")
    assert sheets() > 24


def test_paper_is_light_and_bears_nothing_of_the_site_around_the_page(page: Page) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    used = (".q-actions", ".q-copies", ".q-all", ".q-print", ".q-back", ".headerlink", ".md-code__nav")
    for path in (f"{CARD}#why-not-sigmoid", "", "questions/", "experiments/", MODULE):
        page.goto(path)
        color = page.locator("h1").first.evaluate("one => getComputedStyle(one).color")
        assert max(map(int, re.findall(r"\d+", color)[:3])) < 60, path
        for chrome in (".md-header", ".md-tabs", ".md-sidebar", ".md-footer", "form", ".md-content__button", *used):
            assert page.locator(f"{chrome}:visible").count() == 0, (path, chrome)
        assert page.locator('img[src$="#only-dark"]:visible').count() == 0


def test_every_question_stands_on_its_card_and_on_the_page_of_all_questions(site: Path, library: Library) -> None:
    listed = (site / "questions/index.html").read_text(encoding="utf-8")
    assert sorted(set(re.findall(r'href="\.\./papers/(\w+/#[^"]+)"', listed))) == sorted(
        f"{asked.paper.slug}/#{asked.question.id}" for asked in library.questions.values()
    )
    for slug, paper in library.papers.items():
        card = (site / "papers" / slug / "index.html").read_text(encoding="utf-8")
        ids = re.findall(r'<details class="q-question"[^>]*>\s*<summary>\s*<h3 id="([^"]+)"', card)
        assert ids == [question.id for question in paper.card.questions]


def test_equations_are_drawn_without_a_script_in_fonts_of_the_site(browser: Browser, address: str) -> None:
    with browser.new_context(base_url=address, java_script_enabled=False) as context:
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        visit(page, MODULE)
        drawn = page.locator(".arithmatex:has(.katex-html):has(math)")
        assert drawn.count() == page.locator(".arithmatex").count() > 5
        assert any(url.endswith("KaTeX_Math-Italic.woff2") for url in asked)
        assert not any("katex" in url and url.endswith(".js") for url in asked)
        # What the policy refused would leave all parts of a fraction in one line.
        assert page.locator(".arithmatex .mfrac .vlist").first.evaluate("one => one.offsetHeight") > 20


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_figure_of_a_result_is_shown_in_the_colors_of_the_page(
    page: Page, library: Library, scheme: Literal["light", "dark"]
) -> None:
    page.emulate_media(color_scheme=scheme)
    visit(page, CARD)
    figures = library.results["transformer"][0].figures
    assert figures
    for figure in figures:
        page.goto(f"{CARD}#{figure.id}_figure")
        images = page.locator(f"#{figure.id}_figure img")
        shown, other = images.all() if scheme == "light" else reversed(images.all())
        expect(shown).to_be_visible()
        expect(other).to_be_hidden()
        page.wait_for_function("image => image.complete && image.naturalWidth > 100", arg=shown.element_handle())
        assert shown.get_attribute("alt") == " ".join(figure.alt.split())


def test_a_card_shows_each_claim_with_what_became_of_it(page: Page, library: Library) -> None:
    page.goto(CARD)
    found = library.findings("transformer")
    for claim in library.papers["transformer"].card.claims:
        expect(page.locator(f"#{claim.id}_claim .q-badge").first).to_have_text(found[claim.id][0].outcome)


def test_on_a_phone_each_part_of_a_claim_has_the_width_of_the_page(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(CARD)
    claims = page.locator(".q-claim")
    assert claims.evaluate_all("all => all.every(one => one.scrollWidth <= one.clientWidth)")
    wide = "all => all.every(one => one.getBoundingClientRect().width > 0.9 * innerWidth - 32)"
    assert claims.locator("svg").evaluate_all(wide)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def route_mermaid(page: Page) -> None:
    def put(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=with_mermaid(response.text()))

    page.route("**/architecture/", put)


def test_a_diagram_is_drawn_in_the_colors_of_the_page(page: Page) -> None:
    route_mermaid(page)
    page.emulate_media(color_scheme="light")
    page.goto("architecture/")
    drawing = page.locator(".diagram svg").first
    expect(drawing).to_be_visible()
    light = drawing.inner_html()
    page.emulate_media(color_scheme="dark")
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")
    page.wait_for_function("light => document.querySelector('.diagram svg')?.innerHTML != light", arg=light)
    expect(drawing).to_be_visible()


def test_diagrams_take_the_colors_that_change_while_they_are_drawn(page: Page) -> None:
    route_mermaid(page)
    page.emulate_media(color_scheme="dark")
    visit(page, "architecture/")
    dark = page.locator(".diagram svg").first.inner_html()
    page.emulate_media(color_scheme="light")
    # When the first of several diagrams is there, before the last.
    page.add_init_script("""new MutationObserver((_, observer) => {
        if (!document.querySelector(".diagram[data-drawn]")) return;
        observer.disconnect();
        document.body.dataset.mdColorScheme = "slate";
    }).observe(document, { subtree: true, childList: true, attributes: true })""")
    page.reload()
    page.wait_for_function("dark => document.querySelector('.diagram svg')?.innerHTML == dark", arg=dark)


def test_a_module_links_to_the_questions_that_it_answers_and_does_not_repeat_the_answers(
    page: Page, library: Library
) -> None:
    page.goto(MODULE)
    answers = [answer for answer in library.answers if answer.module == "reference_impl.layers.attention"]
    assert answers
    for answer in answers:
        slug, _, id = answer.id.partition(".")
        expect(page.locator(f'a[href="../../papers/{slug}/#{id}"]').first).to_be_attached()
        assert answer.code.splitlines()[0] not in page.locator("article").inner_text()


def test_a_card_links_to_the_line_that_answers_and_to_its_file_for_editing(page: Page, library: Library) -> None:
    page.goto(CARD)
    links = links_of_questions(page)
    lines = {id: match for id, href in links if (match := re.search(r"/code/([\w.]+)/#(L\d+)$", href))}
    assert lines.keys() == {
        asked.question.id for asked in library.questions.values() if asked.paper.slug == "transformer" and asked.answer
    }
    # No link follows a branch: one to the repository names the commit on which the answer ran.
    linked = [(id, match) for id, href in links if (match := re.search(r"/blob/([^/]+)/(.+)#L(\d+)$", href))]
    for id, (commit, file, number) in ((id, match.groups()) for id, match in linked):
        ran = subprocess.run(["git", "show", f"{commit}:{file}"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert ran.stdout.splitlines()[int(number) - 1].strip() == f"Answers: transformer.{id}"
    id, match = next(iter(lines.items()))
    edit = page.get_by_title("Edit this page").get_attribute("href") or ""
    assert edit.endswith("/edit/main/papers/transformer.yml")
    page.goto(f"code/{match[1]}/#{match[2]}")
    line = page.locator(f"#{match[2]}")
    expect(line).to_be_in_viewport()
    expect(line).to_have_text(re.compile(rf"^\s*Answers: transformer.{id}\s*$"))


def test_an_open_question_links_to_its_line_in_the_card(page: Page, library: Library) -> None:
    # Open are the questions with neither prose nor an answer in code, whatever ran.
    slugs = [asked.paper.slug for asked in library.questions.values() if not asked.answer and not asked.question.answer]
    assert slugs
    page.goto(f"papers/{slugs[0]}/")
    links = lines_edited(page)
    assert links
    assert [line for id, _, _, line in links if line.strip() != f"- id: {id}"] == []


# What a reader does


def test_the_palette_switches_to_dark_and_stays(page: Page) -> None:
    page.goto("")
    body = page.locator("body")
    expect(body).to_have_attribute("data-md-color-scheme", "default")
    for _ in range(3):
        if body.get_attribute("data-md-color-scheme") != "slate":
            page.locator("[data-md-component=palette] label:visible").click()
    expect(body).to_have_attribute("data-md-color-scheme", "slate")
    page.goto(CARD)
    expect(body).to_have_attribute("data-md-color-scheme", "slate")


def test_an_answer_and_a_citation_can_be_copied(page: Page, library: Library) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(CARD)

    def copied_from(block: Locator) -> str:
        page.evaluate("navigator.clipboard.writeText('')")
        block.hover()
        block.locator("button").first.click()
        for _ in range(100):
            if text := page.evaluate("navigator.clipboard.readText()"):
                return str(text)
            page.wait_for_timeout(100)
        return ""

    question = page.locator(".q-question", has=page.locator("#why-warm-up"))
    question.locator("summary").first.click()
    code = question.locator(".highlight").first
    shell = [sys.executable, "-i", "-q"]
    done = subprocess.run(shell, input=copied_from(code), cwd=ROOT, text=True, capture_output=True, check=False)
    assert "Error" not in done.stderr
    page.evaluate("navigator.clipboard.writeText('')")
    question.get_by_role("button", name="Copy as a script").click()
    expect(question.get_by_role("button", name="Copied")).to_be_visible()
    answer = library.questions["transformer.why-warm-up"].answer
    assert answer
    assert page.evaluate("navigator.clipboard.readText()") == scripts.script(answer.code)
    page.get_by_role("link", name="Cite", exact=True).first.click()
    citation = page.locator(".tabbed-set", has_text="BibTeX").locator(".highlight:visible")
    assert copied_from(citation).startswith("@inproceedings{vaswani2017attention,")


# On a phone


SMALL = """() => {
    const isIn = (one, where) => Boolean(one.closest(where));
    const isAlone = (link) => [...link.parentElement.childNodes]
        .every(one => one === link || one.nodeType !== Node.TEXT_NODE || !/\\w\\W+\\w/.test(one.data));
    const small = new Set();
    for (const one of document.querySelectorAll("article *")) {
        const { width, height } = one.getBoundingClientRect();
        // What is made for who can't see, and what nobody can press.
        if (width < 2 || height < 2 || one.ariaHidden === "true") continue;
        const says = [...one.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
        if (says && !isIn(one, ".katex, .q-flow") && parseFloat(getComputedStyle(one).fontSize) < 12) {
            small.add(`letters: ${one.outerHTML.slice(0, 80)}`);
        }
        if (one.matches("summary, button, select, a[href]:not(.headerlink)") && !isIn(one, ".highlight, svg, .doc")) {
            if (Math.min(width, height) < 24 && isAlone(one)) small.add(`target: ${one.outerHTML.slice(0, 80)}`);
        }
    }
    return [...small].slice(0, 9);
}"""


@pytest.mark.parametrize(
    "path",
    [
        "",
        "papers/",
        CARD,
        "questions/",
        "board/",
        "tags/",
        "lineage/",
        "reference/",
        MODULE,
        "code/layers.attention/",
        "topics/positional-encodings/",
        "guide/command-line/",
        "architecture/",
        "decisions/0003-yaml-and-pydantic/",
    ],
)
def test_on_a_phone_no_page_scrolls_sideways_and_nothing_is_too_small(phone: Page, path: str) -> None:
    visit(phone, path)
    wider = phone.evaluate(
        """() => [...document.querySelectorAll("article *")]
            .filter(one => one.getBoundingClientRect().right > innerWidth && !one.closest("[style*=overflow]"))
            .slice(0, 3).map(one => one.outerHTML.slice(0, 120))"""
    )
    assert phone.evaluate("document.scrollingElement.scrollWidth") <= 390, f"wider than the page: {wider}"
    assert phone.evaluate(SMALL) == []


def test_the_lineage_fits_a_phone_and_is_walked_by_keyboard(phone: Page, address: str) -> None:
    visit(phone, "")
    assert phone.locator(".q-across:visible").evaluate("one => one.scrollWidth <= one.clientWidth")
    visit(phone, "lineage/")
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
    frame = phone.locator(".q-across:visible").first
    assert frame.evaluate("one => one.scrollWidth <= one.clientWidth && one.tabIndex < 0")
    assert frame.locator("svg").evaluate("one => one.getScreenCTM().a") == 1
    frame.locator("a").first.focus()
    # The oldest paper comes first, and the lines to what builds on it are shown.
    expect(frame.locator("a:focus")).to_have_attribute("data-paper", "lstm")
    near = frame.locator(".q-edge[data-near]")
    assert set(near.evaluate_all("all => all.map(one => one.dataset.from)")) == {"lstm"}
    # One out of sight is brought into sight.
    frame.locator("[data-paper=transformer]").focus()
    expect(frame.locator("[data-paper=transformer]")).to_be_in_viewport()
    phone.keyboard.press("Enter")
    expect(phone).to_have_url(f"{address}papers/transformer/")
    phone.locator(".q-beside [data-paper=bert]").click()
    expect(phone).to_have_url(f"{address}papers/bert/")


def test_a_flowchart_fits_the_page_that_it_is_on(page: Page) -> None:
    for width, where in ((1440, "widest"), (390, "not-widest")):
        page.set_viewport_size({"width": width, "height": 844})
        visit(page, "papers/attention_agent/#what-it-does")
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        shown = page.locator(".q-flow:visible")
        expect(shown).to_have_attribute("data-where", where)
        assert shown.evaluate("one => one.scrollWidth <= one.clientWidth")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


ARABIC = """cite: many2024
idea: "الانتباه فقط (Attention) بدون RNN."
implementation: null
notes: |
  Latin.

  فقرة (Attention) أخرى RNN.
questions:
  - {id: why, ask: لماذا نقسم؟, asked: 2026-11-01}
"""


def test_a_card_may_be_in_arabic_have_hundreds_of_authors_and_a_single_question(
    browser: Browser, tmp_path: Path
) -> None:
    base = Base(tmp_path)
    authors = " and ".join(f"Author{number}, Ada" for number in range(300))
    entry = f"@article{{many2024, title = {{الانتباه}}, author = {{{authors}}}, year = {{2024}}}}\n"
    bibliography = SOUND["papers/references.bib"] + entry
    base.write({**SOUND, "papers/references.bib": bibliography, "papers/many.yml": ARABIC})
    built = base.quaere("build")
    assert built.returncode == 0, built.stderr
    with served(base.root / "site") as home, browser.new_context(viewport={"width": 390, "height": 844}) as phone:
        page = phone.new_page()
        page.goto(f"{home}papers/many/")
        page.locator("details:has(> summary > #notes_) , details.q-fold").evaluate_all(
            "folds => folds.forEach(fold => fold.open = true)"
        )
        # How far a text's first and last letter lie from the left.
        places = """text => {
            const walker = document.createTreeWalker(text, NodeFilter.SHOW_TEXT), range = document.createRange();
            const letters = [];
            while (walker.nextNode()) for (let at = 0; at < walker.currentNode.length; at += 1) {
                range.setStart(walker.currentNode, at);
                range.setEnd(walker.currentNode, at + 1);
                if (/\\S/.test(range)) letters.push(range.getBoundingClientRect().left);
            }
            return [letters[0], letters.at(-1)];
        }"""
        for text, is_latin in ((".q-idea", False), ("p:text('فقرة')", False), ("p:text-is('Latin.')", True)):
            first, last = page.locator(text).evaluate(places)
            assert (first < last) is is_latin, text

        page.reload()
        expect(page.locator(".q-authors").first).to_contain_text("Ada Author19")
        expect(page.get_by_text("Ada Author20")).to_be_hidden()
        page.get_by_text("and 280 more authors").click()
        expect(page.get_by_text("Ada Author299")).to_be_visible()
        # There is nothing else to open.
        expect(page.locator(".q-print")).to_be_visible()
        expect(page.locator(".q-all")).to_be_hidden()


LONG_TITLE = "A Title that Has No Colon and Goes on for Much Longer than a Phone Is Wide, as Titles of Papers Often Do"


def test_what_superseded_a_paper_may_have_a_long_title_on_a_phone(browser: Browser, tmp_path: Path) -> None:
    base = Base(tmp_path)
    entry = SOUND["papers/references.bib"]
    base.write(
        {
            **SOUND,
            "papers/references.bib": entry
            + entry.replace("toy2020", "long2020").replace("{Toys}", f"{{{LONG_TITLE}}}"),
            "papers/toy.yml": SOUND["papers/toy.yml"] + "status: {state: superseded, by: other}\n",
            "papers/other.yml": "cite: long2020\nidea: Better.\nimplementation: null\n",
        }
    )
    built = base.quaere("build")
    assert built.returncode == 0, built.stderr
    with served(base.root / "site") as home, browser.new_context(viewport={"width": 390, "height": 844}) as phone:
        page = phone.new_page()
        for path in ("", "papers/"):
            page.goto(f"{home}{path}")
            assert LONG_TITLE in page.locator(".q-fate").first.inner_text()
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
