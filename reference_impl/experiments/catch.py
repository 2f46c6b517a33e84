"""Catch, in pixels: a ball falls through a grid of cells, and a paddle at the bottom moves to be under it.

A game is where the ball falls and where the paddle begins: there are 49 games, of six moves each. Ball and paddle
fill one cell each. What lies behind them, the background, is nothing to the game: it can be anything.

Axes: `moments` before the ball is down, `balls` and `paddles` by column, and a screen of `side` × `side` pixels with
red, green and blue in [0, 1].
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

CELLS, CELL = 7, 4
"""Cells in a row and in a column, and the pixels along a cell's edge."""
IMAGE_SIZE = CELLS * CELL
STEPS = CELLS - 1
CHANCE = 1 / CELLS
"""What is caught by moves that are drawn, or by none: wherever a paddle is found, one ball in seven is above it."""

BALL, PADDLE = (1.0, 1.0, 1.0), (1.0, 0.5, 0.0)

Screens = Float[Tensor, "steps balls paddles side side 3"]


def start_columns() -> tuple[Int[Tensor, " games"], Int[Tensor, " games"]]:
    """Return the ball's and the paddle's column at the start of each game."""
    balls, paddles = torch.cartesian_prod(torch.arange(CELLS), torch.arange(CELLS)).unbind(dim=1)
    return balls, paddles


def move_paddles(paddles: Int[Tensor, " games"], actions: Float[Tensor, " games"]) -> Int[Tensor, " games"]:
    """Return the paddles one cell further right where an action is above a third, and left where it is below minus one.

    The thresholds are those of the authors' agent for Doom.
    """
    return (paddles + (actions > 1 / 3).long() - (actions < -1 / 3).long()).clamp(0, CELLS - 1)


def ball_cells() -> Bool[Tensor, "steps balls paddles rows columns"]:
    """Return, for each screen there can be, which cells show the ball."""
    shown = torch.zeros(STEPS, CELLS, CELLS, CELLS, CELLS, dtype=torch.bool)
    for step in range(STEPS):
        for ball in range(CELLS):
            shown[step, ball, :, step, ball] = True
    return shown


def paddle_cells() -> Bool[Tensor, "steps balls paddles rows columns"]:
    """Return, for each screen there can be, which cells show the paddle."""
    shown = torch.zeros(STEPS, CELLS, CELLS, CELLS, CELLS, dtype=torch.bool)
    for paddle in range(CELLS):
        shown[:, :, paddle, CELLS - 1, paddle] = True
    return shown


def render_screens(background: Float[Tensor, "..."]) -> Screens:
    """Return every screen there can be in front of a background, which broadcasts to them."""
    screens = background.expand(STEPS, CELLS, CELLS, IMAGE_SIZE, IMAGE_SIZE, 3)
    for cells, color in ((paddle_cells(), PADDLE), (ball_cells(), BALL)):
        pixels = cells.repeat_interleave(CELL, dim=-2).repeat_interleave(CELL, dim=-1)
        screens = torch.where(pixels[..., None], torch.tensor(color), screens)
    return screens


def backgrounds() -> dict[str, Float[Tensor, "..."]]:
    """Return what can lie behind ball and paddle, by name; only the first is evolved in.

    The noise is drawn for each screen anew.
    """
    black, red = torch.zeros(IMAGE_SIZE, IMAGE_SIZE, 3), torch.tensor([0.8, 0.0, 0.0])
    bars, blob = black.clone(), black.clone()
    bars[:, :CELL] = bars[:, -CELL:] = 0.6
    middle = torch.arange(IMAGE_SIZE) - 10
    blob[middle[:, None] ** 2 + middle**2 <= 20] = red
    noise = 0.5 * torch.rand(STEPS, CELLS, CELLS, IMAGE_SIZE, IMAGE_SIZE, 3, generator=torch.Generator().manual_seed(0))
    return {
        "black": black,
        "blue": black + torch.tensor([0.0, 0.0, 0.5]),
        "green": black + torch.tensor([0.0, 0.5, 0.0]),
        "gray": black + 0.3,
        "bars": bars,
        "blob": blob,
        "noise": noise,
    }
