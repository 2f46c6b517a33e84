"""Take the README's pictures of the built site: `python -m tools.screenshots` writes docs/assets/screens/*.webp.

Each page is shown on a wide screen in light colors and on a phone in dark ones.
"""

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, ViewportSize, sync_playwright

from benchmarks.lighthouse import chromium
from benchmarks.served import served

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "assets" / "screens"
PAGES = {"home": "", "card": "papers/transformer/", "code": "code/transformer/", "board": "board/", "graph": "lineage/"}
LARGEST = 100_000
"""Bytes of a picture: the repository keeps each version of it."""
SCREENS: dict[str, tuple[ViewportSize, str]] = {
    "wide": ({"width": 1440, "height": 900}, "light"),
    "phone": ({"width": 390, "height": 844}, "dark"),
}


def take(browser: Browser, address: str, screen: str) -> bytes:
    """Return a page as WebP, at the highest quality whose file is small enough."""
    viewport, colors = SCREENS[screen]
    with browser.new_context(viewport=viewport, color_scheme=colors, reduced_motion="reduce") as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(address, wait_until="networkidle")
        page.evaluate("document.fonts.ready")
        picture = Image.open(io.BytesIO(page.screenshot()))
    for quality in (90, 80, 70, 60, 50, 40):
        file = io.BytesIO()
        picture.save(file, "WEBP", quality=quality, method=6)
        if file.tell() <= LARGEST:
            break
    return file.getvalue()


def main() -> int:
    """Take all of them of the site as it was built last."""
    site = ROOT / "site"
    if missing := [path for path in PAGES.values() if not (site / path / "index.html").is_file()]:
        print(f"site/ lacks {', '.join(missing)}: run `make site` first")
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, served(site) as root:
        browser = playwright.chromium.launch(executable_path=chromium(), chromium_sandbox=False)
        for name, path in PAGES.items():
            for screen in SCREENS:
                file = FOLDER / f"{name}-{screen}.webp"
                file.write_bytes(take(browser, root + path, screen))
                print(f"{file.relative_to(ROOT)}: {file.stat().st_size / 1000:.0f} kB")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
