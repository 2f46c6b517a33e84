"""Figures as drawn: what can be read in them, on light and dark pages, and that nothing is lost or changed."""

import base64
import io
import re
import xml.etree.ElementTree as ElementTree
from itertools import combinations
from typing import Any

import pytest
from PIL import Image

from quaere.content.results import Box, Figure, Heatmap, Lines, Picture, Pictures, Series
from quaere.pages import figures

SVG = "{http://www.w3.org/2000/svg}"
# One red pixel.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
KNOWN: dict[str, Any] = {"id": "one", "title": "Title", "caption": "Caption.", "alt": "Alternative."}


def blank(width: int, height: int) -> str:
    out = io.BytesIO()
    Image.new("RGB", (width, height)).save(out, format="PNG")
    return base64.b64encode(out.getvalue()).decode()


def lines(*series: Series, **more: object) -> Lines:
    return Lines.model_validate({**KNOWN, "x": "images seen", "y": "accuracy", "series": series, **more})


def series(name: str = "a", xs: tuple[float, ...] = (1, 10, 100), count: int = 2) -> Series:
    return Series(name=name, x=xs, runs=tuple(tuple(x + n for x in xs) for n in range(count)))


def drawn(figure: Figure, ground: str = "light") -> ElementTree.Element:
    return ElementTree.fromstring(figures.draw(figure.model_dump_json(), ground))


def words(figure: Figure) -> str:
    return " ".join("".join(text.itertext()) for text in drawn(figure).iter(f"{SVG}text"))


HEATMAP = Heatmap(**KNOWN, rows=("le", "chat"), columns=("the", "cat"), values=((0.9, 0.1), (0.2, 0.8)))
BOXES = (Box(left=0, top=0, right=1, bottom=1, label="disc"), Box(left=0, top=0, right=1, bottom=1, kind="true"))
PICTURES = Pictures(**KNOWN, pictures=(Picture(title="a scene", png=PNG, boxes=BOXES),) * 5)


def test_a_curve_names_its_axes_and_its_series_in_words_that_can_be_searched() -> None:
    text = words(lines(series("with"), series("without"), levels={"chance": 0.1}))
    assert all(word in text for word in ("images seen", "accuracy", "with", "without", "chance"))


@pytest.mark.parametrize("axis", ["x", "y"])
def test_a_dollar_is_a_dollar_and_powers_of_ten_are_powers(axis: str) -> None:
    figure = lines(series("from $3 to $5", xs=tuple(10.0**n for n in range(12))), log=(axis,))
    assert "from $3 to $5" in words(figure)
    assert all(word in words(figure).split() for word in ("10⁰", "10¹⁰"))


def test_a_small_range_on_a_logarithmic_axis_is_labeled_between_the_powers_and_small_numbers_have_a_sign() -> None:
    assert "3×10¹" in words(lines(Series(name="a", x=(1, 2), runs=((20, 49),)), log=("y",)))
    assert "10⁻³" in words(lines(Series(name="a", x=(1, 2), runs=((0.0001, 0.1),)), log=("y",)))


LONG = "a name that is longer than most are"
LEGEND = lines(*(series(f"{LONG} {name}") for name in "abcdefgh"))
WIDE = lines(Series(name=LONG, x=tuple(1e6 * 4**n for n in range(8)), runs=(tuple(1e-9 * n for n in range(8)),)))
TOP = lines(series(), series("b"), levels={"two\nlines": 101.0}, log=("y",))
ALONE = lines(series("two\nlines"))
NAMES = Heatmap(**KNOWN, rows=(LONG,) * 2, columns=(LONG,) * 9, values=((1e-5,) * 8 + (-2e-5,),) * 2)
TALL = PICTURES.model_copy(update={"pictures": (Picture(title="two\nlines", png=blank(1, 3)),) * 5})


