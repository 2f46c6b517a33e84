r"""Positions that are added to embeddings, and two that should not be.

Source: Vaswani et al. 2017, Section 3.5
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def sinusoidal_positions(length: int, d: int) -> Float[Tensor, "n d"]:
    r"""Return the Transformer's fixed encoding: sines in the even columns, cosines in the odd ones.

    Source: Section 3.5
        $$PE_{(pos,2i)} = \sin(pos / 10000^{2i/d}), \qquad PE_{(pos,2i+1)} = \cos(pos / 10000^{2i/d})$$

    Args:
        length: How many positions, counted from 0.
        d: The width; where it is odd, the last sine has no cosine.

    Returns:
        One row a position, each entry in [-1, 1].

    Answers: transformer.position-requirements
        Four things. No two positions share a vector; the entries stay bounded, however long the sequence; a position's
        vector does not depend on that length; and a step of $k$ is the same operation everywhere, so that a linear
        layer can look $k$ places back. The sinusoids have all four. The last holds because a step turns every pair of
        sine and cosine by a fixed angle: one matrix $M_k$ takes each position to the one $k$ further on.

        >>> import torch
        >>> from reference_impl.layers.positions import sinusoidal_positions
        >>> positions = sinusoidal_positions(2000, 64)
        >>> bool(torch.cdist(positions, positions).fill_diagonal_(torch.inf).min() > 1)
        True
        >>> bool(positions.abs().max() <= 1)
        True
        >>> torch.equal(positions[:100], sinusoidal_positions(100, 64))
        True
        >>> angles = 7 * 10000.0 ** (-torch.arange(0, 64, 2) / 64)
        >>> turns = [torch.tensor([[a.cos(), -a.sin()], [a.sin(), a.cos()]]) for a in angles]
        >>> seven_on = torch.block_diag(*turns)
        >>> torch.allclose(positions[:-7] @ seven_on, positions[7:], atol=1e-4)
        True

    Answers: transformer.sines-repeat
        One sine does repeat, and nearly so on whole numbers too: position 710 comes within a ten-thousandth of
        position 0 in the fastest pair, since 710 is almost 113 turns. But the 32 pairs turn at 32 speeds, like the
        hands of a clock, and do not come round together. A distance depends on the offset alone, so comparing with
        position 0 covers every pair of positions: over 60,000 offsets, more than a turn of the slowest hand, no
        encoding comes nearer than the neighbour's.

        >>> import torch
        >>> from reference_impl.layers.positions import sinusoidal_positions
        >>> positions = sinusoidal_positions(60_000, 64)
        >>> fastest = (positions[1:, :2] - positions[0, :2]).norm(dim=-1)
        >>> 1 + int(fastest.argmin()), bool(fastest.min() < 1e-4)
        (710, True)
        >>> whole = (positions[1:] - positions[0]).norm(dim=-1)
        >>> 1 + int(whole.argmin()), bool(whole.min() > 1)
        (1, True)

    Answers: transformer.why-sum
        To concatenate and then project is to project each part and add: a sum already. Adding at once leaves out the
        second projection, and keeps the layers above at width $d$ instead of $2d$, with a quarter of the weights in
        every projection. Little is lost, since in a wide space vectors are nearly orthogonal: from the sum alone one
        can read both the word, out of 10,000, and the place, to within one.

        >>> import torch
        >>> from torch import nn
        >>> from reference_impl.layers.attention import MultiHeadAttention
        >>> from reference_impl.layers.positions import sinusoidal_positions
        >>> _ = torch.manual_seed(0)
        >>> words, places = torch.randn(10_000, 512), sinusoidal_positions(64, 512)
        >>> word, place = torch.randint(10_000, (500,)), torch.randint(64, (500,))

        >>> project = nn.Linear(1024, 512, bias=False)
        >>> of_words, of_places = project.weight.split(512, dim=1)
        >>> concatenated = project(torch.cat([words[word], places[place]], dim=1))
        >>> torch.allclose(concatenated, words[word] @ of_words.T + places[place] @ of_places.T, atol=1e-4)
        True
        >>> narrow, wide = MultiHeadAttention(512, 8, bias=False), MultiHeadAttention(1024, 8, bias=False)
        >>> sum(w.numel() for w in wide.parameters()) / sum(w.numel() for w in narrow.parameters())
        4.0

        >>> total = words[word] + places[place]
        >>> read_word = (total @ words.T - words.square().sum(dim=1) / 2).argmax(dim=1)
        >>> read_place = (total @ places.T).argmax(dim=1)
        >>> right, near = read_word == word, (read_place - place).abs() <= 1
        >>> right.float().mean().item() > 0.99, near.float().mean().item() > 0.99
        (True, True)
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
    r"""Return 0, 1, 2, ... as a column: the first idea that one has, and rejects.

    Answers: transformer.why-not-integers
        They grow without bound: late in a long sequence the number drowns the word beside it, and before any training
        every one of 1,000 random words attends to the last place, whatever stands there. Dividing by the length
        bounds them, but then one step is 1/9 in a sentence of ten words and 1/99 in one of a hundred, so that "the
        next word" means no fixed thing; and undivided, a longer sentence brings numbers that training never saw.

        >>> import torch
        >>> from reference_impl.layers.attention import masked_softmax, scaled_dot_score
        >>> from reference_impl.layers.positions import integer_positions, sinusoidal_positions
        >>> _ = torch.manual_seed(0)
        >>> words = torch.randn(1000, 64)
        >>> for positions in (integer_positions(1000), sinusoidal_positions(1000, 64)):
        ...     x = words + positions
        ...     first_choice = masked_softmax(scaled_dot_score(x, x)).argmax(dim=1)
        ...     print(int((first_choice == 999).sum()), "of 1000 attend most to the last place")
        1000 of 1000 attend most to the last place
        1 of 1000 attend most to the last place
        >>> [round(1 / step) for n in (10, 100) for step in (integer_positions(n) / (n - 1))[1].tolist()]
        [9, 99]
    """
    return torch.arange(length, dtype=torch.get_default_dtype())[:, None]


def sigmoid_positions(length: int) -> Float[Tensor, "n 1"]:
    r"""Return the integers squashed into [0.5, 1] by a sigmoid: bounded, and rejected too.

    $$\sigma(pos) = \frac{1}{1 + e^{-pos}}$$

    Answers: transformer.why-not-sigmoid
        It is bounded and independent of the length, but it flattens: each step is about $e$ times smaller than the one
        before. In 32 bits fewer than 20 positions differ at all, and 64 bits only double that; the 1,000 sinusoids all
        differ. And long before it is 0, a step is too small for a layer to tell from noise.

        >>> import torch
        >>> from reference_impl.layers.positions import sigmoid_positions, sinusoidal_positions
        >>> len(sigmoid_positions(1000).unique()) < 20
        True
        >>> len(torch.arange(1000, dtype=torch.float64).sigmoid().unique()) < 40
        True
        >>> len(sinusoidal_positions(1000, 64).unique(dim=0))
        1000
        >>> steps = sigmoid_positions(12).diff(dim=0)
        >>> [round(float(steps[t] / steps[t + 1]), 1) for t in (4, 6, 8)]
        [2.7, 2.7, 2.7]
    """
    return integer_positions(length).sigmoid()
