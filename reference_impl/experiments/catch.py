"""Catch, in pixels: a ball falls through a grid of cells, and a paddle at the bottom row must be below it.

A game is given by the ball's column and the paddle's initial column: there are 49 games, of six steps each. Ball and
paddle fill one cell each. The background is irrelevant to the game.

Axes: `steps` of a game, `balls` and `paddles` by column, and a screen of `side` × `side` pixels with red, green and
blue in [0, 1].
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

CELLS, CELL = 7, 4
"""Cells per row and column, and pixels along a cell's edge."""
IMAGE_SIZE = CELLS * CELL
STEPS = CELLS - 1
CHANCE = 1 / CELLS
"""The catch rate of random moves, or of none: one ball in seven is above any paddle."""

BALL, PADDLE = (1.0, 1.0, 1.0), (1.0, 0.5, 0.0)

Screens = Float[Tensor, "steps balls paddles side side 3"]


def start_columns() -> tuple[Int[Tensor, " games"], Int[Tensor, " games"]]:
    """Return the initial column of ball and paddle in each game."""
    balls, paddles = torch.cartesian_prod(torch.arange(CELLS), torch.arange(CELLS)).unbind(dim=1)
    return balls, paddles


def move_paddles(paddles: Int[Tensor, " games"], actions: Float[Tensor, " games"]) -> Int[Tensor, " games"]:
    """Move each paddle one cell to the right if its action is above 1/3, to the left if it is below -1/3.

    The thresholds are those of the authors' agent for Doom.
    """
    return (paddles + (actions > 1 / 3).long() - (actions < -1 / 3).long()).clamp(0, CELLS - 1)


def ball_cells() -> Bool[Tensor, "steps balls paddles rows columns"]:
    """Return a mask of the cells that show the ball, for each possible screen."""
    shown = torch.zeros(STEPS, CELLS, CELLS, CELLS, CELLS, dtype=torch.bool)
    for step in range(STEPS):
        for ball in range(CELLS):
            shown[step, ball, :, step, ball] = True
    return shown


def paddle_cells() -> Bool[Tensor, "steps balls paddles rows columns"]:
    """Return a mask of the cells that show the paddle, for each possible screen."""
    shown = torch.zeros(STEPS, CELLS, CELLS, CELLS, CELLS, dtype=torch.bool)
    for paddle in range(CELLS):
        shown[:, :, paddle, CELLS - 1, paddle] = True
    return shown


def render_screens(background: Float[Tensor, "..."]) -> Screens:
    """Render every possible screen in front of a background, which broadcasts to them."""
    screens = background.expand(STEPS, CELLS, CELLS, IMAGE_SIZE, IMAGE_SIZE, 3)
    for cells, color in ((paddle_cells(), PADDLE), (ball_cells(), BALL)):
        pixels = cells.repeat_interleave(CELL, dim=-2).repeat_interleave(CELL, dim=-1)
        screens = torch.where(pixels[..., None], torch.tensor(color), screens)
    return screens


def backgrounds() -> dict[str, Float[Tensor, "..."]]:
    """Return the backgrounds by name; only the first is used in training.

    The noise differs from screen to screen.
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
