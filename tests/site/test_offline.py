"""The copy of the site that opens from files, in a browser without a network."""

from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Request, expect

from quaere.site import offline
from tests.site.conftest import PATIENCE, Reader, with_mermaid


def test_a_copy_works_from_files_without_a_network(browser: Browser, site: Path) -> None:
    copy = offline.copy(site)
    home, figures = copy.as_uri(), copy / "architecture/index.html"
    figures.write_text(with_mermaid(figures.read_text(encoding="utf-8")), encoding="utf-8")
    faults: list[str] = []

    def logs(message: ConsoleMessage) -> None:
        if message.type == "error":
            faults.append(message.text)

    def asks(request: Request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            faults.append(request.url)

    with browser.new_context(offline=True, color_scheme="dark", viewport={"width": 1280, "height": 800}) as context:
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("console", logs)
        page.on("request", asks)
        page.on("pageerror", lambda error: faults.append(str(error)))

        # An answer is found by a misspelt search with one click.
        page.goto(f"{home}/index.html")
        reader = Reader(page)
        page.keyboard.press("/")
        page.keyboard.type("lerning rate warm")
        reader.click(page.locator(".q-hit", has_text="warm").first)
        expect(page).to_have_url(f"{home}/papers/transformer/index.html#why-warm-up")
        expect(page.locator("details.q-question[open] #why-warm-up")).to_be_in_viewport()
        assert reader.clicks <= 1
        page.keyboard.press("/")
        page.locator("dialog.q-search input").fill("https://arxiv.org/abs/1706.03762")
        expect(page.locator(".q-hit").first).to_contain_text("Attention Is All You Need")
        assert not faults, "\n".join(faults)

        page.goto(f"{home}/index.html")
        page.locator("header nav, .md-tabs").get_by_role("link", name="Papers").first.click()
        expect(page).to_have_url(f"{home}/papers/index.html")

        page.goto(f"{home}/papers/transformer/index.html#path-length")
        expect(page.locator("details.q-question[open] #path-length")).to_be_in_viewport()
        assert page.locator("body").get_attribute("data-md-color-scheme") == "slate"
        fonts = "document.fonts.ready.then(() => [...document.fonts].some(one => one.status === 'loaded'))"
        assert page.evaluate(fonts)

        page.goto(f"{home}/architecture/index.html")
        expect(page.locator(".diagram[data-drawn] svg").first).to_be_visible()

        page.goto(f"{home}/reference/transformer/index.html")
        page.get_by_role("link", name="← Reference").click()
        expect(page).to_have_url(f"{home}/reference/index.html")

        page.goto(f"{home}/questions/index.html?state=open")
        assert page.locator(".q-badge[data-state=open]:visible").count() > 10
        assert page.locator(".q-badge[data-state=demonstrated]:visible").count() == 0
    assert not faults, "\n".join(faults)
