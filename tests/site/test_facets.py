"""Facets: the address, back and forward, counts, the keyboard, a phone, no JavaScript; here and in a large library."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote

import pytest
from playwright.sync_api import Browser, BrowserContext, CDPSession, Locator, Page, Route, expect

from quaere.content.model import Card, Library
from quaere.content.states import State
from quaere.project import Project
from tests.own import LIBRARY, ROOT
from tests.site.conftest import PATIENCE

GOOGLE = "family=Google"


@pytest.fixture(scope="module")
def library() -> Library:
    return LIBRARY


@pytest.fixture(scope="module")
def states(library: Library) -> dict[str, State]:
    verdicts = Project.find(ROOT).verdicts(library)
    return {id: asked.state(verdicts) for id, asked in library.questions.items()}


def papers_with(library: Library, **wanted: str) -> set[str]:
    """Return the titles of the papers whose cards have these: a tag, a member of a family, code."""
    families = library.settings.families

    def fits(card: Card, has_code: bool) -> bool:
        of_family = families.get(wanted.get("family", ""), [])
        return all(
            (
                "tag" not in wanted or wanted["tag"] in card.tags,
                "family" not in wanted or set(card.affiliations) & set(of_family),
                "implemented" not in wanted or has_code is (wanted["implemented"] == "yes"),
            )
        )

    papers = library.papers.values()
    return {paper.reference.title for paper in papers if fits(paper.card, library.module_of(paper) is not None)}


def facet(page: Page, name: str) -> Locator:
    return page.locator(f'fieldset[data-facet="{name}"]')


def box(page: Page, name: str, value: str) -> Locator:
    return facet(page, name).locator(f'input[data-value="{value}"]')


def number(page: Page, name: str, value: str) -> Locator:
    return facet(page, name).locator(f'li:has(input[data-value="{value}"]) .q-number')


def titles(page: Page) -> Locator:
    return page.locator(".q-found:visible .q-card h2")


def query(page: Page) -> str:
    return page.url.partition("?")[2]


def test_what_is_chosen_stands_in_the_address_and_counts_say_what_a_value_would_leave(
    page: Page, library: Library
) -> None:
    page.goto("papers/")
    whole = box(page, "affiliation", "family:Google")
    rows = facet(page, "affiliation").locator("li")
    before = rows.count()
    whole.press("Space")
    expect(page).to_have_url(re.compile(rf"/papers/\?{GOOGLE}$"))
    # Its members come into sight, and the keyboard stays where it is.
    expect(rows).not_to_have_count(before)
    expect(whole).to_be_focused()
    of_google = papers_with(library, family="Google")
    expect(titles(page)).to_have_count(len(of_google))
    assert len(papers_with(library, family="Microsoft")) < len(of_google) < len(library.papers)
    # Its members are chosen with it.
    assert box(page, "affiliation", "Google Brain Tokyo").is_checked()

    both = papers_with(library, family="Google", implemented="yes")
    expect(number(page, "implemented", "yes")).to_have_text(str(len(both)))
    box(page, "implemented", "yes").check()
    expect(page).to_have_url(re.compile(rf"/papers/\?{GOOGLE}&implemented=yes$"))
    expect(titles(page)).to_have_count(len(both))
    assert set(titles(page).all_inner_texts()) == both
    expect(page.get_by_role("status")).to_have_text(f"{len(both)} of {len(library.papers)} papers.")
    # What the facet itself leaves out is counted all the same.
    rest = papers_with(library, family="Google", implemented="no")
    expect(number(page, "implemented", "no")).to_have_text(str(len(rest)))

    page.go_back()
    expect(titles(page)).to_have_count(len(of_google))
    expect(box(page, "implemented", "yes")).not_to_be_checked()
    page.go_back()
    expect(page.locator(".q-listed")).to_be_visible()
    expect(page.locator(".q-found")).to_be_hidden()
    page.go_forward()
    page.go_forward()
    expect(box(page, "implemented", "yes")).to_be_checked()
    expect(titles(page)).to_have_count(len(both))

    box(page, "affiliation", "Google Brain Tokyo").uncheck()
    expect(box(page, "affiliation", "family:Google")).not_to_be_checked()
    # A family of which some are chosen says so.
    assert box(page, "affiliation", "family:Google").evaluate("box => box.indeterminate")
    assert "family" not in query(page)
    assert "affiliation=Google+Brain&" in f"{query(page)}&"
    page.get_by_role("button", name="Show all papers").click()
    expect(page).to_have_url(re.compile(r"/papers/$"))
    expect(page.locator(".q-listed")).to_be_visible()


def test_several_values_of_a_facet_are_or_and_words_and_orders_are_kept_in_one_step(
    page: Page, library: Library, states: dict[str, State]
) -> None:
    page.goto("papers/?tag=RNN&tag=BERT")
    either = papers_with(library, tag="RNN") | papers_with(library, tag="BERT")
    expect(titles(page)).to_have_count(len(either))
    page.locator("select[name=sort]").select_option("title")
    expect(page).to_have_url(re.compile(r"\?tag=RNN&tag=BERT&sort=title$"))
    expect(titles(page).first).to_have_text(min(either, key=str.casefold))
    # While somebody types, the history grows by one.
    page.locator("input[name=text]").press_sequentially("mémory")
    expect(page).to_have_url(re.compile(rf"&text={quote('mémory')}&sort=title$"))
    expect(titles(page)).to_have_count(sum("memory" in text.casefold() for text in _words(library, either)))
    page.go_back()
    expect(page).to_have_url(re.compile(r"\?tag=RNN&tag=BERT&sort=title$"))
    expect(page.locator("input[name=text]")).to_have_value("")
    expect(titles(page)).to_have_count(len(either))
    page.goto("papers/?sort=open")
    waiting = Counter(one.paper.slug for one in library.questions.values() if states[one.id] is State.OPEN)
    card = page.locator(".q-found .q-card").first
    expect(card.locator(".q-badge[data-state=open]")).to_have_text(f"{max(waiting.values())} open")
    expect(card.locator(".q-published")).not_to_be_empty()
    tag = card.locator(".q-tag").first
    assert parse_qs(str(tag.get_attribute("href"))[1:]) == {"tag": [tag.inner_text()]}
    expect(facet(page, "implemented").locator("li").first).to_contain_text("implemented here")


def _words(library: Library, titles: set[str]) -> Iterator[str]:
    for paper in library.papers.values():
        if paper.reference.title in titles:
            yield f"{paper.reference.title} {paper.card.idea} {paper.reference.venue} {paper.reference.credits}"


def test_questions_are_chosen_by_state_tag_paper_and_words(
    page: Page, library: Library, states: dict[str, State]
) -> None:
    page.goto("questions/?state=open&tag=attention")
    shown = page.locator(".q-found:visible .q-group li")
    tagged = [one for one in library.questions.values() if "attention" in one.paper.card.tags]
    wanted = [one for one in tagged if states[one.id] is State.OPEN]
    assert 0 < len(wanted) < len(tagged)
    expect(shown).to_have_count(len(wanted))
    links = shown.locator("a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert set(links) == {f"../papers/{one.paper.slug}/#{one.question.id}" for one in wanted}
    expect(number(page, "tag", "attention")).to_have_text(str(len(wanted)))
    expect(number(page, "state", "open")).to_have_text(str(len(wanted)))

    page.goto("questions/?paper=transformer")
    expect(shown).to_have_count(len(library.papers["transformer"].card.questions))
    page.locator("input[name=text]").fill("warm")
    expect(shown).to_have_count(1)
    expect(shown).to_contain_text("warm")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("questions/?tag=no-such-tag", "No question has the tag “no-such-tag”."),
        ("questions/?state=%3Cb%3E&paper=transformer", "No question has the state “<b>”."),
        ("papers/?family=Nobody", "No paper has the affiliation “Nobody”."),
    ],
)
def test_an_unknown_value_is_said_and_leads_to_nothing(page: Page, path: str, said: str) -> None:
    page.goto(path)
    expect(page.get_by_role("status")).to_contain_text(said)
    expect(page.locator(".q-found .q-nothing")).to_be_visible()
    expect(page.locator(".q-listed")).to_be_hidden()
    assert page.locator(".q-found :is(.q-card, .q-group)").count() == 0


def test_the_keyboard_alone_chooses_and_keeps_its_place(page: Page) -> None:
    page.goto("papers/")
    tag = box(page, "tag", "NLP")
    tag.focus()
    page.keyboard.press("Space")
    expect(page).to_have_url(re.compile(r"\?tag=NLP$"))
    expect(tag).to_be_focused()
    # A value that is none of the first ones is found by name.
    page.keyboard.press("Shift+Tab")
    page.get_by_label("Find in Tag").focus()
    # In a field, a slash is a letter and no key of the search.
    page.keyboard.type("/")
    page.keyboard.press("Backspace")
    page.keyboard.type("kernel")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page).to_have_url(re.compile(r"\?tag=NLP&tag=kernel\+methods$"))


def test_a_phone_shows_the_facets_in_a_disclosure(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("papers/?tag=RNN")
    summary = page.locator(".q-filter > summary")
    expect(summary).to_have_text("Filter: 1 chosen")
    expect(facet(page, "tag")).to_be_hidden()
    summary.click()
    box(page, "implemented", "yes").check()
    page.get_by_role("button", name=re.compile(r"^See \d+ papers?$")).click()
    expect(facet(page, "tag")).to_be_hidden()
    expect(titles(page).first).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [390, 800])
def test_what_is_found_keeps_a_distance_from_the_facets_above_it(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.goto("questions/")
    facets, list_ = page.locator(".q-filter"), page.locator(".q-faceted h2, .q-faceted h3").first
    expect(facets).to_be_visible()
    bottom = facets.evaluate("facets => facets.getBoundingClientRect().bottom")
    assert list_.evaluate("list => list.getBoundingClientRect().top") - bottom >= 10


def test_of_thousands_of_hostile_values_a_few_are_drawn_as_text(page: Page) -> None:
    def spoil(route: Route) -> None:
        data = route.fetch().json()
        values = ["", *(f'"><img src=x onerror="window.ran = 1">{at:04}' for at in range(1, 5000))]
        data["facets"][0] = {"name": "tag", "values": values, "labels": ["none", *values[1:]]}
        data["items"] = [[[at], *rest] for at, (_, *rest) in enumerate(data["items"])]
        route.fulfill(json=data)

    page.route("**/assets/data/papers.json", spoil)
    page.goto("papers/")
    rows = facet(page, "tag").locator("li")
    expect(rows).to_have_count(8)
    facet(page, "tag").get_by_role("button", name="Show 200 of 5000").click()
    expect(rows).to_have_count(200)
    page.get_by_label("Find in Tag").fill("img src")
    expect(rows).to_have_count(200)
    page.get_by_label("Find in Tag").fill("4999")
    expect(rows).to_have_text(['"><img src=x onerror="window.ran = 1">4999 0'])
    rows.locator("input").check()
    # What is chosen stays in sight, and is said in the address alone.
    page.get_by_label("Find in Tag").fill("")
    expect(rows).to_have_count(201)
    assert parse_qs(query(page)) == {"tag": ['"><img src=x onerror="window.ran = 1">4999']}
    # A paper without tags is drawn without one.
    page.goto("papers/?tag=")
    expect(titles(page)).to_have_count(1)
    expect(page.locator(".q-found .q-tag")).to_have_count(0)
    assert page.locator("form img").count() == 0
    assert page.evaluate("window.ran") is None


def test_without_javascript_every_paper_and_question_is_reached(
    browser: Browser, address: str, library: Library
) -> None:
    with browser.new_context(base_url=address, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto("papers/")
        expect(page.locator("form.q-facets")).to_be_hidden()
        assert page.locator(".q-listed .q-card").count() == len(library.papers)
        page.get_by_role("link", name="tag", exact=True).click()
        expect(page.locator("h2#rnn")).to_be_visible()
        page.goto("questions/")
        assert page.locator(".q-listed li").count() == len(library.questions)


# A thousand cards


@pytest.fixture
def large(browser: Browser, thousand_address: str) -> Iterator[BrowserContext]:
    with browser.new_context(base_url=thousand_address, viewport={"width": 1280, "height": 800}) as context:
        context.set_default_timeout(PATIENCE)
        yield context


def metrics(session: CDPSession) -> dict[str, float]:
    return {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}


def measured(page: Page) -> CDPSession:
    """Have seconds of the processor measured, for those of a clock tell how much else runs."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    return session


