"""The search: what is found first, by keys alone, in the address, on a phone, and without a script."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from benchmarks import generated
from tests.site.conftest import PATIENCE, settle, visit
from tests.site.test_accessibility import AXE, found

CARD, PATCHES = "papers/transformer/", "papers/attention_agent/#learnt-numbers"
ATTENTION = "reference/layers.attention/#reference_impl.layers.attention."
FIRST = {
    # Titles and short names, whole and begun.
    "Attention Is All You Need": CARD,
    "attention is all": CARD,
    "transformer": CARD,
    "BERT": "papers/bert/",
    "bidirectional trans": "papers/bert/",
    "swin": "papers/swin/",
    "ViT": "papers/vit/",
    "rnnsearch": "papers/bahdanau/",
    # Typing errors.
    "atention": CARD,
    "trasnformer": CARD,
    "Vasvani": CARD,
    "bahdanu": "papers/bahdanau/",
    "atention is all you ned": CARD,
    # Words besides: such as say little, such as the library has nowhere, and such as stand elsewhere.
    "what is BERT": "papers/bert/",
    "the transformer": CARD,
    "bert huggingface": "papers/bert/",
    "attention is all you need pdf": CARD,
    "detr github": "papers/detr/",
    # People.
    "vaswani": CARD,
    "ashish vaswani": CARD,
    "hochreiter schmidhuber": "papers/lstm/",
    "dollar": "papers/mae/",
    "Dollár": "papers/mae/",
    # Identifiers, as they are pasted.
    "1706.03762": CARD,
    "arXiv:1706.03762v5": CARD,
    "https://arxiv.org/abs/1706.03762v7": CARD,
    "https://arxiv.org/pdf/1706.03762.pdf": CARD,
    "10.1162/neco.1997.9.8.1735": "papers/lstm/",
    "https://doi.org/10.1162%2Fneco.1997.9.8.1735": "papers/lstm/",
    # Questions and what else stands on pages.
    "how many learned parameters select patches": PATCHES,
    "why does the learning rate warm up": f"{CARD}#why-warm-up",
    "positional encodings": "topics/positional-encodings/",
    "command line": "guide/command-line/",
    "padding_mask": f"{ATTENTION}padding_mask",
    "scaled_dot_product_attention": f"{ATTENTION}scaled_dot_product_attention",
    "scaled dot product": f"{ATTENTION}scaled_dot_product_attention",
    "MultiHeadAttention": f"{ATTENTION}MultiHeadAttention",
    # Lists.
    "interpretability": "tags/#interpretability",
    "google": "affiliations/#google",
}


def searched(page: Page, query: str) -> Locator:
    """Type a query into the open search, and return the hits once all are there."""
    page.locator("dialog.q-search input").fill(query)
    page.locator("dialog[data-searched]").wait_for()
    return page.locator(".q-hit")


def opened(page: Page, path: str = "") -> Page:
    page.goto(path)
    page.locator("button.q-search-open").wait_for()
    page.keyboard.press("/")
    expect(page.locator("dialog.q-search input")).to_be_focused()
    return page


def first(page: Page, query: str) -> str:
    hits = searched(page, query)
    return str(hits.first.evaluate("hit => hit.href")).partition("/sub/path/")[2] if hits.count() else ""


def test_the_obvious_hit_comes_first(page: Page) -> None:
    opened(page)
    assert {query: first(page, query) for query in FIRST} == FIRST


@pytest.mark.slow
def test_the_obvious_hit_comes_first_among_a_thousand(browser: Browser, thousand_address: str) -> None:
    with browser.new_context(base_url=thousand_address) as context:
        context.set_default_timeout(PATIENCE)
        page = opened(context.new_page())
        wanted: dict[str, str] = {}
        for number in range(0, 1000, 97):
            one = generated.card(number)
            card = f"papers/{one.slug}/"
            asked = one.questions[0]
            wanted |= {
                one.title: card,
                one.title.split(": ")[1].lower(): card,
                f"https://arxiv.org/abs/{one.arxiv}v2": card,
                f"doi:10.9999/{one.slug}": card,
                asked.ask: f"{card}#{asked.id}",
            }
        assert {query: first(page, query) for query in wanted} == wanted
        accents = [searched(page, name).all_inner_texts() for name in ("Müller", "Muller")]
        assert accents[0] == accents[1] != []
        expect(searched(page, "神经网络").first.locator("mark").first).to_have_text("神经网络")


def test_it_is_said_whether_all_results_are_shown(page: Page) -> None:
    opened(page)
    said = page.locator(".q-search-said")
    for query, told in {
        "transformer": "The best 24 results",
        "1706.03762": "1 result",
        "qwerty": "Nothing found",
    }.items():
        searched(page, query)
        expect(said).to_have_text(told)


def test_the_search_is_used_by_keys_alone(page: Page) -> None:
    opened(page, "papers/vit/")
    box = page.locator("dialog.q-search input")
    expect(box).to_have_attribute("aria-expanded", "false")
    hits = searched(page, "warm up")
    expect(box).to_have_attribute("aria-expanded", "true")
    for key, chosen in (("", 0), ("ArrowDown", 1), ("ArrowUp", 0), ("ArrowUp", -1), ("ArrowDown", 0)):
        if key:
            page.keyboard.press(key)
        now = hits.last if chosen < 0 else hits.nth(chosen)
        expect(now).to_have_attribute("aria-selected", "true")
        expect(box).to_have_attribute("aria-activedescendant", str(now.get_attribute("id")))
    expect(page.locator("[aria-selected=true]")).to_have_count(1)
    page.keyboard.press("Tab")
    expect(page.locator(".q-search-close")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(box).to_be_focused()
    # What ends a word of Chinese or Japanese is no choice yet.
    composed = "new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true, cancelable: true })"
    assert box.evaluate(f"box => box.dispatchEvent({composed})")
    page.evaluate("window.open = (...given) => { window.given = given }")
    page.keyboard.press("ControlOrMeta+Enter")
    assert str(page.evaluate("window.given")[0]).endswith("/papers/transformer/#why-warm-up")
    page.keyboard.press("Enter")
    # The very question, open.
    page.wait_for_url(re.compile(r"/papers/transformer/#why-warm-up$"))
    expect(page.locator("details.q-question[open] #why-warm-up")).to_be_in_viewport()

    page.go_back()
    expect(page).to_have_url(re.compile(r"/papers/vit/\?q=warm\+up$"))
    expect(box).to_have_value("warm up")
    expect(hits.first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog.q-search")).to_be_hidden()
    expect(page).to_have_url(re.compile(r"/papers/vit/$"))
    page.keyboard.press("Control+Shift+k")
    expect(page.locator("dialog.q-search")).to_be_hidden()
    page.keyboard.press("Control+k")
    expect(box).to_be_focused()
    expect(box).to_have_attribute("aria-expanded", "false")
    # A click beside the dialog.
    page.mouse.click(2, 400)
    expect(page.locator("dialog.q-search")).to_be_hidden()
    page.keyboard.press("Control+k")
    expect(box).to_be_focused()
    page.go_back()
    expect(page.locator("dialog.q-search")).to_be_hidden()
    expect(page).to_have_url(re.compile(r"/papers/vit/$"))


def test_a_search_can_be_shared_and_shows_what_it_found(page: Page) -> None:
    page.goto("questions/?state=open&q=Why%20warm-up")
    hit = page.locator(".q-hit").first
    expect(hit.locator(".q-badge")).to_have_text("demonstrated")
    expect(hit.locator(".q-hit-title mark")).to_have_text(["Why", "warm", "up"])
    expect(page.locator(".q-search-said")).to_have_text(re.compile(r"^\d+ results$"))
    expect(hit.locator(".q-hit-context")).not_to_be_empty()
    searched(page, "1706.03762")
    expect(page.locator(".q-search-said")).to_have_text("1 result")
    searched(page, "qqqqqq")
    expect(page.locator(".q-search-said")).to_have_text("Nothing found")
    page.locator(".q-search-close").click()
    expect(page).to_have_url(re.compile(r"/questions/\?state=open$"))


def test_nothing_is_fetched_for_the_search_before_somebody_is_about_to_use_it(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rpartition("assets/data/")[2]))
    opener = page.locator("button.q-search-open")
    begins: tuple[Callable[[], None], ...] = (lambda: page.keyboard.press("/"), opener.focus, opener.hover)
    for begin in begins:
        visit(page, CARD)
        assert [path for path in asked if path.startswith("search/")] == []
        with page.expect_request("**/assets/data/**"):
            begin()
        settle(page)
        assert [path for path in asked if path.startswith("search/")] == ["search/names.json"]
        asked.clear()


def test_the_first_result_waits_for_no_more_than_it_needs(page: Page) -> None:
    asked: list[str] = []
    # Whatever is held back never comes.
    page.route(re.compile(r"/search/(words|pages)/"), lambda route: asked.append(route.request.url))
    opened(page)
    box, hit = page.locator("dialog.q-search input"), page.locator(".q-hit").first
    box.fill("1706.03762")
    expect(hit).to_contain_text("Attention Is All You Need")
    assert asked == []
    # What nothing is called after: the pages come before what they say.
    page.unroute(re.compile(r"/search/(words|pages)/"))
    page.route("**/search/pages/*", lambda route: None)
    box.fill("placeholders")
    expect(hit).not_to_contain_text("Attention Is All You Need")
    expect(page.locator("dialog[data-searched]")).to_have_count(0)


@pytest.fixture
def phone(browser: Browser, address: str) -> Iterator[Page]:
    with browser.new_context(base_url=address, viewport={"width": 390, "height": 844}, has_touch=True) as context:
        context.set_default_timeout(PATIENCE)
        yield context.new_page()


def test_the_search_fits_a_phone_and_axe_finds_nothing(phone: Page) -> None:
    phone.emulate_media(color_scheme="light", reduced_motion="reduce")
    phone.goto(CARD)
    phone.locator("button.q-search-open").tap()
    hits = searched(phone, "transformer")
    assert phone.locator("dialog.q-search").evaluate("one => one.scrollWidth <= 390 && one.clientWidth == 390")
    assert hits.evaluate_all("all => all.every(one => one.scrollWidth <= one.clientWidth && one.clientHeight >= 40)")
    phone.evaluate(AXE.read_text(encoding="utf-8"))
    assert (
        found(phone, "default", runOnly=["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]) == []
    )
    phone.emulate_media(color_scheme="dark")
    assert found(phone, "slate", runOnly=["color-contrast"]) == []
    hits.first.tap()
    phone.wait_for_url(re.compile(r"/papers/transformer/$"))


def test_without_javascript_a_link_leads_to_the_papers(browser: Browser, address: str) -> None:
    with browser.new_context(base_url=address, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto("questions/")
        expect(page.locator("button.q-search-open")).to_be_hidden()
        expect(page.locator("dialog.q-search")).to_be_hidden()
        page.locator("a.q-search-open").click()
        expect(page).to_have_url(re.compile(r"/sub/path/papers/$"))


def test_what_cannot_be_loaded_is_told(context: BrowserContext) -> None:
    context.route("**/names.json", lambda route: route.abort())
    page = opened(context.new_page())
    page.locator("dialog.q-search input").fill("transformer")
    expect(page.locator(".q-search-said")).to_contain_text("can’t be loaded")
    # It can be tried again.
    context.unroute("**/names.json")
    expect(searched(page, "transformer").first).to_be_visible()
