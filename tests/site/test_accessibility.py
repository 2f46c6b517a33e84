"""What axe-core finds on each kind of page, on wide and narrow screens and in both palettes; and the keyboard alone."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.site.conftest import by_kind, visit

AXE = Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js"
# What a script makes of a list.
FILTERED = ["papers/?family=Google&tag=transformer", "questions/?state=open&tag=no-such-tag"]
# What of axe's rules depends on the colors or on the width.
NARROW = ["color-contrast", "scrollable-region-focusable", "target-size"]


# The kinds that readers see most, of a middle size; and the slow ones: all kinds, also those that are larger than most.
MOST_SEEN = {"/", "papers/", "questions/", "board/", "lineage/", "papers", "code", "404.html"}


@pytest.mark.parametrize(
    ("place", "seen"),
    [(0, MOST_SEEN), pytest.param(0, None, marks=pytest.mark.slow), pytest.param(-1, None, marks=pytest.mark.slow)],
)
def test_axe_finds_nothing_on_any_kind_of_page(
    page: Page, site: Path, root_address: str, place: int, seen: set[str] | None
) -> None:
    kinds = by_kind(site)
    assert {*MOST_SEEN, "reference/"} <= kinds.keys()
    faults: list[str] = []
    for path in [*FILTERED, *(some[place] for kind, some in kinds.items() if seen is None or kind in seen)]:
        page.set_viewport_size({"width": 1440, "height": 900})
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        # A server shows the page of errors at any address, so that it leads to everything from the root.
        visit(page, root_address + path if path == "404.html" else path)
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        # As it is once a reader has got to it: before, rows of code have a size that is guessed.
        page.evaluate(
            "document.querySelectorAll('.q-row').forEach(one => { one.style.contentVisibility = 'visible'; })"
        )
        # The page's policy lets no script tag in.
        page.evaluate(AXE.read_text(encoding="utf-8"))
        wide = found(page, "default", rules={"target-size": {"enabled": True}})
        page.set_viewport_size({"width": 390, "height": 844})
        page.emulate_media(color_scheme="dark")
        faults += (f"{path}: {one}" for one in [*wide, *found(page, "slate", runOnly=NARROW)])
    assert not faults, "\n".join(faults)


def found(page: Page, palette: str, **options: object) -> list[str]:
    """Return what axe finds once the page has a palette: against WCAG 2.2 AA, and else what it takes for serious."""
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", palette)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    result = page.evaluate("options => axe.run(options)", {"resultTypes": ["violations"], **options})
    assert result["passes"], "axe checked nothing"
    return [
        f"{violation['id']} ({violation['impact']}): {node['target'][0]} {node['html'][:120]}"
        for violation in result["violations"]
        if violation["impact"] in ("serious", "critical") or any(tag.startswith("wcag") for tag in violation["tags"])
        for node in violation["nodes"]
    ]


def test_the_keyboard_alone_reaches_everything_of_a_card(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("papers/transformer/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent.trim()") == "Skip to content"
    page.keyboard.press("Enter")
    # What the pointer can use and the tabulator can't reach.
    stops = page.evaluate(
        """() => {
            const all = "article a[href], article button, article summary, article input, article select";
            const seen = [...document.querySelectorAll(all)].filter((one) => one.checkVisibility());
            return [seen.length, seen.filter((one) => one.tabIndex < 0).map((one) => one.outerHTML.slice(0, 80))];
        }"""
    )
    assert stops[0] > 40
    assert stops[1] == []
    fold = page.locator("details.q-question").first
    tab_to(page, "details.q-question summary")
    page.keyboard.press("Enter")
    expect(fold).to_have_attribute("open", "")
    tab_to(page, ".q-copy")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.press("Enter")
    expect(page.locator(".q-copy").first).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == page.locator(".q-copy").first.get_attribute("data-copy")


def tab_to(page: Page, selector: str) -> None:
    """Press the tabulator until it reaches an element of a kind."""
    for _ in range(150):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"no {selector} in 150 steps")


MOVING = """[...document.querySelectorAll("*")].flatMap((one) => ["", "::before", "::after"].flatMap((part) => {
    const style = getComputedStyle(one, part);
    const longest = Math.max(...[style.transitionDuration, style.animationDuration]
        .flatMap((text) => text.split(",").map(parseFloat)));
    return longest > 0.01 || style.scrollBehavior === "smooth" ? [`${one.tagName}.${one.className}${part}`] : [];
}))"""


def test_nothing_moves_for_who_wants_no_motion(page: Page) -> None:
    page.emulate_media(reduced_motion="no-preference")
    page.goto("papers/transformer/")
    assert len(page.evaluate(MOVING)) > 10
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(f"[...new Set({MOVING})]") == []
