"""What axe-core finds on the main kinds of page, in both palettes."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

AXE = Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js"
PAGES = [
    "",
    "papers/relative_positions/",
    "papers/vit/",
    "papers/?family=Google&tag=transformer",
    "questions/?state=open&tag=no-such-tag",
    "lineage/",
    "questions/",
    "board/",
    "experiments/",
    "speed/",
    "reference/layers.positions/",
    "code/layers.attention/",
]


@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing_serious(page: Page, path: str) -> None:
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.goto(path, wait_until="networkidle")
    # A page is whole once its scripts have run, which a busy machine may leave for later.
    page.locator("button.q-search-open").wait_for()
    # The page's policy lets no script tag in.
    page.evaluate(AXE.read_text(encoding="utf-8"))
    assert found(page, "default") == []
    page.emulate_media(color_scheme="dark")
    # Of what axe looks at, the palette decides the contrast only.
    assert found(page, "slate", runOnly=["color-contrast"]) == []


def found(page: Page, palette: str, **options: object) -> list[str]:
    """Return what axe finds that is serious, once the page has a palette."""
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", palette)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    result = page.evaluate("options => axe.run(options)", {"resultTypes": ["violations"], **options})
    assert result["passes"], "axe checked nothing"
    return [
        f"{violation['id']} ({violation['impact']}): {node['target'][0]} {node['html'][:120]}"
        for violation in result["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
