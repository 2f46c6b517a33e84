"""The built site, served from a sub-path of this machine, in a browser that can reach nothing else."""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from benchmarks import generated

ROOT = Path(__file__).parents[2]
SUB_PATH = "/sub/path/"
FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Of two such lists the last one counts: this is playwright's own, and the lists of suggestions under the address,
    # for which each window starts a process that takes more than a page of ours.
    "--disable-features=AvoidUnnecessaryBeforeUnloadCheckSync,DestroyProfileOnBrowserClose,HttpsUpgrades,LensOverlay,"
    "MediaRouter,OptimizationHints,PaintHolding,ThirdPartyStoragePartitioning,WebUIOmniboxAimPopup,WebUIOmniboxPopup",
    # A foreign request fails at once instead of leaving the machine; the tests see it either way.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
# Milliseconds. A busy machine is no fault of the site.
PATIENCE = 30_000
expect.set_options(timeout=PATIENCE)


class Silent(SimpleHTTPRequestHandler):
    """Serve a folder, and keep the tests' output to the tests."""

    def log_message(self, format: str, *args: object) -> None:
        """Write no log."""


class UnderSubPath(Silent):
    """Serve the site below `SUB_PATH` and nothing beside it, so that an address from the root is found out."""

    def translate_path(self, path: str) -> str:
        inside = path.removeprefix(SUB_PATH)
        return super().translate_path("/" + inside) if inside != path else str(ROOT / "nothing-is-here")


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the built site. `make test` has just built it; a test run alone builds it if it lags."""
    # Of several workers the first builds it, and the others wait.
    with FileLock(ROOT / ".quaere" / "tested-site.lock"):
        index = ROOT / "site" / "index.html"
        # Files that did not change are not touched; the folder's own time says when it was built.
        built = index.parent.stat().st_mtime if index.exists() else 0
        folders = ("docs", "papers", "reference_impl", "src")
        sources = (
            path for folder in folders for path in (ROOT / folder).rglob("*") if path.parent.name != "__pycache__"
        )
        if any(path.is_file() and path.stat().st_mtime > built for path in (ROOT / "mkdocs.yml", *sources)):
            # An answer that is broken makes `build` fail, and the site that shows it is built all the same.
            subprocess.run([Path(sys.executable).with_name("quaere"), "build"], cwd=ROOT, check=False)
            assert index.exists(), "`quaere build` made no site"
            assert index.parent.stat().st_mtime > built, "`quaere build` made no new site"
        return index.parent


@pytest.fixture(scope="session")
def thousand() -> Path:
    """The folder of the built site of 1,000 generated cards, built anew only if what makes it has changed."""
    folder = ROOT / ".quaere" / "thousand"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        makers = [ROOT / "constraints.txt", Path(generated.__file__)]
        sources = sorted(path for path in (ROOT / "src").rglob("*") if path.parent.name != "__pycache__")
        makers += (path for path in sources if path.is_file())
        key = hashlib.sha256(b"\0".join(path.read_bytes() for path in makers)).hexdigest()
        made = folder / "made-by"
        if not made.exists() or made.read_text() != key:
            made.unlink(missing_ok=True)
            generated.write_library(folder, 1000)
            subprocess.run([Path(sys.executable).with_name("quaere"), "build"], cwd=folder, check=True)
            made.write_text(key)
    return folder / "site"


@dataclass
class Reader:
    """Somebody with a pointer, on the home page."""

    page: Page
    clicks: int = 0

    def click(self, what: Locator) -> None:
        what.click()
        # Of a page that a link leads to, not all is there when the click is done.
        self.page.wait_for_load_state("load")
        self.clicks += 1


@contextlib.contextmanager
def served(folder: Path, handler: type[SimpleHTTPRequestHandler] = Silent) -> Iterator[str]:
    """Serve a folder on a port of its own, and yield the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def settle(*tabs: Page) -> None:
    """Wait until pages have loaded and ask for nothing more.

    What Chromium says of it, `networkidle`, does not always come in tabs that load side by side, and under load comes
    before a page's scripts have run.
    """
    for tab in tabs:
        tab.wait_for_load_state("load")
    before: list[int] = []
    while (asked := [tab.evaluate("performance.getEntriesByType('resource').length") for tab in tabs]) != before:
        before = asked
        tabs[0].wait_for_timeout(500)


