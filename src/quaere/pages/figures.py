"""Draw the figures of results as SVG, once for light pages and once for dark ones.

matplotlib is loaded when the first figure is drawn: only the site and the end of a run draw.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import metadata
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quaere.content.results import Figure, Heatmap, Lines, Pictures, Series

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.backends.backend_svg import RendererSVG
    from matplotlib.figure import Figure as Canvas
    from matplotlib.image import AxesImage
    from matplotlib.ticker import LogFormatter
    from matplotlib.transforms import Bbox
    from pydantic import TypeAdapter

_COLORS = {
    # Okabe and Ito's, which people with any kind of color vision tell apart; darkened or lightened for the ground.
    "light": ("#0063a6", "#b34700", "#00795c", "#a8337a", "#7a5c00", "#333333", "#5b4bb5", "#1d7f9c"),
    "dark": ("#6cb8f0", "#f0955a", "#4fc9a4", "#e38cc0", "#e0c050", "#dddddd", "#a99cf0", "#7fd3e8"),
}
_INK = {"light": "#24292f", "dark": "#d7dbe2"}
_FAINT = {"light": "#c9ced6", "dark": "#4a5060"}
_MAPS = {"light": "Blues", "dark": "magma"}
_COLOR = re.compile("#[0-9a-f]{6}")
_DASHES = ("-", "--", "-.", ":")
_MARKERS = "osD^vPX*"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_ROUGHLY = (0.12, 0.15, 0.8, 0.8)
"""Where axes are before it is known what stands around them."""
_EDGE, _SPACE = 3, 4
"""Points between a drawing's edge and what stands in it, and between the labels of ticks and the name of their axis."""
_LEAST = 0.1
"""The least part of a drawing that axes take."""


@dataclass(frozen=True)
class _Ground:
    """The background of a figure."""

    name: str

    def color(self, index: int) -> str:
        colors = _COLORS[self.name]
        return colors[index % len(colors)]

    @property
    def settings(self) -> dict[Any, Any]:
        ink = _INK[self.name]
        names = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
        return {
            **dict.fromkeys(names, ink),
            "grid.color": _FAINT[self.name],
            "font.family": "sans-serif",
            "font.size": 11,
            # The reader's own font, and words that can be searched and selected.
            "svg.fonttype": "none",
            # The same figure is the same file, so that a site that did not change is not written anew.
            "svg.hashsalt": "quaere",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "figure.facecolor": "none",
            "axes.facecolor": "none",
        }


@cache
def recipe() -> bytes:
    """Return what, besides a figure's data, decides how it is drawn: this module and matplotlib's version."""
    return Path(__file__).read_bytes() + metadata.version("matplotlib").encode()


def size(figure: Figure) -> tuple[int, int]:
    """Return the width and height of a figure's drawing in pixels."""
    width, height = (round(96 * side) for side in _inches(figure))
    return width, height


def _inches(figure: Figure) -> tuple[float, float]:
    if isinstance(figure, Heatmap):
        return min(8.0, 2.4 + 0.28 * max(len(figure.columns), 6)), min(8.0, 1.6 + 0.26 * max(len(figure.rows), 5))
    if isinstance(figure, Pictures):
        columns, rows = _grid(figure)
        return 2.2 * max(columns, 2), 2.5 * rows
    return 6.8, 3.9


