"""What a reader comes for, each with the clicks that it takes from the home page; typing counts as none.

The task offline stands in test_offline.py, where the copy is.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from quaere.content.model import Library
from quaere.content.states import State
from quaere.project import Project
from tests.own import LIBRARY, ROOT
from tests.site.conftest import PATIENCE, Reader, by_kind, visit

CARD = "papers/transformer/"
ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.fixture
def reader(page: Page) -> Reader:
    page.goto("")
    return Reader(page)


@pytest.fixture(scope="module")
def library() -> Library:
    return LIBRARY


def tab(page: Page, name: str) -> Locator:
    """Return the entry of the navigation that is at the top of each page."""
    return page.locator(".md-tabs__link", has_text=re.compile(rf"^\s*{name}\s*$"))


def choice(page: Page, facet: str, value: str) -> Locator:
    return page.locator(f'fieldset[data-facet="{facet}"] input[data-value="{value}"]')


def test_the_open_questions_on_a_topic_take_three_clicks(reader: Reader, library: Library) -> None:
    page = reader.page
    reader.click(tab(page, "Questions"))
    reader.click(choice(page, "state", "open"))
    reader.click(choice(page, "tag", "attention"))
    verdicts = Project.find(ROOT).verdicts(library)
    wanted = {
        f"../papers/{one.paper.slug}/#{one.question.id}"
        for one in library.questions.values()
        if "attention" in one.paper.card.tags and one.state(verdicts) is State.OPEN
    }
    shown = page.locator(".q-found:visible .q-group li > a")
    expect(shown).to_have_count(len(wanted))
    assert set(shown.evaluate_all("all => all.map((one) => one.getAttribute('href'))")) == wanted
    assert reader.clicks <= 3


def test_googles_implemented_papers_of_2020_take_four_clicks(reader: Reader, library: Library) -> None:
    page = reader.page
    reader.click(tab(page, "Papers"))
    reader.click(choice(page, "affiliation", "family:Google"))
    reader.click(choice(page, "implemented", "yes"))
    reader.click(choice(page, "year", "2020"))
    google = set(library.settings.families["Google"])
    wanted = {
        paper.reference.title
        for paper in library.papers.values()
        if google & set(paper.card.affiliations) and library.module_of(paper) and "2020" in str(paper.reference.issued)
    }
    assert wanted
    titles = page.locator(".q-found:visible .q-card h2")
    expect(titles).to_have_count(len(wanted))
    assert set(titles.all_inner_texts()) == wanted
    assert reader.clicks <= 4


def test_an_answer_is_found_by_a_misspelt_search_with_one_click(reader: Reader) -> None:
    page = reader.page
    page.keyboard.press("/")
    page.keyboard.type("lerning rate warm")
    reader.click(page.locator(".q-hit", has_text="warm").first)
    expect(page).to_have_url(re.compile(r"/papers/transformer/.*#why-warm-up$"))
    expect(page.locator("details[open] #why-warm-up")).to_be_in_viewport()
    assert reader.clicks <= 1


def test_from_an_answer_its_line_takes_a_click_and_what_runs_it_another(page: Page, library: Library) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{CARD}#path-length")
    reader, question = Reader(page), page.locator("details.q-question:has(#path-length)")
    expect(question).to_have_attribute("open", "")
    answer = library.questions["transformer.path-length"].answer
    assert answer
    lines = question.locator(f'a[href$="#L{answer.place.line}"], a[href*="/code/"]')
    assert lines.count() >= 1
    reader.click(question.get_by_role("button", name="commands that run it"))
    expect(question.get_by_role("button", name="Copied")).to_be_visible()
    assert "quaere verify transformer.path-length" in page.evaluate("navigator.clipboard.readText()")
    assert reader.clicks <= 1


def test_zotero_takes_a_cards_paper_and_a_lists_papers_from_the_page(page: Page, library: Library) -> None:
    def taken() -> list[dict[str, list[str]]]:
        spans = page.locator("span.Z3988").evaluate_all("all => all.map((one) => one.title)")
        return [parse_qs(title, strict_parsing=True) for title in spans]

    page.goto(CARD)
    (paper,) = taken()
    assert paper["ctx_ver"] == ["Z39.88-2004"]
    assert paper["rft.title"] == ["Attention Is All You Need"]
    assert paper["rft.creator"][0] == "Ashish Vaswani"
    assert paper["rft.date"] == ["2017"]
    assert "https://arxiv.org/abs/1706.03762" in paper["rft_id"]
    # The embedded metadata, which other reference managers read.
    metas = dict(page.locator("meta[name^=citation_]").evaluate_all("all => all.map((one) => [one.name, one.content])"))
    assert metas["citation_title"] == "Attention Is All You Need"
    page.goto("papers/")
    assert len(taken()) == len(library.papers)


def test_a_shared_view_opens_as_it_was_and_the_back_button_leads_back(reader: Reader, browser: Browser) -> None:
    page = reader.page
    reader.click(tab(page, "Papers"))
    reader.click(choice(page, "implemented", "yes"))
    titles = page.locator(".q-found:visible .q-card h2")
    seen = titles.all_inner_texts()
    with browser.new_context() as other:
        shared = other.new_page()
        shared.goto(page.url)
        expect(shared.locator(".q-found:visible .q-card h2")).to_have_text(seen)
    reader.click(titles.locator("a").first)
    page.go_back()
    expect(titles).to_have_text(seen)
    expect(choice(page, "implemented", "yes")).to_be_checked()
    assert reader.clicks <= 3


def test_what_is_new_is_a_feed_that_each_page_names(reader: Reader, site: Path) -> None:
    page = reader.page
    feeds = page.locator('link[rel~=alternate][type="application/atom+xml"]').evaluate_all(
        "all => all.map((one) => one.href)"
    )
    assert feeds
    for address in feeds:
        text = page.request.get(address).text()
        dates = [entry.findtext(f"{ATOM}updated") for entry in ElementTree.fromstring(text).iter(f"{ATOM}entry")]
        assert dates
        assert dates == sorted(dates, key=str, reverse=True)
    reader.click(tab(page, "Questions"))
    assert page.locator('main a[type="application/atom+xml"]').count() >= 1
    assert reader.clicks <= 1


def test_the_lineage_leads_from_home_to_a_paper_with_one_click(reader: Reader) -> None:
    page = reader.page
    reader.click(page.locator("main svg a").first)
    expect(page).to_have_url(re.compile(r"/papers/\w+/"))
    assert reader.clicks <= 1


def test_the_data_are_two_clicks_away_and_whole(reader: Reader, library: Library) -> None:
    page = reader.page
    reader.click(tab(page, "Papers"))
    for name in ("library.json", "references.bib", "references.csl.json", "references.ris"):
        link = page.locator(f'main a[download][href$="{name}"]')
        with page.expect_download() as started:
            link.click()  # the second click, whichever of them it is
        text = started.value.path().read_text(encoding="utf-8")
        if name == "library.json":
            dump = json.loads(text)
            assert len(dump["papers"]) == len(library.papers)
        else:
            assert "Attention Is All You Need" in text or "Attention is All" in text
    assert reader.clicks <= 1


@pytest.fixture
def scriptless(browser: Browser, address: str) -> Iterator[BrowserContext]:
    with browser.new_context(base_url=address, java_script_enabled=False) as context:
        context.set_default_timeout(PATIENCE)
        yield context


def test_without_scripts_an_answer_and_all_questions_can_be_read(scriptless: BrowserContext, library: Library) -> None:
    page = scriptless.new_page()
    page.goto("")
    reader = Reader(page)
    reader.click(tab(page, "Questions"))
    links = page.locator("main .q-group li > a")
    assert links.count() == len(library.questions)
    reader.click(links.filter(has_text="warm").first)
    fold = page.locator("details.q-question:has(:target)")
    expect(fold).to_be_visible()
    if fold.get_attribute("open") is None:
        reader.click(fold.locator("summary"))
    expect(fold.locator("pre").first).to_be_visible()
    assert reader.clicks <= 3


def test_on_a_phone_the_questions_of_a_large_library_are_read_and_narrowed(
    browser: Browser, thousand_address: str
) -> None:
    with browser.new_context(base_url=thousand_address, viewport={"width": 390, "height": 844}) as context:
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.goto("questions/?state=open&tag=recurrence")
        shown = page.locator(".q-found:visible .q-group li")
        expect(shown.first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        narrow = [box for one in shown.all()[:20] if (box := one.bounding_box())]
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in narrow)
        targets = shown.first.locator("a").bounding_box()
        assert targets
        assert targets["height"] >= 18


def test_a_card_with_all_its_answers_is_printed_with_three_clicks(reader: Reader) -> None:
    page = reader.page
    # The dialog would wait for somebody.
    page.add_init_script(
        "window.print = () => { window.closed_ = document.querySelectorAll('details:not([open])').length }"
    )
    reader.click(tab(page, "Papers"))
    reader.click(page.locator(".q-card h2 a", has_text="Attention Is All You Need"))
    reader.click(page.get_by_role("button", name="Print with all answers"))
    assert page.evaluate("window.closed_") == 0
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) > 24
    assert reader.clicks <= 3


def test_by_keys_alone_an_answer_is_found_and_copied_with_few_of_them(reader: Reader) -> None:
    page, keys = reader.page, 0
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])

    def press(key: str) -> None:
        nonlocal keys
        page.keyboard.press(key)
        keys += 1

    press("/")
    page.keyboard.type("why warm up")
    page.locator("dialog[data-searched]").wait_for()
    press("Enter")
    expect(page.locator("details.q-question[open] #why-warm-up")).to_be_in_viewport()
    # The keyboard goes on where the address led to.
    while not page.evaluate("document.activeElement.matches('[open] .q-copy')") and keys < 12:
        press("Tab")
    press("Enter")
    expect(page.locator(".q-copy", has_text="Copied")).to_be_visible()
    assert "loss_in_the_end(PostNorm" in page.evaluate("navigator.clipboard.readText()")
    assert keys <= 12
    assert reader.clicks == 0


def test_who_wants_no_motion_gets_to_an_answer_with_as_many_clicks_and_sees_nothing_move(reader: Reader) -> None:
    page = reader.page
    page.emulate_media(reduced_motion="reduce")
    # Whatever moves for longer than an instant, by style or by script, is noted.
    page.add_init_script(
        """window.moved = [];
        for (const kind of ["transitionrun", "animationstart"]) {
            addEventListener(kind, ({ target, elapsedTime }) => {
                for (const one of target.getAnimations()) {
                    const { duration, delay } = one.effect.getComputedTiming();
                    if (duration + delay > 10) window.moved.push(`${kind} ${target.tagName}.${target.className}`);
                }
            }, true);
        }
        for (const of of [Element.prototype, window]) {
            for (const name of ["scrollTo", "scrollBy", "scrollIntoView"]) {
                const before = of[name];
                if (before) of[name] = function (...given) {
                    if (given[0]?.behavior === "smooth") window.moved.push(name);
                    return before.apply(this, given);
                };
            }
        }"""
    )
    page.goto("questions/")
    reader.click(page.locator(".q-listed li a", has_text="learning rate warm up").first)
    expect(page.locator("details.q-question[open] #why-warm-up")).to_be_in_viewport()
    page.locator("summary:has(#cite_)").click()
    page.locator(".tabbed-labels label").last.click()
    # The contents follow what is read.
    for _ in range(3):
        page.mouse.wheel(0, -700)
        page.wait_for_timeout(300)
    page.keyboard.press("/")
    assert page.evaluate("window.moved") == []
    assert reader.clicks <= 1


def test_on_a_phone_a_question_is_found_among_all_with_six_taps(browser: Browser, address: str) -> None:
    with browser.new_context(base_url=address, viewport={"width": 390, "height": 844}, has_touch=True) as context:
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.goto("")
        reader = Reader(page)
        reader.click(page.locator(".md-header label[for=__drawer]"))
        reader.click(page.locator(".md-nav--primary .md-nav__link:visible", has_text=re.compile(r"^\s*Questions\s*$")))
        reader.click(page.locator(".q-filter > summary"))
        reader.click(choice(page, "state", "open"))
        reader.click(page.get_by_role("button", name=re.compile(r"^See \d+ questions$")))
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        reader.click(page.locator(".q-found:visible .q-group li > a").first)
        expect(page).to_have_url(re.compile(r"/papers/\w+/#"))
        expect(page.locator("details[open] h3:target")).to_be_in_viewport()
        assert reader.clicks <= 6


READ = r"""() => {
    for (const fold of document.querySelectorAll("details")) fold.open = true;
    // What only a script can do, and what it says of that.
    const made = "form, button, dialog, .q-found, .q-shown, .q-meant, .q-search-place, .tabbed-labels a";
    const isRead = (one) => one.checkVisibility({ visibilityProperty: true }) && !one.closest(made);
    const words = (one) => one.textContent.replace(/\s+/g, " ").trim();
    const texts = "h1, h2, h3, h4, p, li, td, th, dt, dd, pre, summary, figcaption, text";
    return [
        [...document.querySelectorAll("a[href]")].filter(isRead)
            .map((one) => new URL(one.getAttribute("href"), location).href),
        [...document.querySelectorAll(`main :is(${texts})`)].filter((one) => isRead(one) && !one.querySelector(made))
            .map(words),
        [...document.querySelectorAll("main img")].filter(isRead).map((one) => one.src),
    ];
}"""


@pytest.mark.parametrize(
    "kinds", [{"papers", "questions/", "code", "reference/"}, pytest.param(None, marks=pytest.mark.slow)]
)
def test_without_scripts_each_kind_of_page_says_and_reaches_what_it_does_with_them(
    context: BrowserContext, scriptless: BrowserContext, site: Path, kinds: set[str] | None
) -> None:
    page, bare = context.new_page(), scriptless.new_page()
    page.emulate_media(color_scheme="light")
    bare.emulate_media(color_scheme="light")
    lost: list[str] = []
    every = by_kind(site)
    assert {*(kinds or ())} <= every.keys()
    for kind, (path, *_) in every.items():
        if kinds and kind not in kinds:
            continue
        visit(page, path)
        bare.goto(path)
        for with_them, without in zip(page.evaluate(READ), bare.evaluate(READ), strict=True):
            lost += (f"{kind} {path}: {one[:120]}" for one in with_them if one and one not in set(without))
    assert lost == []
