"""Draw the sinusoidal encoding, once for each color scheme, from the numbers of the reference implementation."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

import matplotlib.pyplot as plt

from reference_impl.layers.positions import sinusoidal_positions

POSITIONS, D_MODEL = 96, 64
ENTRIES = (0, 8, 16, 24)
SCHEMES = {
    "light": ("#1e2028", ("#46307d", "#1a6fb0", "#12602e", "#a05a00")),
    "dark": ("#e3e5ec", ("#c0adf5", "#8cc4f7", "#a5e5b9", "#ffd68a")),
}


def draw(scheme: str, file: Path) -> None:
    """Draw the encodings as a heatmap, and four of their entries as curves below."""
    ink, colors = SCHEMES[scheme]
    codes = sinusoidal_positions(POSITIONS, D_MODEL).numpy()
    plain: dict[Any, Any] = dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), ink
    )
    # Text as paths looks the same everywhere; a fixed hash salt makes the output deterministic.
    with plt.rc_context({**plain, "font.size": 10, "svg.fonttype": "path", "svg.hashsalt": "quaere"}):
        figure, (above, below) = plt.subplots(
            2, sharex=True, figsize=(7.2, 5.2), height_ratios=(3, 2), layout="constrained"
        )
        image = above.imshow(codes.T, aspect="auto", cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        above.set(ylabel="entry of the code")
        figure.colorbar(image, ax=above, ticks=(-1, 0, 1))
        for number, (entry, color) in enumerate(zip(ENTRIES, colors, strict=True)):
            style = ("-", "--", "-.", ":")[number]
            below.plot(codes[:, entry], style, color=color, linewidth=1.6, label=f"entry {entry}")
        below.set(xlabel="position", ylabel="value", ylim=(-1.1, 1.1), yticks=(-1, 0, 1))
        below.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        figure.savefig(file, transparent=True, metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    for scheme in SCHEMES:
        draw(scheme, Path(__file__).with_name(f"positional-encodings-{scheme}.svg"))