@pytest.mark.parametrize("figure", [LEGEND, WIDE, TOP, ALONE, HEATMAP, NAMES, PICTURES, TALL])
def test_nothing_is_cut_off_and_what_stands_side_by_side_is_apart(figure: Figure) -> None:
    import matplotlib as mpl

    ground = figures._Ground("light")
    with mpl.rc_context(ground.settings):
        canvas, renderer, _ = figures._arranged(figure, ground)
        canvas.draw(renderer)
        # As matplotlib itself measures what was drawn, in inches.
        whole = canvas.get_tightbbox(renderer)
        width, height = canvas.get_size_inches()
        assert whole.x0 >= 0
        assert whole.y0 >= 0
        assert whole.x1 <= width
        assert whole.y1 <= height
        boxes = [box for axes in canvas.axes if (box := axes.get_tightbbox(renderer, bbox_extra_artists=[]))]
        boxes += [legend.get_window_extent(renderer) for axes in canvas.axes if (legend := axes.get_legend())]
        if not isinstance(figure, Lines) or figure is LEGEND:
            assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
        if not isinstance(figure, Pictures):
            # No more room is left empty than the edges.
            assert whole.width >= width - 0.2
            named = [axis.label.get_window_extent(renderer) for axis in (canvas.axes[0].xaxis, canvas.axes[0].yaxis)]
            ticks = [label.get_window_extent(renderer) for label in canvas.axes[0].get_xticklabels()]
            ticks += [label.get_window_extent(renderer) for label in canvas.axes[0].get_yticklabels()]
            assert not any(name.overlaps(tick) for name in named for tick in ticks if tick.width)


def test_the_axis_is_marked_at_the_places_that_were_measured() -> None:
    text = words(lines(series(xs=(1024, 4096, 65536)), log=("x", "y")))
    assert all(word in text for word in ("1,024", "4,096", "65,536"))
    large = words(lines(series(xs=(-2e6, 1e6, 2_500_000)))).split()
    assert {"-2×10⁶", "10⁶", "2.5×10⁶"} <= set(large)


@pytest.mark.parametrize("figure", [lines(series()), lines(*map(series, "abcdef")), HEATMAP, PICTURES])
def test_the_size_of_a_drawing_is_known_before_it_is_drawn(figure: Figure) -> None:
    sides = [float(drawn(figure).get(name, "").removesuffix("pt")) * 96 / 72 for name in ("width", "height")]
    assert figures.size(figure) == pytest.approx(sides, abs=0.6)


def test_a_place_without_a_value_leaves_a_gap_and_no_fault() -> None:
    gappy = Series(name="a", x=(1, 2, 3), runs=((None, 2.0, 3.0), (None, None, 1.0)))
    empty = Series(name="b", x=(1, 2, 3), runs=((None, None, None), (None, None, None)))
    assert "nan" not in figures.draw(lines(gappy, empty).model_dump_json(), "light").lower()


def test_a_line_breaks_off_where_a_value_is_missing_and_a_mean_where_a_seed_is() -> None:
    def pieces(*runs: tuple[float | None, ...]) -> list[int]:
        drawn = figures.draw(lines(Series(name="a", x=(1, 2, 3, 4, 5), runs=runs)).model_dump_json(), "light")
        curves = re.findall(r'<path d="(M[^"]*)"[^>]*stroke-width: (?:1.9|0.6)', drawn)
        return [curve.count("M") for curve in curves]

    assert pieces((1, 2, 3, 4, 5)) == [1]
    assert pieces((1, 2, None, 4, 5)) == [2]
    assert pieces((1, 2, 3, 4, 5), (1, 2, None, 4, 5)) == [1, 2, 2]


def test_a_band_spans_the_seeds() -> None:
    alone = figures.draw(lines(series(count=1)).model_dump_json(), "light")
    together = figures.draw(lines(series(count=3)).model_dump_json(), "light")
    assert ("FillBetween" in alone, "FillBetween" in together) == (False, True)


