r"""Positional encodings: sinusoidal, learned, rotary, linear biases, and two that do not work.

Source: Vaswani et al. 2017, Section 3.5, unless a function names another
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def _frequencies(d: int, device: torch.device | None = None) -> Float[Tensor, " rates"]:
    """Return the angle by which each pair of d columns turns from one position to the next, in radians."""
    # float64: in float32 an angle of 10,000 radians has an error of 0.001 before the sine is taken
    return 10000.0 ** (-torch.arange(0, d, 2, dtype=torch.float64, device=device) / d)


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
    angles = torch.arange(length, dtype=torch.float64).outer(_frequencies(d))  # (n, ⌈d/2⌉)
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


def apply_rotary_positions(x: Float[Tensor, "*b n d"], positions: Int[Tensor, " n"]) -> Float[Tensor, "*b n d"]:
    r"""Rotary position embedding (RoPE): rotate each pair of columns by an angle proportional to the position.

    Source: Su et al. 2021, Eqs. 14, 15 and 34
        $$\begin{pmatrix} x_{2i} \\ x_{2i+1} \end{pmatrix} \mapsto
        \begin{pmatrix} \cos p\theta_i & -\sin p\theta_i \\ \sin p\theta_i & \cos p\theta_i \end{pmatrix}
        \begin{pmatrix} x_{2i} \\ x_{2i+1} \end{pmatrix}, \qquad \theta_i = 10000^{-2i/d}$$

    Apply it to the queries and the keys of every head, in every layer, before their dot product; not to the values. The
    angles of a position are those of its sinusoidal encoding.

    Llama and GPT-NeoX rotate column $i$ with column $i + d/2$, which permutes the columns: their weights need the same
    permutation.

    Args:
        x: The queries or the keys; `d` is the width of a head.
        positions: The position of each of the n vectors.

    Raises:
        ValueError: `d` is odd.

    Asked: rope.distance-only, rope.decay, rope.unseen-lengths
    """
    if x.shape[-1] % 2:
        raise ValueError(f"d {x.shape[-1]} is odd: columns are rotated in pairs")
    angles = positions.to(torch.float64).outer(_frequencies(x.shape[-1], x.device))  # (n, d/2)
    cos, sin = angles.cos().to(x), angles.sin().to(x)
    even, odd = x[..., 0::2], x[..., 1::2]  # (*b, n, d/2) each
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)  # (*b, n, d)


def alibi_slopes(heads: int, device: torch.device | str | None = None) -> Float[Tensor, " h"]:
    r"""Return the slope of each head in attention with linear biases (ALiBi), steepest first.

    Source: Press et al. 2022, Section 3
        $$m_k = 2^{-8k/h}, \qquad k = 1, \dots, h$$

    Departs: the authors' code, and with it Bloom, uses this only if h is a power of two. Otherwise it takes the slopes
    of the next lower power of two, and then every other one of the next higher power.

    Asked: alibi.slopes
    """
    return 2.0 ** (-8.0 / heads * torch.arange(1, heads + 1, device=device))


def alibi_bias(heads: int, n: int, device: torch.device | str | None = None) -> Float[Tensor, "h n n"]:
    r"""Return the biases of attention with linear biases (ALiBi), which are added to the scaled scores.

    Source: Press et al. 2022, Section 3; added after the division by $\sqrt{d_k}$ (its footnote 10)
        $$b_{kij} = -m_k \, |i - j|$$

    Nothing is added to the embeddings. The paper's model is causal, so that $j \le i$: mask the other keys. For an
    encoder, which the paper does not treat, this is the symmetric variant.

    Args:
        heads: The number of heads, each with a slope of its own.
        n: The number of positions.
        device: The device of the biases.

    Asked: alibi.extrapolation, alibi.given-distance, alibi.direction
    """
    positions = torch.arange(n, device=device)
    distances = (positions[None, :] - positions[:, None]).abs()  # (n, n)
    return -alibi_slopes(heads, device)[:, None, None] * distances


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


def distance_only() -> None:
    r"""
    Answers: rope.distance-only
        Because rotations of a plane add up. The query at position $i$ is turned by $i\theta$ and the key at $j$ by
        $j\theta$; turning both back by $i\theta$ leaves their dot product as it is, and only $(j - i)\theta$ remains
        (Eq. 16). Each vector on its own does depend on its position, though its length does not. Below, one query and
        one key stand at all positions: the scores are constant along each diagonal. With sinusoids added they are not.

        >>> import torch
        >>> from reference_impl.layers.positions import apply_rotary_positions, sinusoidal_positions
        >>> _ = torch.manual_seed(0)
        >>> positions, query, key = torch.arange(50), torch.randn(16).expand(50, 16), torch.randn(16).expand(50, 16)
        >>> def is_constant_along_diagonals(scores):
        ...     return torch.allclose(scores[:-1, :-1], scores[1:, 1:], atol=1e-4)
        >>> rotated = apply_rotary_positions(query, positions)
        >>> is_constant_along_diagonals(rotated @ apply_rotary_positions(key, positions).T)
        True
        >>> sinusoids = sinusoidal_positions(50, 16)
        >>> is_constant_along_diagonals((query + sinusoids) @ (key + sinusoids).T)
        False
        >>> bool(torch.pdist(rotated).min() > 0.5), torch.allclose(rotated.norm(dim=1), query.norm(dim=1))
        (True, True)
    """


def decay() -> None:
    r"""
    Answers: rope.decay
        On average, for a query and a key that are alike; not for every pair, and not step by step. If both are ones,
        the score at distance $r$ is $2\sum_i \cos(r\theta_i)$: the pairs of columns are in step at $r = 0$, and ever
        less in step further away. The paper bounds the score by a sum that decays on average (Section 3.4.3). But
        between neighboring distances the score rises as often as it falls; and a key that is the query, turned by 100
        positions, has its highest score at distance 100.

        >>> import torch
        >>> from reference_impl.layers.positions import apply_rotary_positions
        >>> _ = torch.manual_seed(0)
        >>> distances, ones, query = torch.arange(2000), torch.ones(64), torch.randn(64)
        >>> scores = apply_rotary_positions(ones.expand(2000, 64), distances) @ ones / 64
        >>> near, middle, far = (part.mean().item() for part in scores.split([20, 180, 1800]))
        >>> near > middle + 0.1 > far + 0.2, bool(scores.argmax() == 0)
        (True, True)
        >>> bool(0.4 < (scores.diff() > 0).float().mean() < 0.6)
        True
        >>> key = apply_rotary_positions(query[None], torch.tensor([100]))[0]
        >>> int((apply_rotary_positions(query.expand(2000, 64), distances) @ key).argmax())
        100
    """


def unseen_lengths() -> None:
    r"""
    Answers: rope.unseen-lengths
        They are defined there, and no table ends; but a model that was trained on short sequences has no reason to be
        right. A pair of columns that turns slowly has shown only a part of its turn in training. Below, training saw
        distances below 512: of 32 pairs, the 16 slower ones reach angles that are new if distances go to 2,048.

        >>> import torch
        >>> from torch import nn
        >>> from reference_impl.layers.attention import MultiHeadAttention, causal_mask
        >>> from reference_impl.layers.attention import masked_softmax, scaled_dot_score
        >>> from reference_impl.layers.positions import apply_rotary_positions, sinusoidal_positions
        >>> axes = torch.tensor([1.0, 0.0]).repeat(2048, 32)
        >>> pairs = torch.view_as_complex(apply_rotary_positions(axes, torch.arange(2048)).unflatten(1, (32, 2)))
        >>> turns = pairs.angle() % (2 * torch.pi)
        >>> is_new = turns[512:].amax(dim=0) > turns[:512].amax(dim=0) + 0.1
        >>> is_new.tolist() == 16 * [False] + 16 * [True]
        True

        So a model that has learned on 12 words to name the word two back fails on 48 of them, though it needs no other
        distance than two: words further away get scores that training never had to lower. It fails less than with
        sinusoids added.

        >>> def accuracies(rotary, steps=100):
        ...     _ = torch.manual_seed(0)
        ...     embed, attention, name = nn.Embedding(8, 32), MultiHeadAttention(32, 2), nn.Linear(32, 8)
        ...     def logits(words):
        ...         places, n = torch.arange(words.shape[1]), words.shape[1]
        ...         x = embed(words) if rotary else embed(words) + sinusoidal_positions(n, 32)
        ...         split = (part(x).unflatten(2, (2, 16)).transpose(1, 2) for part in (attention.query, attention.key))
        ...         query, key = (apply_rotary_positions(part, places) if rotary else part for part in split)
        ...         weights = masked_softmax(scaled_dot_score(query, key), causal_mask(n))
        ...         heads = weights @ attention.value(x).unflatten(2, (2, 16)).transpose(1, 2)
        ...         return name(attention.output(heads.transpose(1, 2).flatten(2)))[:, 2:]
        ...     model = nn.ModuleList([embed, attention, name])
        ...     optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        ...     for _ in range(steps):
        ...         words = torch.randint(8, (16, 12))
        ...         loss = nn.functional.cross_entropy(logits(words).flatten(0, 1), words[:, :-2].flatten())
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         optimizer.step()
        ...     tests = [torch.randint(8, (32, length)) for length in (12, 48)]
        ...     return [(logits(words).argmax(dim=-1) == words[:, :-2]).float().mean().item() for words in tests]
        >>> (short, long), (short_added, long_added) = accuracies(rotary=True), accuracies(rotary=False)
        >>> min(short, short_added) > 0.9, long < 0.8, long_added < long - 0.05
        (True, True, True)
    """


def slopes() -> None:
    r"""
    Answers: alibi.slopes
        They set how far back each head looks. Where scores are equal, the weight of a word is $e^{-m}$ times that of
        the next one, so a head with slope $m$ has half of its weight on about $\ln 2 / m$ words. The slopes of eight
        heads go from 1/2 to 1/256, each half of the one before: half of the weight is on the last two words in the
        first head, and on the last 178 in the last one. Slopes are not learned.

        >>> import torch
        >>> from reference_impl.layers.attention import masked_softmax
        >>> from reference_impl.layers.positions import alibi_bias, alibi_slopes
        >>> [round(1 / slope) for slope in alibi_slopes(8).tolist()]
        [2, 4, 8, 16, 32, 64, 128, 256]
        >>> weights = masked_softmax(alibi_bias(8, 2048)[:, -1]).flip(-1)  # of the last query, the nearest key first
        >>> torch.allclose(weights[:, 1] / weights[:, 0], (-alibi_slopes(8)).exp())
        True
        >>> (weights.cumsum(dim=-1) < 0.5).sum(dim=-1).add(1).tolist()
        [2, 3, 6, 12, 23, 45, 89, 178]
    """


def extrapolation() -> None:
    r"""
    Answers: alibi.extrapolation
        Not by construction alone. What is by construction: the bias is defined at any distance, and the steep heads
        hardly see beyond the lengths of training. Below is the weight of what is 512 words back or more, if scores are
        equal: next to nothing in six of eight heads, but between a tenth and a fifth in the last one, which meets
        distances that are new. The rest is an observation. The paper finds (Appendix B) that a model does not get
        better with words beyond its training length: they do no harm.

        >>> import torch
        >>> from torch import nn
        >>> from reference_impl.layers.attention import MultiHeadAttention, causal_mask
        >>> from reference_impl.layers.attention import masked_softmax, scaled_dot_score
        >>> from reference_impl.layers.positions import alibi_bias, sinusoidal_positions
        >>> beyond = masked_softmax(alibi_bias(8, 2048)[:, -1]).flip(-1)[:, 512:].sum(dim=-1)
        >>> bool(beyond[:6].max() < 0.001), bool(0.1 < beyond[7] < 0.2)
        (True, True)

        Where the nearest word of a kind counts, the bias is just right. Below, half of the words are marked, and a
        model learns on 12 words to name the last marked one. With linear biases it is nearly as good on 192 words.
        With sinusoids it is better on 12, and on 192 much worse.

        >>> def accuracies(linear_biases, steps=150):
        ...     _ = torch.manual_seed(0)
        ...     embed, attention, name = nn.Embedding(8, 32), MultiHeadAttention(32, 4), nn.Linear(32, 4)
        ...     def logits(words):
        ...         n = words.shape[1]
        ...         x = embed(words) if linear_biases else embed(words) + sinusoidal_positions(n, 32)
        ...         parts = (part(x) for part in (attention.query, attention.key, attention.value))
        ...         query, key, value = (part.unflatten(2, (4, 8)).transpose(1, 2) for part in parts)
        ...         bias = alibi_bias(4, n) if linear_biases else 0.0
        ...         weights = masked_softmax(scaled_dot_score(query, key) + bias, causal_mask(n))
        ...         return name(attention.output((weights @ value).transpose(1, 2).flatten(2)))
        ...     def last_marked(words):
        ...         places = torch.where(words < 4, torch.arange(words.shape[1]), -1).cummax(dim=1).values
        ...         return torch.where(places >= 0, words.gather(1, places.clamp(min=0)), -100)
        ...     model = nn.ModuleList([embed, attention, name])
        ...     optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        ...     for _ in range(steps):
        ...         words = torch.randint(8, (16, 12))
        ...         loss = nn.functional.cross_entropy(logits(words).flatten(0, 1), last_marked(words).flatten())
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         optimizer.step()
        ...     tests = [torch.randint(8, (32, length)) for length in (12, 192)]
        ...     named = [(logits(words).argmax(dim=-1), last_marked(words)) for words in tests]
        ...     return [(name == last)[last >= 0].float().mean().item() for name, last in named]
        >>> (short, long), (short_added, long_added) = accuracies(linear_biases=True), accuracies(linear_biases=False)
        >>> short > 0.85, long > short - 0.06, short_added > 0.95, long_added < 0.75
        (True, True, True, True)
    """


def given_distance() -> None:
    """
    Answers: alibi.given-distance
        No. The bias only falls with the distance, so if the words are equal, the nearest one has the highest weight in
        every head; another one gets more only by what it is, not by where it is. A rotation can do it: below, queries
        are turned two positions back against the keys, and every position attends most to the word two back.

        >>> import torch
        >>> from reference_impl.layers.attention import causal_mask, masked_softmax
        >>> from reference_impl.layers.positions import alibi_bias, apply_rotary_positions
        >>> equal_scores = torch.zeros(8, 20, 20)
        >>> weights = masked_softmax(equal_scores + alibi_bias(8, 20), causal_mask(20))
        >>> bool((weights.argmax(dim=-1) == torch.arange(20)).all())
        True
        >>> places, word = torch.arange(20), torch.ones(20, 64)
        >>> query, key = apply_rotary_positions(word, places - 2), apply_rotary_positions(word, places)
        >>> masked_softmax(query @ key.T, causal_mask(20)).argmax(dim=-1)[2:].tolist() == list(range(18))
        True
    """


def direction() -> None:
    """
    Answers: alibi.direction
        Not the biases: the same bias belongs to the word before and to the word after. In the paper's decoder the
        causal mask tells them apart. In an encoder, a sentence that is reversed gives the same outputs, reversed; with
        rotary positions it does not.

        >>> import torch
        >>> from reference_impl.layers.attention import causal_mask, masked_softmax, scaled_dot_score
        >>> from reference_impl.layers.positions import alibi_bias, apply_rotary_positions
        >>> _ = torch.manual_seed(0)
        >>> words, w_query, w_key = torch.randn(6, 16), torch.randn(16, 16), torch.randn(16, 16)
        >>> def linear_biases(words, mask=None):
        ...     scores = scaled_dot_score(words @ w_query, words @ w_key)
        ...     return masked_softmax(scores + alibi_bias(1, 6)[0], mask) @ words
        >>> def rotary(words):
        ...     query, key = (apply_rotary_positions(words @ w, torch.arange(6)) for w in (w_query, w_key))
        ...     return masked_softmax(scaled_dot_score(query, key)) @ words
        >>> def ignores_the_direction(attend):
        ...     return torch.allclose(attend(words.flip(0)), attend(words).flip(0), atol=1e-4)
        >>> ignores_the_direction(linear_biases), ignores_the_direction(rotary)
        (True, False)
        >>> ignores_the_direction(lambda words: linear_biases(words, causal_mask(6)))
        False
    """
