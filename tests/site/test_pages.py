"""Every page of the site: what it asks for, what it says on the console, and where its links lead."""

import functools
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, Response, TimeoutError

from tests.site.conftest import file_of, kind, pages, settle

TABS = 6
LOADED = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"}
ONLY_NAMED = {"canonical", "alternate", "next", "prev", "edit", "license", "author"}
DRAWN = (
    """() => [...document.querySelectorAll(".arithmatex, .diagram")].every(one => one.querySelector(".katex, svg"))"""
)


class Anchors(HTMLParser):
    """Collect a page's anchors, its links, and the addresses from which it loads something."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.anchors: set[str] = {"", "top"}
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.unsized: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "img" and not {"width", "height"} <= given.keys():
            self.unsized.append(given["src"])
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        if tag in LOADED and LOADED[tag] in given and given.get("rel") not in ONLY_NAMED:
            self.loads.add(given[LOADED[tag]])


@functools.cache
def parsed(file: Path) -> Anchors:
    """Read a page, once for all tests: it takes seconds for the whole site."""
    return Anchors(file.read_text(encoding="utf-8"))


def test_each_image_says_how_large_it_is_so_that_nothing_moves_when_it_comes(site: Path) -> None:
    files = list(site.rglob("*.html"))
    assert [(file, image) for file in files for image in parsed(file).unsized] == []


def test_a_page_stands_below_the_tab_of_its_list(site: Path) -> None:
    active = re.compile(r'md-tabs__item--active">\s*<a[^>]*>\s*(.*?)\s*<', re.DOTALL)
    stands = {"papers/vit/": "Papers", "tags/": "Papers", "code/transformer/": "Reference", "topics/": "Topics"}
    stands |= {"reference/": "Reference", "reference/transformer/": "Reference", "board/": "Board", "": "Home"}
    found = {path: active.findall(file_of(site, path).read_text(encoding="utf-8")) for path in stands}
    assert found == {path: [tab] for path, tab in stands.items()}


def some_of_each_kind(site: Path) -> list[str]:
    """List the lists, and of each other kind of page the two that weigh most: those hold whatever a page can hold."""
    by_kind: dict[str, list[str]] = {}
    for path in sorted(pages(site), key=lambda path: -file_of(site, path).stat().st_size):
        by_kind.setdefault(kind(path), []).append(path)
    return sorted(path for paths in by_kind.values() for path in paths[:2])


@pytest.mark.parametrize("listed", [some_of_each_kind, pytest.param(pages, marks=pytest.mark.slow)])
def test_no_page_asks_another_host_or_logs_an_error(
    context: BrowserContext, site: Path, address: str, listed: Callable[[Path], list[str]]
) -> None:
    shown: dict[Page | None, str] = {}
    faults: set[str] = set()

    def note(page: Page | None, what: str) -> None:
        faults.add(f"{shown.get(page, '?')}: {what}")

    def asks(request: Request) -> None:
        if not request.url.startswith((address, "data:", "blob:")):
            note(request.frame.page, f"asks for {request.url}")

    def gets(response: Response) -> None:
        if response.status >= 400:
            note(response.frame.page, f"gets {response.status} for {response.url}")

    def logs(message: ConsoleMessage) -> None:
        if message.type == "error":
            note(message.page, f"logs {message.text}")

    def fails(request: Request) -> None:
        # Going on to the next page aborts what a busy machine has not yet loaded of this one.
        if request.failure != "net::ERR_ABORTED":
            note(request.frame.page, f"can't load {request.url}: {request.failure}")

    context.on("request", asks)
    context.on("response", gets)
    context.on("console", logs)
    context.on("requestfailed", fails)
    context.on("weberror", lambda error: note(error.page, f"throws {error.error}"))

    tabs = [context.new_page() for _ in range(TABS)]
    every = listed(site)
    assert every[0] == "/"
    for some in (every[start : start + TABS] for start in range(0, len(every), TABS)):
        for tab, path in zip(tabs, some, strict=False):
            shown[tab] = path
            tab.goto(path.removeprefix("/"), wait_until="commit")
        settle(*tabs)
        for tab in tabs:
            try:
                tab.wait_for_function(DRAWN)
            except TimeoutError:
                note(tab, "leaves mathematics or a diagram as it was written")

    assert not faults, "\n".join(sorted(faults))
    assert len(every) > 1, "there are no pages to open"


def test_every_internal_link_leads_to_a_page_and_an_anchor(site: Path) -> None:
    home = "http://site.invalid/sub/path/"
    read = {urljoin(home, path.removeprefix("/")): parsed(file_of(site, path)) for path in pages(site)}
    faults = []
    for here, found in read.items():
        for link in found.links | found.loads:
            url, anchor = urldefrag(urljoin(here, link))
            if urlsplit(url).netloc != urlsplit(home).netloc:
                continue
            url = urlsplit(url)._replace(query="").geturl()
            file = file_of(site, unquote(url.removeprefix(home))) if url.startswith(home) else None
            if file is None or not file.is_file():
                faults.append(f"{here.removeprefix(home)}: {link} leads nowhere")
            elif url in read and unquote(anchor) not in read[url].anchors:
                faults.append(f"{here.removeprefix(home)}: {link} names no anchor of that page")
    assert not faults, "\n".join(sorted(faults))
    assert sum(len(found.links) for found in read.values()) > len(read), "no links were read"


def test_every_address_that_the_site_had_still_leads_somewhere(site: Path) -> None:
    # Of the site as it was when its pages were Markdown, and before names in code changed; without numbers of lines and
    # the theme's own anchors.
    kept = (Path(__file__).parent / "addresses.txt").read_text(encoding="utf-8").split()
    home = "http://site.invalid/"
    lost = []
    for address in kept:
        url, anchor = urldefrag(urljoin(home, address))
        file = file_of(site, url.removeprefix(home))
        if not file.is_file() or anchor not in parsed(file).anchors:
            lost.append(address)
    assert not lost, "\n".join(lost)
    assert len(kept) > 1500


def test_no_page_names_another_host_to_load_from(site: Path) -> None:
    # A preconnect or a lazily loaded picture asks another host without a request that the browser test would see.
    faults = [
        f"{path}: {url}" for path in pages(site) for url in parsed(file_of(site, path)).loads if urlsplit(url).netloc
    ]
    assert not faults, "\n".join(faults)
