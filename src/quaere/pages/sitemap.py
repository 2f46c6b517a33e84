"""For search engines: the addresses of all pages with the times of their last change, and where that list is."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from quaere.content import addresses
from quaere.pages.output import Output
from quaere.pages.view import View

SITEMAP, ROBOTS = "sitemap.xml", "robots.txt"


def outputs(view: View) -> Iterator[Output]:
    """Yield the sitemap, and the file that names it; a site without an address has neither."""
    if view.site_url:
        yield Output(SITEMAP, _sitemap)
        yield Output(ROBOTS, lambda view: f"User-agent: *\nAllow: /\n\nSitemap: {view.whole(SITEMAP)}\n")


def _sitemap(view: View) -> str:
    changed = dict(_changed(view))
    unsound = {addresses.card(slug) for slug in view.library.unsound}
    pages = [(view.whole(page), changed.get(page)) for page in sorted(view.library.pages - unsound)]
    return view.templates.get_template("sitemap.xml").render(pages=pages)


def _changed(view: View) -> Iterator[tuple[str, datetime.datetime]]:
    """Yield the pages with the time of the last commit that changed what they are made from, where it is known."""
    library, spans = view.library, dict(view.history.files.items())
    cards = [spans[paper.file].changed for paper in library.papers.values() if paper.file in spans]
    if cards:
        yield from dict.fromkeys(addresses.LISTS, max(cards)).items()
    sources = {addresses.module(module.name): {module.file} for module in library.modules}
    sources |= {page: {f"{library.settings.docs}/{page}"} for page in library.docs}
    for slug, asked in view.asked.items():
        answers = {answer.place.file for one in asked for answer in one.running}
        sources[addresses.card(slug)] = {library.papers[slug].file, *answers}
    for page, made_from in sources.items():
        if known := [spans[file].changed for file in made_from if file in spans]:
            yield page, max(known)
