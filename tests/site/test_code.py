"""What a reader does with the code of a module: read it beside what explains it, follow names, point at lines, copy."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.site.conftest import visit

CODE = "code/transformer/"


def columns(page: Page) -> list[tuple[float, float]]:
    """Return where the explanation and the lines of each row start, from the left."""
    found: list[tuple[float, float]] = page.locator(".q-row:has(h2)").evaluate_all(
        "all => all.map(row => [...row.children].map(one => Math.round(one.getBoundingClientRect().left)))"
    )
    return found


def test_code_stands_beside_what_explains_it_and_below_it_on_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(CODE)
    assert len({tuple(row) for row in columns(page)}) == 1
    (beside, lines) = columns(page)[0]
    assert beside + 300 < lines
    # What is said beside the lines is not said between them.
    assert page.locator(".q-row .q-said").first.evaluate("one => one.getBoundingClientRect().height") == 0
    expect(page.locator(".q-guide li a[href='#PostNorm']")).to_be_visible()
    # The contents follow, and stay in view.
    page.locator("#label_smoothed_cross_entropy").scroll_into_view_if_needed()
    page.mouse.wheel(0, 600)
    expect(page.locator(".q-guide a[aria-current]")).to_be_in_viewport()

    page.set_viewport_size({"width": 390, "height": 844})
    assert {beside == lines for beside, lines in columns(page)} == {True}
    # The name breaks at its dots and underscores alone.
    assert (
        page.locator("h1").evaluate("""one => {
        const walk = document.createTreeWalker(one, NodeFilter.SHOW_TEXT);
        const broken = [];
        while (walk.nextNode()) {
            for (const { 0: word, index } of walk.currentNode.data.matchAll(/\\S+/g)) {
                const range = new Range();
                range.setStart(walk.currentNode, index);
                range.setEnd(walk.currentNode, index + word.length);
                if (range.getClientRects().length > 1) broken.push(word);
            }
        }
        return broken;
    }""")
        == []
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("article [style]").count() == page.locator("article .katex [style]").count()


def test_an_answer_opens_where_it_is_asked_and_a_name_leads_to_its_definition(page: Page) -> None:
    page.goto(CODE)
    asked = page.locator("[id='asked.transformer.path-length']")
    expect(asked.locator(".highlight").first).to_be_hidden()
    asked.locator("summary").click()
    expect(asked.locator(".highlight").first).to_be_visible()

    page.locator("#L108").get_by_role("link", name="MultiHeadAttention").click()
    expect(page).to_have_url(re.compile(r"/code/layers\.attention/#MultiHeadAttention$"))
    expect(page.get_by_role("heading", name="MultiHeadAttention")).to_be_in_viewport()
    # It stays there: rows above it that were not laid out yet would move it when they are.
    laid_out = "rows => rows.map(row => getComputedStyle(row).contentVisibility)"
    assert set(page.locator(".q-row").evaluate_all(laid_out)) == {"visible"}


def test_a_row_that_is_not_laid_out_keeps_as_much_room_as_it_takes_on_a_phone(phone: Page) -> None:
    phone.goto(CODE)
    rooms = phone.locator(".q-row").evaluate_all("""rows => rows.map(row => {
        const room = parseFloat(getComputedStyle(row).containIntrinsicHeight.match(/[\\d.]+/)[0]);
        row.style.contentVisibility = "visible";
        return [room, row.getBoundingClientRect().height];
    })""")
    assert len(rooms) > 20
    assert [(room, takes) for room, takes in rooms if takes > room] == []


def test_lines_are_named_in_the_address_and_copied_without_what_stands_beside_them(context: BrowserContext) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    # Whichever comes first.
    page.goto(f"{CODE}#L67-L62")
    expect(page.locator("#L62")).to_be_in_viewport()
    marked = page.locator(".q-on")
    expect(marked.first).to_be_visible()
    first = marked.count()
    number = page.locator("#L64").bounding_box()
    assert number
    page.mouse.click(number["x"] + 10, number["y"] + 5)
    expect(page).to_have_url(re.compile("#L64$"))
    page.keyboard.down("Shift")
    line = page.locator("#L66").bounding_box()
    assert line
    page.mouse.click(line["x"] + 10, line["y"] + 5)
    page.keyboard.up("Shift")
    expect(page).to_have_url(re.compile("#L64-L66$"))
    expect(marked).not_to_have_count(first)

    page.evaluate("""() => {
        const end = document.querySelector("#L66");
        getSelection().setBaseAndExtent(document.querySelector("#L62"), 0, end, end.childNodes.length);
    }""")
    page.keyboard.press("ControlOrMeta+C")
    copied = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert [line.strip() for line in copied if line.strip()] == [
        "self.norm, self.dropout = nn.LayerNorm(d_model), nn.Dropout(dropout)",
        'def input(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:',
        '"""…"""',
        "return self.norm(x)",
    ]


@pytest.mark.parametrize("path", [CODE, "papers/transformer/"])
def test_a_phone_lays_out_no_more_than_is_in_sight(page: Page, path: str) -> None:
    page.set_viewport_size({"width": 412, "height": 823})
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    visit(page, path)
    found = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    # Whatever asks for the size of each code block or heading has the browser draw all that is folded or far below.
    assert found["Nodes"] > 5 * found["LayoutObjects"]
