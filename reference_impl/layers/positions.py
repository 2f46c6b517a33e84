r"""Positional encodings: sinusoidal, learned, and two that do not work.

Source: Vaswani et al. 2017, Section 3.5
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def sinusoidal_positions(length: int, d: int) -> Float[Tensor, "n d"]:
    r"""Sinusoidal positional encoding: sines in the even columns, cosines in the odd ones.

    Source: Section 3.5
        $$PE_{(pos,2i)} = \sin(pos / 10000^{2i/d}), \qquad PE_{(pos,2i+1)} = \cos(pos / 10000^{2i/d})$$

    Args:
        length: The number of positions, counted from 0.
        d: The width; if it is odd, the last sine has no cosine.

    Returns:
        One row for each position, with entries in [-1, 1].

    Asked: transformer.position-requirements, transformer.sines-repeat, transformer.why-sum
    """
    # float64: in float32 an angle of 10,000 radians has an error of 0.001 before the sine is taken
    rates = 10000.0 ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
    angles = torch.arange(length, dtype=torch.float64).outer(rates)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :d].to(torch.get_default_dtype())  # (n, d)


class LearnedPositions(nn.Module):
    """Learned positional embedding, as in BERT and ViT.

    Source: Section 3.5; nearly the same BLEU as sinusoids (Table 3, row E)

    Args:
        max_length: The number of positions.
        d: The width of an embedding.
    """

    def __init__(self, max_length: int, d: int) -> None:
        super().__init__()
        self.table = nn.Parameter(0.02 * torch.randn(max_length, d))

    def forward(self, length: int) -> Float[Tensor, "n d"]:
        """Return the first `length` rows.

        Raises:
            ValueError: `length` is more than `max_length`.
        """
        if length > len(self.table):
            raise ValueError(f"length {length} exceeds the {len(self.table)} positions of the table")
        return self.table[:length]


def integer_positions(length: int) -> Float[Tensor, "n 1"]:
    r"""Positions 0, 1, 2, … as a column; unbounded, so not used in practice.

    Asked: transformer.why-not-integers
    """
    return torch.arange(length, dtype=torch.get_default_dtype())[:, None]


def sigmoid_positions(length: int) -> Float[Tensor, "n 1"]:
    r"""Sigmoid of the integer positions, in [0.5, 1]; bounded, but late positions can't be told apart.

    $$\sigma(pos) = \frac{1}{1 + e^{-pos}}$$

    Asked: transformer.why-not-sigmoid
    """
    return integer_positions(length).sigmoid()


# Answers


def position_requirements() -> None:
    """
    Answers: transformer.position-requirements
        Four things. No two positions share an encoding; the entries are bounded for any length; the encoding of a
        position does not depend on the length of the sequence; and an offset of $k$ is the same linear map everywhere,
        so that a linear layer can attend $k$ positions back. Sinusoids satisfy all four. The last one holds because an
        offset rotates each pair of sine and cosine by a fixed angle: one matrix $M_k$ maps each position to the one $k$
        later.

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
    """


def why_not_integers() -> None:
    """
    Answers: transformer.why-not-integers
        They are unbounded: at late positions of a long sequence the position dominates the embedding. Below, without
        any training, all 1,000 random words attend most to the last position, whatever its word is. Dividing by the
        length bounds them, but then one step is 1/9 in a sentence of ten words and 1/99 in one of a hundred, so that
        "the next word" has no fixed distance; and without the division, a longer sentence has positions that training
        never showed.

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


def why_not_sigmoid() -> None:
    """
    Answers: transformer.why-not-sigmoid
        It is bounded and does not depend on the length, but it saturates: each step is about $e$ times smaller than the
        one before. In float32 fewer than 20 positions are distinct, and float64 only doubles that; 1,000 sinusoids are
        all distinct. And long before a step is 0, it is too small for a layer to distinguish from noise.

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


def sines_repeat() -> None:
    """
    Answers: transformer.sines-repeat
        A single sine does repeat, and nearly so at integers too: position 710 is within 0.0001 of position 0 in the
        fastest pair of sine and cosine, since 710 radians are almost 113 turns. But the 32 pairs have 32 different
        frequencies, like the hands of a clock, and never repeat together. The distance of two encodings depends on
        their offset alone, so comparing with position 0 covers every pair of positions: over 60,000 offsets, more than
        a turn of the slowest pair, no encoding is closer than that of the neighbor.

        >>> import torch
        >>> from reference_impl.layers.positions import sinusoidal_positions
        >>> positions = sinusoidal_positions(60_000, 64)
        >>> fastest = (positions[1:, :2] - positions[0, :2]).norm(dim=-1)
        >>> 1 + int(fastest.argmin()), bool(fastest.min() < 1e-4)
        (710, True)
        >>> whole = (positions[1:] - positions[0]).norm(dim=-1)
        >>> 1 + int(whole.argmin()), bool(whole.min() > 1)
        (1, True)
    """


def why_sum() -> None:
    """
    Answers: transformer.why-sum
        Concatenation followed by a projection is the sum of two projections, so it is a sum already. Adding at once
        saves the second projection, and keeps the layers above at width $d$ instead of $2d$, with a quarter of the
        weights in every projection. Little is lost, since vectors in a space of many dimensions are nearly orthogonal:
        from the sum alone one can decode both the word, out of 10,000, and the position, to within one.

        >>> import torch
        >>> from torch import nn
        >>> from reference_impl.layers.attention import MultiHeadAttention
        >>> from reference_impl.layers.positions import sinusoidal_positions
        >>> _ = torch.manual_seed(0)
        >>> words, positions = torch.randn(10_000, 512), sinusoidal_positions(64, 512)
        >>> word, position = torch.randint(10_000, (500,)), torch.randint(64, (500,))

        >>> project = nn.Linear(1024, 512, bias=False)
        >>> of_words, of_positions = project.weight.split(512, dim=1)
        >>> concatenated = project(torch.cat([words[word], positions[position]], dim=1))
        >>> added = words[word] @ of_words.T + positions[position] @ of_positions.T
        >>> torch.allclose(concatenated, added, atol=1e-4)
        True
        >>> narrow, wide = MultiHeadAttention(512, 8, bias=False), MultiHeadAttention(1024, 8, bias=False)
        >>> sum(w.numel() for w in wide.parameters()) / sum(w.numel() for w in narrow.parameters())
        4.0

        >>> total = words[word] + positions[position]
        >>> decoded_word = (total @ words.T - words.square().sum(dim=1) / 2).argmax(dim=1)
        >>> decoded_position = (total @ positions.T).argmax(dim=1)
        >>> right, near = decoded_word == word, (decoded_position - position).abs() <= 1
        >>> right.float().mean().item() > 0.99, near.float().mean().item() > 0.99
        (True, True)
    """