def visit(page: Page, address: str) -> None:
    """Open a page, and wait until it asks for nothing more."""
    page.goto(address)
    settle(page)


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """Where the site is served: scheme, host, port and sub-path."""
    with served(site, UnderSubPath) as root:
        yield root.removesuffix("/") + SUB_PATH


@pytest.fixture(scope="session")
def root_address(site: Path) -> Iterator[str]:
    """Where the site is served from the root of a host."""
    with served(site) as root:
        yield root


@pytest.fixture(scope="session")
def thousand_address(thousand: Path) -> Iterator[str]:
    """Where the site of 1,000 generated cards is served."""
    with served(thousand, UnderSubPath) as root:
        yield root.removesuffix("/") + SUB_PATH


def pages(site: Path) -> list[str]:
    """List the addresses of all pages, relative to home. 404.html is left out: a server shows it at any address."""
    return sorted(
        str(file.relative_to(site).parent.as_posix()).removeprefix(".") + "/"
        if file.name == "index.html"
        else file.relative_to(site).as_posix()
        for file in site.rglob("*.html")
        if file != site / "404.html"
    )


def file_of(site: Path, path: str) -> Path:
    """Return the file that a server gives for an address relative to home."""
    file = site / path.strip("/")
    return file / "index.html" if path.endswith("/") or not path else file


def kind(path: str) -> str:
    """Return what kind of page stands at an address: those of a kind are made alike."""
    return path.partition("/")[0] if path.count("/") > 1 else path


def by_kind(site: Path) -> dict[str, list[str]]:
    """Return one or two pages of each kind, neither the smallest nor the largest ones, and the page of errors."""
    kinds: dict[str, list[str]] = {"404.html": ["404.html"]}
    for path in sorted(pages(site), key=lambda path: file_of(site, path).stat().st_size):
        kinds.setdefault(kind(path), []).append(path.removeprefix("/"))
    return {
        name: list(dict.fromkeys((of[len(of) // 2], of[len(of) * 9 // 10] if len(of) > 9 else of[len(of) // 2])))
        for name, of in kinds.items()
    }


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A Chromium: the one that QUAERE_CHROMIUM names, the one on the PATH, or playwright's own."""
    installed = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    names = (os.environ.get("QUAERE_CHROMIUM"), *installed)
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS, chromium_sandbox=False)
        yield browser
        browser.close()


def with_mermaid(page: str) -> str:
    """Put diagrams that Mermaid draws in the place of a page's flowcharts, which are drawn already."""
    drawn = re.compile(r'<div class="q-flow".*?</svg>\s*</div>', re.DOTALL)
    spoiled, count = drawn.subn('<div class="diagram">flowchart LR\n A --o B</div>', page)
    assert count > 1
    return spoiled.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")


@pytest.fixture
def context(browser: Browser, address: str) -> Iterator[BrowserContext]:
    """A fresh profile in which addresses are relative to the site's home."""
    with browser.new_context(base_url=address, viewport={"width": 1280, "height": 800}) as context:
        context.set_default_timeout(PATIENCE)
        yield context


@pytest.fixture(scope="session")
def tabs(browser: Browser, address: str) -> Iterator[BrowserContext]:
    """A profile for the tabs of many tests. One stays open, since a first tab costs three times what a second does."""
    with browser.new_context(base_url=address, viewport={"width": 1280, "height": 800}) as context:
        context.set_default_timeout(PATIENCE)
        context.new_page().goto("")
        yield context


@pytest.fixture
def page(tabs: BrowserContext, address: str) -> Iterator[Page]:
    """One tab. It finds nothing that another has stored, but files that another has loaded."""
    page = tabs.new_page()
    yield page
    stored = {"origin": address.removesuffix(SUB_PATH), "storageTypes": "all"}
    tabs.new_cdp_session(page).send("Storage.clearDataForOrigin", stored)
    tabs.clear_permissions()
    page.close()


@pytest.fixture(scope="session")
def phone(browser: Browser, address: str) -> Iterator[Page]:
    """A tab as wide as a phone, for tests that store nothing."""
    with browser.new_context(base_url=address, viewport={"width": 390, "height": 844}, has_touch=True) as context:
        context.set_default_timeout(PATIENCE)
        yield context.new_page()