def test_a_band_breaks_off_where_a_seed_is_missing() -> None:
    def bands(*runs: tuple[float | None, ...]) -> int:
        drawn = figures.draw(lines(Series(name="a", x=(1, 2, 3, 4, 5), runs=runs)).model_dump_json(), "light")
        (band,) = re.findall(r'<g id="FillBetween[^"]*">(.*?)</g>', drawn, re.DOTALL)
        return str(band).count("z\n")

    whole, gappy = (1, 2, 3, 4, 5), (2, 3, None, 5, 6)
    assert bands(whole, (2, 3, 4, 5, 6)) == 1
    assert bands(whole, gappy) == 2


def test_a_map_shows_its_rows_and_columns() -> None:
    assert all(word in words(HEATMAP) for word in ("le", "chat", "the", "cat", "query", "key"))


@pytest.mark.parametrize(
    ("value", "ends"), [(1.0, ("0.90", "1.10")), (None, ("−0.10", "0.10")), (0.0, ("−0.10", "0.10"))]
)
def test_the_colors_of_a_map_stand_for_an_interval_even_where_all_values_are_one(
    value: float | None, ends: tuple[str, str]
) -> None:
    text = words(HEATMAP.model_copy(update={"values": ((value, value), (value, value))}))
    assert all(end in text for end in ends)


def test_pictures_show_their_titles_and_the_names_of_their_boxes() -> None:
    assert (words(PICTURES).count("a scene"), "disc" in words(PICTURES)) == (5, True)
    images = list(drawn(PICTURES).iter(f"{SVG}image"))
    assert len(images) == 5
    assert base64.b64decode(images[0].attrib["{http://www.w3.org/1999/xlink}href"].partition(",")[2])[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    "figure",
    [lines(series(), series("b")), HEATMAP, HEATMAP.model_copy(update={"values": ((0.9, -0.1), (0.2, 0.8))}), PICTURES],
    ids=["lines", "map", "signed map", "pictures"],
)
def test_a_figure_is_drawn_for_either_ground_and_always_the_same(figure: Figure) -> None:
    text = figure.model_dump_json()
    light, dark = figures.draw(text, "light"), figures.draw(text, "dark")
    assert light != dark
    figures.draw.cache_clear()
    assert figures.draw(text, "light") == light
    # The one for dark pages is made of the other.
    assert without_ids(dark) == without_ids(figures._drawn(figure, figures._Ground("dark")))


def without_ids(drawing: str) -> str:
    """Return a drawing without the names of its shapes, which tell their colors, too."""
    return re.sub(r"\bm[0-9a-f]{10}\b", "m", drawing)


@pytest.mark.parametrize("figure", [lines(series()), HEATMAP, PICTURES], ids=["lines", "map", "pictures"])
@pytest.mark.parametrize("ground", ["light", "dark"])
def test_the_page_is_seen_through_a_drawing(figure: Figure, ground: str) -> None:
    patches = [group for group in drawn(figure, ground).iter(f"{SVG}g") if group.get("id", "").startswith("patch_")]
    fills = [path.get("style", "") for group in patches[:2] for path in group.iter(f"{SVG}path")]
    assert fills
    assert all(style.startswith("fill: none") for style in fills), fills


def test_a_color_that_is_named_in_words_stays() -> None:
    named = figures.draw(lines(series("#0063a6"), series("b")).model_dump_json(), "dark")
    assert "#0063a6" in words(lines(series("#0063a6"), series("b")))
    assert ">#0063a6<" in named


@pytest.mark.parametrize(("ground", "paper"), [("light", "#ffffff"), ("dark", "#191b22")])
def test_every_curve_stands_out_from_its_ground(ground: str, paper: str) -> None:
    for ink in (*figures._COLORS[ground], figures._INK[ground]):
        assert contrast(ink, paper) >= 4.5, ink


def contrast(one: str, other: str) -> float:
    """Return the ratio of luminances by WCAG 2.2."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: str) -> float:
    parts = (int(color[n : n + 2], 16) / 255 for n in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
