"""The pictures that previews of links show."""

import io
from typing import Any

from PIL import Image

from quaere.content.model import Library
from quaere.pages import previews
from quaere.pages.output import Output
from tests.engine.test_pages import SITE, Reading, library, pages, paper, question, small, view


def made(of: Library, **more: Any) -> dict[str, Output]:
    return {output.path: output for output in previews.outputs(view(of, **{"site_url": SITE, **more}))}


def data(of: Library, path: str, **more: Any) -> bytes:
    return made(of, **more)[path].data(view(of, **{"site_url": SITE, **more}))


def test_the_site_and_each_card_with_code_have_a_picture_if_the_site_has_an_address() -> None:
    assert set(made(small())) == {"assets/preview.png", "assets/previews/red.png"}
    assert made(small(), site_url="") == {}


def test_a_picture_has_the_size_that_its_page_says_and_is_the_same_each_time() -> None:
    found = pages(small(), site_url=SITE)
    metas = {meta.get("property"): meta["content"] for meta in Reading(found["papers/red.md"].head).all("meta")}
    assert metas["og:image"] == f"{SITE}assets/previews/red.png"
    picture = data(small(), "assets/previews/red.png")
    size = (int(metas["og:image:width"]), int(metas["og:image:height"]))
    assert Image.open(io.BytesIO(picture)).size == size
    assert picture == data(small(), "assets/previews/red.png")
    assert f"{SITE}assets/preview.png" in found["papers/blue.md"].head
    assert f"{SITE}assets/preview.png" in found["index.md"].head
    assert "og:image" not in pages(small())["papers/red.md"].head


def test_words_and_states_change_what_is_drawn() -> None:
    def drawn(**more: Any) -> bytes:
        given = {"title": "Red", "implementation": "red", "questions": (question("held"),)}
        return data(library(paper("red", **{**given, **more})), "assets/previews/red.png")

    assert len({drawn(), drawn(title="Blue"), drawn(idea="Another."), drawn(questions=())}) == 4


def test_a_text_of_any_length_stays_inside() -> None:
    for text in ("x" * 500, "word " * 300):
        card = paper("red", title=text, idea=text, implementation="red", questions=(question("held"),))
        picture = Image.open(io.BytesIO(data(library(card), "assets/previews/red.png"))).convert("L")
        margin = picture.crop((previews.WIDTH - 80, 0, previews.WIDTH, previews.HEIGHT))
        assert margin.getextrema() == (0xF7, 0xF7)


def test_a_card_whose_words_the_font_cannot_write_has_the_picture_of_the_site() -> None:
    of = library(paper("red", title="注意力机制", implementation="red"))
    assert set(made(of)) == {"assets/preview.png"}
    assert f"{SITE}assets/preview.png" in pages(of, site_url=SITE)["papers/red.md"].head
    assert data(of, "assets/preview.png", name="知识", description="知识").startswith(b"\x89PNG")