def _grid(figure: Pictures) -> tuple[int, int]:
    columns = min(4, max(1, len(figure.pictures)))
    return columns, -(-len(figure.pictures) // columns)


@cache
def font(*, is_bold: bool) -> str:
    """Return the file of the font that matplotlib brings along, without loading matplotlib."""
    folder = Path(str(find_spec("matplotlib").origin)).parent / "mpl-data/fonts/ttf"  # type: ignore[union-attr]
    return str(folder / f"DejaVuSans{'-Bold' if is_bold else ''}.ttf")


@lru_cache(maxsize=512)
def draw(figure_json: str, ground: str) -> str:
    """Draw a figure.

    Args:
        figure_json: The figure as JSON; text, so that a figure that did not change is not drawn again.
        ground: `light` or `dark`.

    Returns:
        SVG. Its background is transparent.
    """
    figure = _reader().validate_json(figure_json)
    has_own_map = isinstance(figure, Heatmap) and not _is_signed(figure)
    if ground == "dark" and not has_own_map:
        return _darkened(draw(figure_json, "light"))
    return _drawn(figure, _Ground(ground))


@cache
def _reader() -> TypeAdapter[Figure]:
    from pydantic import TypeAdapter

    return TypeAdapter(Figure)


def _drawn(figure: Figure, ground: _Ground) -> str:
    import matplotlib as mpl

    with mpl.rc_context(ground.settings):
        canvas, renderer, out = _arranged(figure, ground)
        canvas.draw(renderer)
        renderer.finalize()  # type: ignore[no-untyped-call]
    return re.sub(r"<!DOCTYPE.*?>\s*", "", out.getvalue()[out.getvalue().index("?>") + 2 :], flags=re.DOTALL).strip()


def _arranged(figure: Figure, ground: _Ground) -> tuple[Canvas, RendererSVG, io.StringIO]:
    """Return a figure with everything in its place, and what draws it into a text."""
    from matplotlib.backends.backend_svg import RendererSVG
    from matplotlib.figure import Figure as Canvas

    draws: Mapping[type, Callable[[Any, Canvas, RendererSVG, _Ground], None]] = {
        Lines: _lines,
        Heatmap: _heatmap,
        Pictures: _pictures,
    }
    out = io.StringIO()
    canvas = Canvas(figsize=_inches(figure), dpi=72)
    # `savefig` draws all of it twice, and a layout engine once more: here it is measured in part, and drawn once.
    width, height = canvas.bbox.size
    renderer = RendererSVG(width, height, out, image_dpi=100, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    draws[type(figure)](figure, canvas, renderer, ground)
    return canvas, renderer, out


def _darkened(drawing: str) -> str:
    """Recolor a drawing for light pages for dark ones, which takes half the time of drawing it again."""
    colors = dict(zip(_COLORS["light"], _COLORS["dark"], strict=True))
    colors |= {kind["light"]: kind["dark"] for kind in (_INK, _FAINT)}
    # Words between the tags may name a color, too.
    return re.sub(r"<[^<>]*>", lambda tag: _COLOR.sub(lambda found: colors.get(found[0], found[0]), tag[0]), drawing)


def _lines(figure: Lines, canvas: Canvas, renderer: RendererSVG, ground: _Ground) -> None:
    axes = canvas.add_axes(_ROUGHLY)
    for index, series in enumerate(figure.series):
        _curve(axes, series, index, ground)
    for name, level in figure.levels.items():
        axes.axhline(level, color=_INK[ground.name], linewidth=0.9, linestyle=(0, (1, 2)))
        axes.annotate(
            _short(name, 40), (1, level), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=9
        )
    _mark_places(axes, sorted({x for series in figure.series for x in series.x}), "x" in figure.log)
    if "y" in figure.log:
        axes.set_yscale("log")
        _write_powers(axes.yaxis)
    axes.set_xlabel(_plain(figure.x))
    axes.set_ylabel(_plain(figure.y))
    axes.grid(True, linewidth=0.5)
    if len(figure.series) > 1:
        many = len(figure.series) > 4
        legend = axes.legend(
            fontsize=9, loc="center left" if many else "best", bbox_to_anchor=(1, 0.5) if many else None
        )
        # Between the curves it takes no room from them.
        legend.set_in_layout(many)
    elif figure.series:
        axes.set_title(_short(figure.series[0].name, 60), fontsize=10)
    _fit(axes, renderer)


def _mark_places(axes: Axes, places: Sequence[float], is_log: bool) -> None:
    """Make the measured places themselves the ticks of the x axis, if they are few and far enough apart."""
    if is_log:
        axes.set_xscale("log")
        _write_powers(axes.xaxis)
    at = [math.log(place) for place in places] if is_log else places
    room = (max(at, default=0) - min(at, default=0)) / 16
    if len(places) <= 9 and all(after - before >= room for before, after in pairwise(at)):
        axes.set_xticks(places, [_number(place) for place in places], rotation=30 if len(places) > 6 else 0)
        axes.minorticks_off()


def _curve(axes: Axes, series: Series, index: int, ground: _Ground) -> None:
    """Draw the mean over seeds, each seed faintly, and a band from the lowest to the highest."""
    color = ground.color(index)
    # Where a value is missing the line breaks off, and a mean of the seeds that are left would be another thing.
    runs = [[math.nan if y is None else y for y in run] for run in series.runs]
    places = list(zip(*runs, strict=True))
    if len(runs) > 1:
        known = [not any(map(math.isnan, ys)) for ys in places]
        lowest, highest = ([of(ys) for ys in places] for of in (min, max))
        axes.fill_between(series.x, lowest, highest, where=known, color=color, alpha=0.18, linewidth=0)
        for run in runs:
            axes.plot(series.x, run, color=color, linewidth=0.6, alpha=0.45)
    axes.plot(
        series.x,
        [sum(ys) / len(ys) for ys in places],
        color=color,
        linewidth=1.9,
        linestyle=_DASHES[index % len(_DASHES)],
        marker=_MARKERS[index % len(_MARKERS)] if len(places) <= 20 else None,
        markersize=4.5,
        label=_short(series.name, 40),
    )


def _is_signed(figure: Heatmap) -> bool:
    return any(value is not None and value < 0 for row in figure.values for value in row)


def _heatmap(figure: Heatmap, canvas: Canvas, renderer: RendererSVG, ground: _Ground) -> None:
    values = [[math.nan if value is None else value for value in row] for row in figure.values]
    height, width = len(figure.rows), len(figure.columns)
    axes = canvas.add_axes(_ROUGHLY)
    low, high = _interval(figure)
    colors = "RdBu_r" if _is_signed(figure) else _MAPS[ground.name]
    image = axes.imshow(values, cmap=colors, aspect="auto", vmin=low, vmax=high)
    axes.set_xticks(
        range(width),
        [_short(name, 24) for name in figure.columns],
        rotation=60,
        ha="right",
        rotation_mode="anchor",
        fontsize=8,
    )
    axes.set_yticks(range(height), [_short(name, 24) for name in figure.rows], fontsize=8)
    axes.set_xlabel(_plain(figure.x))
    axes.set_ylabel(_plain(figure.y))
    axes.tick_params(length=0)
    _fit(axes, renderer, _bar(canvas, image))


def _interval(figure: Heatmap) -> tuple[float, float]:
    """Return the values that the first and the last color of a map stand for."""
    known = [value for row in figure.values for value in row if value is not None]
    most = max(map(abs, known), default=0.0)
    low, high = (-most, most) if _is_signed(figure) else (min(known, default=0.0), most)
    # Where all values are the same, or none is known, colors still need an interval.
    room = 0 if high - low > 1e-12 * most else 0.1 * (most or 1)
    return low - room, high + room


def _bar(canvas: Canvas, image: AxesImage) -> Axes:
    """Draw what the colors of a map stand for."""
    bar = canvas.add_axes(_ROUGHLY)
    low, high = image.get_clim()
    steps = [[low + (high - low) * step / 255] for step in range(256)]
    bar.imshow(steps, cmap=image.get_cmap(), aspect="auto", origin="lower", extent=(0, 1, low, high))
    bar.spines[:].set_visible(False)
    bar.xaxis.set_visible(False)
    bar.yaxis.tick_right()
    # The power of ten above them begins where the bar does: it would reach into the map.
    bar.yaxis.set_offset_position("left")
    return bar


def _pictures(figure: Pictures, canvas: Canvas, renderer: RendererSVG, ground: _Ground) -> None:
    from matplotlib.image import imread

    columns, rows = _grid(figure)
    width, height = 1 / columns, 1 / rows
    across, along = (_EDGE / side for side in canvas.bbox.size)
    grid = []
    for index, picture in enumerate(figure.pictures):
        row, column = divmod(index, columns)
        axes = canvas.add_axes((column * width + across, 1 - (row + 1) * height, width - 2 * across, height))
        axes.set_axis_off()
        pixels = imread(io.BytesIO(base64.b64decode(picture.png)), format="png")
        axes.imshow(pixels, interpolation="nearest", cmap="gray", vmin=0, vmax=1)
        # Where it stands is told, so that nothing is measured to find that.
        axes.set_title(_short(picture.title, 28), fontsize=9, y=1)
        _boxes(axes, picture.boxes, max(pixels.shape[:2]))
        grid.append(axes)
    above = max(axes.title.get_window_extent(renderer).y1 - axes.bbox.y1 for axes in grid) / canvas.bbox.height
    for axes in grid:
        left, below, wide, high = axes.get_position(original=True).bounds
        axes.set_position((left, below + along, wide, high - 2 * along - above))


def _fit(axes: Axes, renderer: RendererSVG, bar: Axes | None = None) -> None:
    """Make axes as large as their figure has room for, with what stands around them and a bar of colors beside them.

    What stands around them is measured once, where they are. The name of each axis is put beside its ticks' labels.
    """
    from matplotlib.transforms import Bbox

    width, height = axes.figure.bbox.size
    inner = axes.bbox.frozen()
    xs, ys = (_ticks(axis, renderer) or inner for axis in (axes.xaxis, axes.yaxis))
    legend = axes.get_legend()
    parts: list[Artist] = [*axes.texts]
    parts += [legend] if legend and legend.get_in_layout() else []
    parts += [axes.title] if axes.get_title() else []
    outer = Bbox.union([inner, xs, ys, *(part.get_window_extent(renderer) for part in parts)])
    left = max(inner.x0 - outer.x0, inner.x0 - ys.x0 + _SPACE + axes.yaxis.label.get_window_extent(renderer).width)
    below = max(inner.y0 - outer.y0, inner.y0 - xs.y0 + _SPACE + axes.xaxis.label.get_window_extent(renderer).height)
    right = outer.x1 - inner.x1
    high = max(height - below - (outer.y1 - inner.y1) - 2 * _EDGE, _LEAST * height)
    if bar:
        bar.set_position((0.5, (below + _EDGE + 0.1 * high) / height, 0.04 * high / width, 0.8 * high / height))
        labels = _ticks(bar.yaxis, renderer) or bar.bbox
        right = max(right, 2 * _EDGE + labels.x1 - bar.bbox.x0)
    wide = max(width - left - right - 2 * _EDGE, _LEAST * width)
    axes.set_position(((left + _EDGE) / width, (below + _EDGE) / height, wide / width, high / height))
    if bar:
        _, y, across, along = bar.get_position().bounds
        bar.set_position(((left + wide + 3 * _EDGE) / width, y, across, along))
    axes.xaxis.set_label_coords(0.5, (xs.y0 - inner.y0 - _SPACE) / high)
    axes.yaxis.set_label_coords((ys.x0 - inner.x0 - _SPACE) / wide, 0.5)


def _ticks(axis: Axis, renderer: RendererSVG) -> Bbox | None:
    """Measure the labels of an axis's ticks; None if it has none."""
    # Its name is in the box, too, and to find its place would take as long as the labels.
    axis.set_label_coords(0, 0)
    axis.label.set_visible(False)
    box = axis.get_tightbbox(renderer)
    axis.label.set_visible(True)
    return box


def _write_powers(axis: Axis) -> None:
    """Label a logarithmic axis with powers of ten as plain text: matplotlib's are formulas, which take long to read."""
    axis.set_major_formatter(_powers()(10))
    axis.set_minor_formatter(_powers()(10))


@cache
def _powers() -> type[LogFormatter]:
    from matplotlib.ticker import LogFormatter

    class Powers(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            """Write a power of ten, or a multiple of one, if it is to have a label."""
            return _power(x) if super().__call__(x, pos) else ""

    return Powers


def _number(number: float) -> str:
    """Write a number to six digits; one that would be long by a power of ten."""
    plain = f"{number:,.6g}"
    return f"{'-' if number < 0 else ''}{_power(abs(number))}" if "e" in plain else plain


def _power(number: float) -> str:
    exponent = math.floor(math.log10(number) + 1e-9)
    factor = f"{number / 10.0**exponent:.6g}"
    return f"{'' if factor == '1' else f'{factor}×'}10{str(exponent).translate(_RAISED)}"


def _short(name: str, most: int) -> str:
    """Shorten a name that is too long for the figure."""
    return _plain(name if len(name) <= most else f"{name[: most - 1]}…")


def _plain(words: str) -> str:
    """Write words of a result so that no dollar in them starts mathematics."""
    return words.replace("$", r"\$")


def _boxes(axes: Axes, boxes: Sequence[Any], side: int) -> None:
    """Mark rectangles: what is true dashed and white, what was found in color, each on a dark rim."""
    from matplotlib import patheffects
    from matplotlib.patches import Rectangle

    rim = [patheffects.withStroke(linewidth=2.6, foreground="black")]
    for box in boxes:
        is_true = box.kind == "true"
        color = "white" if is_true else "#ffb000"
        corner = (box.left - 0.5, box.top - 0.5)
        patch = Rectangle(corner, box.right - box.left, box.bottom - box.top, fill=False, edgecolor=color)
        patch.set(linewidth=1.2, linestyle="--" if is_true else "-", path_effects=rim)
        axes.add_patch(patch)
        if box.label:
            plate = {"facecolor": "black", "alpha": 0.65, "linewidth": 0, "pad": 0.8}
            # Above the box, or in it where there is no room above.
            y, va = (box.top, "top") if box.top < 0.1 * side else (box.top - 0.03 * side, "bottom")
            words = axes.text(box.left, y, _plain(box.label), color=color, fontsize=6.5, va=va, bbox=plate)
            words.set_in_layout(False)