def test_a_thousand_cards_are_filtered_soon_and_only_some_are_drawn(
    browser: Browser, large: BrowserContext, thousand_address: str
) -> None:
    with browser.new_context(base_url=thousand_address, java_script_enabled=False) as context:
        plain = context.new_page()
        session = measured(plain)
        plain.goto("questions/")
        listed = metrics(session)["TaskDuration"]
    page = large.new_page()
    session = measured(page)
    page.goto("questions/")
    expect(page.locator("form.q-facets")).to_be_visible()
    box(page, "state", "open").check()
    expect(page.get_by_role("status")).to_have_text(re.compile(r"^[1-9]\d* of [1-9]\d{3} questions\.$"))
    filtered = metrics(session)
    # It takes four times as long as the list alone; with a query of the whole page for each group it took sixty times.
    assert filtered["TaskDuration"] < 12 * listed
    assert filtered["Nodes"] < 15_000
    shown = page.locator(".q-found li")
    expect(shown).to_have_count(40)
    page.get_by_role("button", name="Show 40 more").click()
    expect(shown).to_have_count(80)
    expect(shown.nth(40).locator("a")).to_be_focused()


@pytest.mark.slow
def test_the_pages_of_a_long_list_hold_all_papers_without_javascript(browser: Browser, thousand_address: str) -> None:
    with browser.new_context(base_url=thousand_address, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto("papers/")
        seen: list[str] = []
        while True:
            seen += page.locator(".q-card h2").evaluate_all("all => all.map(one => one.id)")
            following = page.get_by_role("link", name="Next →")
            if not following.count():
                break
            following.click()
        assert len(seen) == len(set(seen)) == 1000


def test_an_address_of_what_stands_on_a_later_page_by_now_leads_there(large: BrowserContext, thousand: Path) -> None:
    later = (thousand / "questions/page-2/index.html").read_text(encoding="utf-8")
    slug = re.findall(r'<h2 id="(\w+)"', later)[0]
    page = large.new_page()
    page.goto(f"questions/#{slug}")
    expect(page).to_have_url(re.compile(rf"/questions/\?paper={slug}$"))
    expect(page.locator(".q-found .q-group")).to_have_count(1)
    last = (thousand / "papers/page-9/index.html").read_text(encoding="utf-8")
    slug = re.findall(r'<h2 id="(\w+)"', last)[0]
    page.goto(f"papers/#{slug}")
    expect(page).to_have_url(re.compile(rf"/papers/{slug}/$"))
