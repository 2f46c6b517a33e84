r"""Positions that are added to embeddings, and two that should not be.

Source: Vaswani et al. 2017, Section 3.5
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def sinusoidal(length: int, d: int) -> Float[Tensor, "n d"]:
    r"""Return the Transformer's fixed encoding: sines in the even columns, cosines in the odd ones.

    Source: Section 3.5
        $$PE_{(pos,2i)} = \sin(pos / 10000^{2i/d}), \qquad PE_{(pos,2i+1)} = \cos(pos / 10000^{2i/d})$$

    Args:
        length: How many positions, counted from 0.
        d: The width; where it is odd, the last sine has no cosine.

    Returns:
        One row a position, each entry in [-1, 1].
    """
    # float64: in float32 an angle of 10,000 radians is off by a thousandth before the sine is taken
    rates = 10000.0 ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
    angles = torch.arange(length, dtype=torch.float64).outer(rates)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :d].to(torch.get_default_dtype())


class LearnedPositions(nn.Module):
    """A table with one learnt row a position, as in BERT and ViT.

    Source: Section 3.5 (the alternative that scored nearly the same; Table 3, row E)

    Args:
        max_length: How many rows; no longer sequence can be given positions.
        d: The width of a row.
    """

    def __init__(self, max_length: int, d: int) -> None:
        super().__init__()
        self.table = nn.Parameter(0.02 * torch.randn(max_length, d))

    def forward(self, length: int) -> Float[Tensor, "n d"]:
        """Return the first `length` rows.

        Raises:
            ValueError: The table has fewer rows than that.
        """
        if length > len(self.table):
            raise ValueError(f"length {length} exceeds the {len(self.table)} positions of the table")
        return self.table[:length]


def integer_positions(length: int) -> Float[Tensor, "n 1"]:
    """Return 0, 1, 2, ... as a column: the first idea that one has, and rejects."""
    return torch.arange(length, dtype=torch.get_default_dtype())[:, None]


def sigmoid_positions(length: int) -> Float[Tensor, "n 1"]:
    """Return the integers squashed into [0.5, 1] by a sigmoid: bounded, and rejected too."""
    return integer_positions(length).sigmoid()
