"""What axe-core finds on the main kinds of page, in both palettes."""

from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page

AXE = Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js"
PAGES = [
    "",
    "papers/relative_positions/",
    "papers/vit/",
    "questions/",
    "experiments/",
    "speed/",
    "reference/layers.positions/",
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing_serious(page: Page, path: str, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.goto(path, wait_until="networkidle")
    # A page is whole once its scripts have run, which a busy machine may leave for later.
    page.locator(".md-search[aria-label]").wait_for(state="attached")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    assert page.locator("body").get_attribute("data-md-color-scheme") == {"light": "default", "dark": "slate"}[scheme]
    # The page's policy lets no script tag in.
    page.evaluate(AXE.read_text(encoding="utf-8"))
    result = page.evaluate("axe.run({resultTypes: ['violations']})")
    assert result["passes"], "axe checked nothing"
    faults = [
        f"{violation['id']} ({violation['impact']}): {node['target'][0]} {node['html'][:120]}"
        for violation in result["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
    assert not faults, "\n".join(faults)
